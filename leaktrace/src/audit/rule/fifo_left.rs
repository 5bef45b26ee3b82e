//! LT112 fifo-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT112.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT112",
    name: "fifo-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A fifo is left.",
    why: "Whoever opens a fifo without a peer waits for ever: a left one makes the next run hang rather than fail.",
    fix: "unlink(2) it as soon as both ends are open; what was opened stays usable. A pipe(2) needs no name.",
    allow: "LT112:path=/tmp/make-fifo-*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::Fifo)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    format!("fifo {path} is left")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "unlink it as soon as both ends are open".to_owned(),
        now: super::remove("rm", resource),
    }
}
