//! LT110 temp-dir-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
    sink::human,
};

/// LT110.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT110",
    name: "temp-dir-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A directory made below a temp root is left, with everything in it.",
    why: "Nobody else knows that it is no longer needed. On a CI machine such directories fill the disk or use up its inodes, one run at a time.",
    fix: "Remove it on every way out: a guard object, trap 'rm -rf \"$d\"' EXIT in a shell, tempfile.TemporaryDirectory. Mind that a test that is skipped or fails must clean up too.",
    allow: "LT110:path=/tmp/my-cache-*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::TempDir)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    let entries = human::counted(seen.resource.entries.unwrap_or(0), "entry", "entries");
    let size = human::size(seen.resource.bytes.unwrap_or(0));
    format!("{path} ({entries}, {size}) is left")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "remove it on every way out, also after an error or a signal".to_owned(),
        now: super::remove("rm -r", resource),
    }
}
