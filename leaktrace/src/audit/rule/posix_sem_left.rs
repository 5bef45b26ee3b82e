//! LT107 posix-sem-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT107.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT107",
    name: "posix-sem-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A named POSIX semaphore (/dev/shm/sem.*) is left.",
    why: "A semaphore that is left keeps its count: the next run opens the old one, and waits for ever or does not wait at all.",
    fix: "sem_unlink(3) as soon as everybody has opened it. sem_init(3) in memory that is shared anyway needs no name.",
    allow: "LT107:path=/dev/shm/sem.mp-*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::PosixSem)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    format!("semaphore {path} is left")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "sem_unlink(3) as soon as everybody has opened it".to_owned(),
        now: super::remove("rm", resource),
    }
}
