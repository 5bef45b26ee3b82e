//! LT121 bpf-pin-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT121.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT121",
    name: "bpf-pin-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A BPF object that was pinned is still pinned.",
    why: "The name keeps the program, map or link alive without any process: a pinned link goes on running its program at its hook, for every event of the machine, until somebody removes the name.",
    fix: "unlink(2) the pin on every way out, or do without: what an fd holds goes with the process.",
    allow: "LT121:path=/sys/fs/bpf/my-*",
    check: Some(|case| super::left(case, Thing::BpfPin)),
    message,
    remedy,
};

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    format!("the BPF object pinned at {path} is left")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "unlink the pin on every way out".to_owned(),
        now: super::remove("rm", resource),
    }
}
