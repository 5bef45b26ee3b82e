//! LT113 stale-lock-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT113.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT113",
    name: "stale-lock-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A lock file or pid file is left that names a process which is gone.",
    why: "Whoever looks at it takes it for a sign that the program still runs, or that somebody else is at work: the next start refuses, or waits for good, until a person removes the file. A pid is used again, so later it names a stranger.",
    fix: "Remove it on every way out, or better hold a lock that the kernel takes back: flock(2) on the file, which may then stay. A file that anybody of the run has locked is never reported. It is recognised by what it holds (the pid of its maker, of its maker's parent or of a child, dead), not by its name.",
    allow: "LT113:path=/run/my-daemon.pid",
    check: Some(|case| super::left(case, Thing::StaleLock)),
    message,
    remedy,
};

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    let pid = seen.resource.id.unwrap_or_default();
    format!("{path} is left and names process {pid}, which is gone")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "remove it on every way out, or lock it with flock(2) instead".to_owned(),
        now: super::remove("rm", resource),
    }
}
