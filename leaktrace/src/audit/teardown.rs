//! What began teardown, in words, and how long its parts took. When it began is the model's to
//! say ([`crate::model::trigger`]): histograms rest on it too.

use std::collections::BTreeMap;

use crate::{
    audit::resource,
    id::KtimeNs,
    model::{
        facts::{EndFacts, ProcessFacts},
        trigger::{self, EndTiming, TriggerKind},
    },
    report::{KernelPhases, Timing},
    sink::human,
};

/// What began teardown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// When.
    pub at: KtimeNs,
    /// What, for people.
    pub cause: String,
}

/// The teardown trigger of an ended process; none where nothing was seen of it.
pub fn trigger(process: &ProcessFacts) -> Option<Trigger> {
    process.end.as_ref()?;
    let (at, kind) = trigger::teardown(process);
    let at = at?;
    let cause = match kind {
        TriggerKind::Signal(signal) => sent(process, signal, at),
        TriggerKind::FinalRun => "the final run of releases".to_owned(),
        TriggerKind::Fatal(signal) => human::signal(signal),
        TriggerKind::LastThread => "the end of its last thread".to_owned(),
        TriggerKind::ExitGroup | TriggerKind::None => "exit_group".to_owned(),
    };
    Some(Trigger { at, cause })
}

fn sent(process: &ProcessFacts, signal: u32, at: KtimeNs) -> String {
    let name = human::signal(i32::try_from(signal).unwrap_or(0));
    let sender = process
        .signals
        .iter()
        .find(|sent| sent.signal == signal && sent.at == at)
        .filter(|sent| sent.sender.0 != 0);
    match sender {
        Some(sent) => format!(
            "{name} from {} ({})",
            sent.sender,
            resource::text(&sent.sender_comm)
        ),
        None => format!("{name} from the kernel"),
    }
}

/// Durations of an ended process; a part is missing where one of its ends was not seen or they
/// are not in order.
pub fn timing(process: &ProcessFacts, trigger: Option<&Trigger>) -> Timing {
    let Some(end) = &process.end else {
        return Timing::default();
    };
    let timing = trigger::timing(process);
    let began = end.fatal_signal.or(end.exit_group);
    Timing {
        teardown: timing.teardown_ns,
        kernel: timing.kernel_ns,
        kernel_phases: began.map(|began| phases(end, began, &timing)),
        reap: timing.reap_ns,
        r#async: None,
        by_class: trigger
            .map(|trigger| by_class(process, trigger.at))
            .unwrap_or_default(),
    }
}

fn phases(end: &EndFacts, began: KtimeNs, timing: &EndTiming) -> KernelPhases {
    let unmapped_after = end.exit_mm.filter(|at| *at >= end.at);
    let after = unmapped_after.unwrap_or(end.at);
    KernelPhases {
        stop: end.at.since(began),
        exit_mmap: unmapped_after.and_then(|at| at.since(end.at)),
        files: end.notified.and_then(|at| at.since(after)),
        in_exit_mmap: timing.exit_mmap_ns,
        in_exit_files: timing.exit_files_ns,
        last_references: timing.last_references_ns,
    }
}

fn by_class(process: &ProcessFacts, since: KtimeNs) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for release in &process.releases {
        if release.resource.released.is_some_and(|at| at >= since) {
            let class = release.resource.kind.class().name().to_owned();
            *sums.entry(class).or_default() += release.duration_ns;
        }
    }
    sums
}
