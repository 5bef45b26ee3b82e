//! LT501 slow-teardown.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::{
        facts::ProcessFacts,
        trigger::{self, TriggerKind},
    },
    report::{Level, Resource},
    sink::human,
};

/// LT501.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT501",
    name: "slow-teardown",
    group: Group::Time,
    level: Level::Note,
    title: "Teardown took longer than thresholds.slow_teardown (5 s).",
    why: "Everybody who stops the program waits for that long: a deployment, a test suite, a reboot. Service managers kill it after their grace period (90 s in systemd, 30 s in Kubernetes, 10 s in Docker), and then nothing is cleaned up at all.",
    fix: "See timing_ns in the report for where the time goes: by_class is the program's own releases, kernel the kernel's part. Give every wait of the shutdown path a deadline.",
    allow: "LT501:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    case.judged(Group::Time)
        .filter(|process| {
            let limit = case.settings(process).thresholds.slow_teardown;
            took(case, process).is_some_and(|ns| u128::from(ns) > limit.as_nanos())
        })
        .map(|process| Observation {
            process: process.key,
            resource: crate::audit::resource::process(process),
            ..Observation::default()
        })
        .collect()
}

/// How long the end took that somebody may have waited for. Where nobody asked for one, the
/// program's last releases may be long before: a shell closes what it has and then waits for a
/// child. Only the kernel's part is an end then.
fn took(case: &Case<'_>, process: &ProcessFacts) -> Option<u64> {
    let trigger = case.triggers.get(&process.key);
    let timing = crate::audit::teardown::timing(process, trigger);
    match trigger::teardown(process).1 {
        TriggerKind::FinalRun => timing.kernel,
        TriggerKind::Signal(_)
        | TriggerKind::Fatal(_)
        | TriggerKind::ExitGroup
        | TriggerKind::LastThread
        | TriggerKind::None => timing.teardown,
    }
}

fn message(case: &Case<'_>, _: &Observation, process: &ProcessFacts) -> String {
    let comm = crate::audit::resource::text(&process.comm);
    let took = took(case, process).unwrap_or(0);
    let cause = case.triggers.get(&process.key);
    let asked = trigger::teardown(process).1 != TriggerKind::FinalRun;
    let cause = cause.filter(|_| asked);
    let cause = cause.map(|trigger| format!(" after {}", trigger.cause));
    format!(
        "process {} ({comm}) ended {}{}",
        process.key.pid,
        human::nanos(took),
        cause.unwrap_or_default(),
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "give every wait of the shutdown path a deadline".to_owned(),
        now: None,
    }
}
