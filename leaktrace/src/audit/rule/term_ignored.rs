//! LT502 term-ignored.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        resource,
    },
    model::facts::{ProcessFacts, SignalFacts},
    report::{Level, Resource},
    sink::human,
};

const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGTERM: u32 = 15;
const SIGKILL: i32 = 9;

/// Less than this between the request and the kill, and nobody gave the program a chance.
const CHANCE_NS: u64 = 100_000_000;

/// LT502.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT502",
    name: "term-ignored",
    group: Group::Time,
    level: Level::Note,
    title: "A process was asked to end, did not, and was killed.",
    why: "Service managers and container runtimes wait for their whole grace period, then kill: \
          every stop and every deployment takes that long, and nothing is cleaned up. The usual \
          cause is a shell as pid 1 that does not pass the signal on.",
    fix: "Handle SIGTERM: stop accepting work, finish or cancel what runs, end. exec the program \
          in start scripts, so that it gets the signal itself.",
    allow: "LT502:comm=sh",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    case.judged(Group::Time)
        .filter(|process| ignored(process).is_some())
        .map(|process| Observation {
            process: process.key,
            resource: resource::process(process),
            ..Observation::default()
        })
        .collect()
}

/// The first request that was not followed, and how long it took until the kill.
fn ignored(process: &ProcessFacts) -> Option<(&SignalFacts, u64)> {
    let end = process.end.as_ref()?;
    if end.signal() != Some(SIGKILL) {
        return None;
    }
    let killed = end.fatal_signal.unwrap_or(end.at);
    process
        .unheard
        .iter()
        .chain(&process.signals)
        .filter(|signal| matches!(signal.signal, SIGINT | SIGQUIT | SIGTERM))
        .filter_map(|signal| Some((signal, killed.since(signal.at)?)))
        .find(|(_, waited)| *waited >= CHANCE_NS)
}

fn message(_: &Case<'_>, _: &Observation, process: &ProcessFacts) -> String {
    let comm = resource::text(&process.comm);
    let Some((signal, waited)) = ignored(process) else {
        return format!("process {} ({comm}) had to be killed", process.key.pid);
    };
    format!(
        "process {} ({comm}) ignored {} and was killed {} later",
        process.key.pid,
        human::signal(i32::try_from(signal.signal).unwrap_or(0)),
        human::nanos(waited),
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "handle SIGTERM, or exec the program so that it gets the signal itself".to_owned(),
        now: None,
    }
}
