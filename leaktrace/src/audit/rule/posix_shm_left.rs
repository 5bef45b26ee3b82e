//! LT106 posix-shm-left.

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

/// LT106.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT106",
    name: "posix-shm-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A POSIX shared memory object (a file directly in /dev/shm) is left.",
    why: "/dev/shm is memory: what is left there is never written out and never freed until it is removed. When it is full, unrelated programs get SIGBUS on their next write to shared memory.",
    fix: "shm_unlink(3) as soon as everybody has opened it; the memory goes with the last mapping, also after a crash. memfd_create(2) with a passed fd needs no name at all.",
    allow: "LT106:path=/dev/shm/psm_*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::PosixShm)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    let size = human::size(seen.resource.bytes.unwrap_or(0));
    format!("shared memory {path} ({size}) is left")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "shm_unlink(3) as soon as everybody has opened it".to_owned(),
        now: super::remove("rm", resource),
    }
}
