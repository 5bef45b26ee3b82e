//! LT118 mount-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT118.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT118",
    name: "mount-left",
    group: Group::Residue,
    level: Level::Error,
    title: "Something that was mounted is still mounted.",
    why: "A mount keeps its device or its image busy, hides what lies below it, and is found by the next run where an empty directory should be. Removing the directory fails with EBUSY, and a recursive removal goes into the mount.",
    fix: "umount(2) on every way out, innermost first; in a script trap 'umount $dir' EXIT. In a mount namespace of its own (unshare --mount) what is mounted goes with the last process.",
    allow: "LT118:path=/run/netns",
    check: Some(|case| super::left(case, Thing::Mount)),
    message,
    remedy,
};

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    format!("what was mounted at {path} is still mounted")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "unmount it on every way out, or mount it in a namespace of its own".to_owned(),
        now: super::remove("umount", resource),
    }
}
