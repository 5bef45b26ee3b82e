//! LT208 memory.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::{Class, ProcessFacts},
    report::{Level, Resource},
};

/// LT208.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT208",
    name: "memory",
    group: Group::Held,
    level: Level::Off,
    title: "Memory was still locked, or huge pages were still mapped, at exit.",
    why: "The kernel unlocks and unmaps it. In a process that lives longer the same code takes memory away from everybody: locked pages cannot be swapped out, and huge pages come from a pool that is small. Ordinary anonymous memory is the allocators' and counts in by_kind only.",
    fix: "munlock(2) what mlock(2) locked, munmap(2) huge pages, when they are not needed any more.",
    allow: "LT208:kind=hugetlb",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left_at_exit(case, Class::Memory)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let size = seen.resource.bytes.map(crate::sink::human::size);
    let size = size.unwrap_or_else(|| "all memory".to_owned());
    match seen.resource.kind.as_str() {
        "hugetlb" => format!("{size} of huge pages were still mapped at exit"),
        _ => format!("{size} was still locked at exit"),
    }
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "munlock or munmap it when it is not needed any more".to_owned(),
        now: None,
    }
}
