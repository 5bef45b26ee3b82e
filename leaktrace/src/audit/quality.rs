//! How well a process ended: who asked, how long it took to obey, what had to be forced, and what
//! was still going on.

use crate::{
    audit::{resource, teardown::Trigger},
    id::KtimeNs,
    model::{
        conduct::HazardKind,
        facts::{EndFacts, Facts, ProcessFacts, SignalFacts, SignalSets},
    },
    report::{Asked, Escalation, SignalsAtEnd, Teardown, TeardownChildren},
    sink::human,
};

const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGKILL: i32 = 9;
const SIGTERM: u32 = 15;

/// The quality of a teardown; `None` for a process that lives, or of which nothing was seen.
pub(crate) fn teardown(
    facts: &Facts,
    process: &ProcessFacts,
    trigger: Option<&Trigger>,
) -> Option<Teardown> {
    let end = process.end.as_ref()?;
    let trigger = trigger?;
    let requests = requests(process);
    let asked = requests.last().map(|signal| asked(signal));
    Some(Teardown {
        obeyed_ns: obeyed(end, requests.last().copied()),
        escalation: escalation(process, end, &requests),
        asked,
        threads: process.conduct.threads_left,
        children: children(facts, process, trigger.at, end),
        errors: errors(process, trigger.at),
        abandoned: abandoned(process, trigger.at),
        cancelled: cancelled(process, trigger.at),
        signals: signals(end.signals),
    })
}

fn signals(sets: SignalSets) -> SignalsAtEnd {
    let names = |set: u64| {
        let numbers = (1..=64).filter(|signal| set >> (signal - 1) & 1 == 1);
        numbers.map(name).collect()
    };
    SignalsAtEnd {
        handled: names(sets.handled),
        ignored: names(sets.ignored),
        blocked: names(sets.blocked),
        pending: names(sets.pending),
    }
}

/// TERM, INT and QUIT, ignored ones too, oldest first.
fn requests(process: &ProcessFacts) -> Vec<&SignalFacts> {
    let all = process.signals.iter().chain(&process.unheard);
    let asks = |signal: &&SignalFacts| matches!(signal.signal, SIGINT | SIGQUIT | SIGTERM);
    let mut requests: Vec<_> = all.filter(asks).collect();
    requests.sort_by_key(|signal| signal.at);
    requests
}

fn asked(signal: &SignalFacts) -> Asked {
    Asked {
        signal: name(signal.signal),
        at_ns: signal.at.0,
        by_pid: (signal.sender.0 != 0).then_some(signal.sender.0),
        by_comm: resource::text(&signal.sender_comm),
    }
}

fn name(signal: u32) -> String {
    human::signal(i32::try_from(signal).unwrap_or(0))
}

/// From the request until the process left by itself, or its default action took it.
fn obeyed(end: &EndFacts, request: Option<&SignalFacts>) -> Option<u64> {
    let request = request?;
    if end.signal() == Some(SIGKILL) {
        return None;
    }
    let left = end.exit_group.unwrap_or(end.at);
    left.since(request.at)
}

/// It was asked, did not go, and was killed.
fn escalation(
    process: &ProcessFacts,
    end: &EndFacts,
    requests: &[&SignalFacts],
) -> Option<Escalation> {
    let first = requests.first()?;
    if end.signal() != Some(SIGKILL) {
        return None;
    }
    let killed = end.fatal_signal.unwrap_or(end.at);
    let killer = process.signals.iter().rev();
    let killer = killer.into_iter().find(|signal| signal.signal == 9);
    Some(Escalation {
        from: name(first.signal),
        to: name(9),
        after_ns: killed.since(first.at)?,
        by_pid: killer.map(|killer| killer.sender.0).filter(|pid| *pid != 0),
    })
}

fn children(
    facts: &Facts,
    process: &ProcessFacts,
    trigger: KtimeNs,
    end: &EndFacts,
) -> TeardownChildren {
    let mut counts = TeardownChildren {
        orphaned: process.conduct.children_left.len() as u64,
        ..TeardownChildren::default()
    };
    // Most processes have none, and a tree may have many processes.
    if !process.has_made_children() {
        return counts;
    }
    let own = facts.processes.values().filter(|child| {
        let maker = child.maker.map(|(maker, _)| maker);
        maker == Some(process.key)
    });
    for child in own {
        let sent = child.signals.iter().chain(&child.unheard);
        let after = sent.filter(|signal| signal.at >= trigger);
        let by_us = after.filter(|signal| signal.sender == process.key.pid);
        counts.killed += u64::from(by_us.count() > 0);
        let reaped = child
            .reaped_by()
            .is_some_and(|at| at >= trigger && at <= end.finished());
        counts.reaped += u64::from(reaped);
    }
    counts
}

fn errors(process: &ProcessFacts, trigger: KtimeNs) -> u64 {
    let refused = process.refused.iter();
    refused.filter(|refused| refused.at >= trigger).count() as u64
}

/// Requests that were in flight when their ring went.
fn abandoned(process: &ProcessFacts, trigger: KtimeNs) -> u64 {
    let hazards = process.conduct.hazards.iter();
    let after = hazards.filter(|hazard| hazard.at >= trigger);
    after
        .map(|hazard| match hazard.what {
            HazardKind::RingInFlight(count) => u64::from(count),
            HazardKind::BufferUnmapped | HazardKind::EpollStale | HazardKind::NotSynced => 0,
        })
        .sum()
}

/// Calls that had waited for long and ended with the teardown.
fn cancelled(process: &ProcessFacts, trigger: KtimeNs) -> u64 {
    let waits = process.conduct.waits.iter();
    let ended = waits.filter(|wait| wait.begin < trigger && wait.until >= trigger);
    ended.count() as u64
}

/// `SIGTERM from 4126 (sh), obeyed after 1.2 ms, 3 threads still ran, …`; empty where there is
/// nothing to tell.
pub fn teardown_line(teardown: &Teardown) -> String {
    let mut parts = Vec::new();
    if let Some(asked) = &teardown.asked {
        parts.push(match asked.by_pid {
            Some(pid) => format!("{} from {pid} ({})", asked.signal, asked.by_comm),
            None => format!("{} from the kernel", asked.signal),
        });
    }
    if let Some(ns) = teardown.obeyed_ns {
        parts.push(format!("obeyed after {}", human::nanos(ns)));
    }
    if let Some(escalation) = &teardown.escalation {
        parts.push(format!(
            "{} {} after {}",
            escalation.to,
            human::nanos(escalation.after_ns),
            escalation.from
        ));
    }
    let TeardownChildren {
        killed,
        reaped,
        orphaned,
    } = teardown.children;
    let threads = u64::from(teardown.threads);
    for (count, one, many) in [
        (threads, "thread still ran", "threads still ran"),
        (
            killed,
            "child was sent a signal",
            "children were sent a signal",
        ),
        (reaped, "child reaped", "children reaped"),
        (orphaned, "child orphaned", "children orphaned"),
        (teardown.errors, "release refused", "releases refused"),
        (
            teardown.abandoned,
            "request abandoned",
            "requests abandoned",
        ),
        (teardown.cancelled, "call cut short", "calls cut short"),
    ] {
        if count > 0 {
            parts.push(human::counted(count, one, many));
        }
    }
    parts.join(", ")
}
