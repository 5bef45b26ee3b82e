//! LT119 namespace-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT119.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT119",
    name: "namespace-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A namespace outlives the processes that were in it.",
    why: "A network namespace keeps its interfaces and addresses, a mount namespace everything that is mounted in it. Nothing shows them but a list of mounts; a few hundred of them make every mount and every new interface slow.",
    fix: "Remove what keeps it: ip netns delete, umount(2) of the file that it is mounted on, close(2) of the fd. A namespace that nothing but its processes keeps goes with the last of them.",
    allow: "LT119:path=/run/netns/my-*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = super::left(case, Thing::Namespace);
    seen.extend(super::kept(case, None, |kept| {
        kept.resource.kind == "namespace"
    }));
    seen
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let number = seen.resource.id.unwrap_or_default();
    match &seen.resource.path {
        Some(path) => format!("namespace {number} is left, mounted at {path}"),
        None => format!(
            "namespace {number} is left: {} has it open",
            super::keepers(seen)
        ),
    }
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "unmount it, or let nothing but its processes keep it".to_owned(),
        now: super::remove("umount", resource),
    }
}
