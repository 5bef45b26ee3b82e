//! When teardown began, and how long each part of an end took. Pure functions of a process's
//! facts (docs/verdict.md).

use super::{
    facts::{ProcessFacts, SignalFacts},
    signal::{Weight, weight},
};
use crate::id::KtimeNs;

/// What began teardown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerKind {
    /// A signal with this number.
    Signal(u32),
    /// The final run of releases.
    FinalRun,
    /// exit_group(2).
    ExitGroup,
    /// A signal of which only the wait status tells.
    Fatal(i32),
    /// The last thread's exit.
    LastThread,
    /// Nothing yet: the process lives.
    None,
}

/// Begin of teardown: the last terminating signal; else the start of the final run of releases;
/// else exit_group or what else ended the process.
pub fn teardown(process: &ProcessFacts) -> (Option<KtimeNs>, TriggerKind) {
    let counts =
        |signal: &&SignalFacts| weight(signal.signal) == Weight::Sure || !signal.acquired_after;
    if let Some(signal) = process.signals.iter().rev().find(counts) {
        return (Some(signal.at), TriggerKind::Signal(signal.signal));
    }
    if let Some(at) = process.final_run {
        return (Some(at), TriggerKind::FinalRun);
    }
    let Some(end) = &process.end else {
        return (None, TriggerKind::None);
    };
    match (end.signal(), end.exit_group) {
        (Some(signal), _) => {
            let at = end.fatal_signal.unwrap_or(end.at);
            (Some(at), TriggerKind::Fatal(signal))
        }
        (None, Some(at)) => (Some(at), TriggerKind::ExitGroup),
        (None, None) => (Some(end.at), TriggerKind::LastThread),
    }
}

/// Durations of an end, ns; absent where an event is missing or the order is not that of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndTiming {
    /// Trigger to end of exit.
    pub teardown_ns: Option<u64>,
    /// exit_group entry, or the fatal signal, to end of exit.
    pub kernel_ns: Option<u64>,
    /// End of exit to the parent's wait return.
    pub reap_ns: Option<u64>,
    /// The kernel's function `exit_mmap`: the address space is unmapped.
    pub exit_mmap_ns: Option<u64>,
    /// Its function `exit_files`: the fd table is left.
    pub exit_files_ns: Option<u64>,
    /// From there until the last references have gone.
    pub last_references_ns: Option<u64>,
}

/// How long each part of an end took; nothing for a live process.
pub fn timing(process: &ProcessFacts) -> EndTiming {
    let Some(end) = &process.end else {
        return EndTiming::default();
    };
    let finished = end.finished();
    let (trigger, _) = teardown(process);
    let kernel = end.fatal_signal.or(end.exit_group);
    let functions = end.functions.unwrap_or_default();
    let files = functions.exit_files;
    EndTiming {
        exit_mmap_ns: functions.exit_mmap.map(|span| span.ns),
        exit_files_ns: files.map(|span| span.ns),
        last_references_ns: files.and_then(|span| functions.released.since(span.ended())),
        teardown_ns: trigger.and_then(|trigger| finished.since(trigger)),
        kernel_ns: kernel.and_then(|begin| finished.since(begin)),
        // An autoreaped process is gone at its end: nobody waits for it.
        reap_ns: match end.autoreap {
            true => None,
            false => process.reaped.and_then(|reaped| reaped.since(finished)),
        },
    }
}
