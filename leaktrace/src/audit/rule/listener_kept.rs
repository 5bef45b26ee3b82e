//! LT115 listener-kept.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT115.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT115",
    name: "listener-kept",
    group: Group::Residue,
    level: Level::Error,
    title: "A listening socket outlives the processes of the run: somebody outside has it.",
    why: "The port or path stays taken: the next run's bind(2) fails with EADDRINUSE, or clients connect to a socket whose server is gone and wait for an answer that never comes.",
    fix: "Close it on both sides, or shutdown(2) it before it is closed: that ends listening for everybody who has it. A socket that is handed over on purpose, to the next instance of a server, is what --allow is for.",
    allow: "LT115:comm=my-server",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::kept(case, None, |kept| kept.listening)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let name = super::name(&seen.resource);
    format!(
        "{name} is still listened on: {} outside the run has it",
        super::keepers(seen)
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "shut it down before it is closed, or have the other side close it".to_owned(),
        now: None,
    }
}
