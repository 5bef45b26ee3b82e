//! LT304 order-rank.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT304.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT304",
    name: "order-rank",
    group: Group::Order,
    level: Level::Off,
    title: "A resource was released while one that the policy ranks before it was still open.",
    why: "[[order.rank]] says what this program has to give back first: workers before the queue that they read, connections before the log. A breach is a moment in which something works with what is gone.",
    fix: "Release by rank, lowest first; or change the ranks in leaktrace.toml.",
    allow: "LT304:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Order) {
        let Some(judged) = case.ranked.get(&process.key) else {
            continue;
        };
        seen.extend(super::breach_observations(process, judged));
    }
    seen
}

fn message(case: &Case<'_>, seen: &Observation, process: &ProcessFacts) -> String {
    let settings = case.settings(process);
    let rank = |resource: &Resource| crate::policy::settings::rank(&settings.ranks, resource);
    let other = seen.other.as_ref();
    let told = |rank: Option<i64>| rank.map_or_else(|| "?".to_owned(), |rank| rank.to_string());
    format!(
        "{} (rank {}) was {} before {} (rank {})",
        super::name(&seen.resource),
        told(rank(&seen.resource)),
        super::released(&seen.resource),
        other.map(super::name).unwrap_or_default(),
        told(other.and_then(rank)),
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "release by rank, lowest first".to_owned(),
        now: None,
    }
}
