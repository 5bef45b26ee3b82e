//! LT116 flock-kept.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT116.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT116",
    name: "flock-kept",
    group: Group::Residue,
    level: Level::Error,
    title: "A file lock outlives the processes of the run: somebody outside has the description that holds it.",
    why: "flock(2) and open file description locks belong to the description, not to the process: closing one fd of several, or exiting, does not unlock. Whoever wants the lock waits for a process that knows nothing of it.",
    fix: "Unlock before the fd is closed (flock LOCK_UN works for everybody who has it), or do not pass on an fd that is locked.",
    allow: "LT116:path=/var/lock/my-*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::kept(case, None, |kept| kept.locked && !kept.listening)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let name = super::name(&seen.resource);
    format!(
        "the lock on {name} is still held: {} outside the run has it open",
        super::keepers(seen)
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "unlock it before it is closed".to_owned(),
        now: None,
    }
}
