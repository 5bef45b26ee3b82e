//! LT207 mapping: held at exit.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::Class,
    report::{Level, Resource},
};

/// LT207.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT207",
    name: "mapping",
    group: Group::Held,
    level: Level::Off,
    title: "A shared mapping or a SysV attach was still there at exit.",
    why: "The kernel unmaps it; what was not flushed by msync(2) is written whenever the kernel likes. In a process that lives longer the same code is a leak of address space and memory.",
    fix: "munmap(2) or shmdt(2) it on every way out.",
    allow: "LT207:kind=shm-attach",
    check: Some(check),
    message: super::held_message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::held(case, Class::Mapping)
}

fn remedy(resource: &Resource) -> Remedy {
    let call = match resource.kind.as_str() {
        "shm-attach" => "shmdt",
        _ => "munmap",
    };
    Remedy {
        fix: format!("{call} it on every way out"),
        now: None,
    }
}
