//! Where teardown begins, and how long its parts took.

use std::collections::BTreeMap;

use crate::{
    audit::resource,
    id::KtimeNs,
    model::facts::{EndFacts, ProcessFacts, SignalFacts},
    report::{KernelPhases, Timing},
    sink::human,
};

/// SIGINT, SIGQUIT, SIGTERM (signal(7)): a request to end, whatever is done after it.
const ENDING: [u32; 3] = [2, 3, 15];

/// What began teardown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// When.
    pub at: KtimeNs,
    /// What, for people.
    pub cause: String,
}

/// The teardown trigger of an ended process: the last TERM, INT or QUIT generated for it
/// (others only if nothing but scratch was acquired after them); without one, the start of the
/// final run of releases; without one, exit_group or the fatal signal.
pub fn trigger(process: &ProcessFacts) -> Option<Trigger> {
    let end = process.end.as_ref()?;
    let signal = process
        .signals
        .iter()
        .filter(|signal| signal.at <= end.at)
        .filter(|signal| ENDING.contains(&signal.signal) || !signal.acquired_after)
        .max_by_key(|signal| signal.at);
    if let Some(signal) = signal {
        return Some(Trigger {
            at: signal.at,
            cause: sent(signal),
        });
    }
    if let Some(at) = process.final_run {
        return Some(Trigger {
            at,
            cause: "the final run of releases".to_owned(),
        });
    }
    Some(last_resort(end))
}

fn last_resort(end: &EndFacts) -> Trigger {
    match (end.signal(), end.exit_group) {
        (Some(signal), _) => Trigger {
            at: end.fatal_signal.unwrap_or(end.at),
            cause: human::signal(signal),
        },
        (None, Some(at)) => Trigger {
            at,
            cause: "exit_group".to_owned(),
        },
        (None, None) => Trigger {
            at: end.at,
            cause: "the end of its last thread".to_owned(),
        },
    }
}

fn sent(signal: &SignalFacts) -> String {
    let name = human::signal(i32::try_from(signal.signal).unwrap_or(0));
    match signal.sender.0 {
        0 => format!("{name} from the kernel"),
        pid => format!(
            "{name} from {pid} ({})",
            resource::text(&signal.sender_comm)
        ),
    }
}

/// Durations of an ended process; a part is missing where one of its ends was not seen or they
/// are not in order.
pub fn timing(process: &ProcessFacts, trigger: Option<&Trigger>) -> Timing {
    let Some(end) = &process.end else {
        return Timing::default();
    };
    let finished = end.finished();
    let began = match end.signal() {
        Some(_) => end.fatal_signal.or(end.exit_group),
        None => end.exit_group,
    };
    Timing {
        teardown: trigger.and_then(|trigger| finished.since(trigger.at)),
        kernel: began.and_then(|began| finished.since(began)),
        kernel_phases: began.map(|began| phases(end, began)),
        reap: match end.autoreap {
            true => None,
            false => process.reaped.and_then(|reaped| reaped.since(finished)),
        },
        r#async: None,
        by_class: trigger.map(|t| by_class(process, t.at)).unwrap_or_default(),
    }
}

fn phases(end: &EndFacts, began: KtimeNs) -> KernelPhases {
    let unmapped_after = end.exit_mm.filter(|at| *at >= end.at);
    let after = unmapped_after.unwrap_or(end.at);
    KernelPhases {
        stop: end.at.since(began),
        exit_mmap: unmapped_after.and_then(|at| at.since(end.at)),
        files: end.notified.and_then(|at| at.since(after)),
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
