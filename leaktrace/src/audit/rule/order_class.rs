//! LT302 order-class.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::ProcessFacts,
    policy::OrderMode,
    report::{Level, Resource},
};

/// LT302.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT302",
    name: "order-class",
    group: Group::Order,
    level: Level::Off,
    title: "A resource was released while one of a class that had to go first was still open.",
    why: "Classes depend on each other: a worker that still runs may use a socket that is already closed, and a ring may write into buffers that are already unmapped.",
    fix: "Release class by class in the order that the policy names (class:fds-first or class:mappings-first).",
    allow: "LT302:comm=server",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::breaches(case, &[OrderMode::FdsFirst, OrderMode::MappingsFirst])
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let other = seen.other.clone().unwrap_or_default();
    format!(
        "{} (class {}) was {} before {} (class {}), which had to go first",
        super::name(&seen.resource),
        seen.resource.class,
        super::released(&seen.resource),
        super::name(&other),
        other.class,
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "release class by class, in the order that the policy names".to_owned(),
        now: None,
    }
}
