//! LT114 description-kept.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT114.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT114",
    name: "description-kept",
    group: Group::Residue,
    level: Level::Error,
    title: "An open file description outlives the processes of the run: somebody outside has it.",
    why: "A pipe whose writer lives on never ends for its reader, a connection is never closed for its peer, a device stays busy. The close(2) of the program gave back its own reference only.",
    fix: "Nothing, if it was given away on purpose: passing an fd over a socket (SCM_RIGHTS) to somebody outside is a note, never an error by default. Otherwise shut it down before it is closed (shutdown(2) works on the description), or have the other side close it.",
    allow: "LT114:comm=my-client",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    // Whoever is outside was given it, or took it: neither is a fault of the run by itself.
    super::kept(case, Some(Level::Note), |kept| {
        !kept.listening && !kept.locked && kept.resource.kind != "namespace"
    })
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let name = super::name(&seen.resource);
    format!(
        "{name} is closed, but {} outside the run has it open",
        super::keepers(seen)
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "have the other side close it, or shut it down before it is closed".to_owned(),
        now: None,
    }
}
