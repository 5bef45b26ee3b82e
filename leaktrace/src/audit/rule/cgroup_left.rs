//! LT120 cgroup-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT120.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT120",
    name: "cgroup-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A control group is left.",
    why: "Its directory stays for good, with everything that is counted in it: the kernel's memory for it is not given back, and tools that walk the hierarchy (systemd, container runtimes, monitoring) take longer with each one.",
    fix: "rmdir(2) it once its processes have ended, innermost first. A directory that another program was asked to make (systemd-run, a container runtime) is that program's to remove.",
    allow: "LT120:path=/sys/fs/cgroup/my-tests/*",
    check: Some(|case| super::left(case, Thing::Cgroup)),
    message,
    remedy,
};

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    format!("control group {path} is left")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "remove the directory when the processes in it have ended".to_owned(),
        now: super::remove("rmdir", resource),
    }
}
