//! LT503 near-limit.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::ProcessFacts,
    report::{Level, Resource},
    sink::human,
};

/// LT503.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT503",
    name: "near-limit",
    group: Group::Time,
    level: Level::Note,
    title: "A process came near RLIMIT_NOFILE (thresholds.near_limit, 80 %).",
    why: "At the limit every open, socket, accept and pipe fails with EMFILE, mostly in code that was never tested for it: a server stops taking connections and spins.",
    fix: "Close what is not needed, limit what is open at once (connections, workers), or raise the soft limit up to the hard one.",
    allow: "LT503:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    case.judged(Group::Time)
        .filter(|process| {
            let near = case.settings(process).thresholds.near_limit;
            process.conduct.nearest.share() >= near
        })
        .map(|process| Observation {
            process: process.key,
            resource: crate::audit::resource::process(process),
            ..Observation::default()
        })
        .collect()
}

fn message(_: &Case<'_>, _: &Observation, process: &ProcessFacts) -> String {
    let comm = crate::audit::resource::text(&process.comm);
    let nearest = process.conduct.nearest;
    format!(
        "process {} ({comm}) had {} of {} fds open",
        process.key.pid,
        human::count(u64::from(nearest.open)),
        human::count(nearest.limit),
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "close what is not needed, or raise the soft limit".to_owned(),
        now: None,
    }
}
