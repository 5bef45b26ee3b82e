//! LT604 no-msync.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::{conduct::HazardKind, facts::ProcessFacts},
    report::{Level, Resource},
};

/// LT604.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT604",
    name: "no-msync",
    group: Group::Hazard,
    level: Level::Off,
    title: "A writable shared mapping of a file was unmapped without msync or fsync.",
    why: "What was written is in the page cache and reaches the disk whenever the kernel likes. If the machine stops before, it is gone, and nobody was told of an error of the disk either.",
    fix: "msync(2) with MS_SYNC before munmap(2), or fsync(2) of the file, where the data matters.",
    allow: "LT604:path=/var/lib/app/*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::hazards(case, |_, hazard| hazard.what == HazardKind::NotSynced)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    format!(
        "{} was unmapped without msync or fsync",
        super::name(&seen.resource)
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "msync before munmap, where the data matters".to_owned(),
        now: None,
    }
}
