//! LT111 unix-socket-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT111.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT111",
    name: "unix-socket-left",
    group: Group::Residue,
    level: Level::Error,
    title: "The file of a bound unix socket is left.",
    why: "bind(2) makes a file and close(2) does not remove it. The next bind to the path fails with EADDRINUSE, and clients that find the file get ECONNREFUSED.",
    fix: "unlink(2) the path when the server ends; before bind(2) remove one that nobody answers on. An abstract address (Linux) or a socket passed by the service manager needs no file.",
    allow: "LT111:comm=tmux*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::UnixSocket)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    format!("socket {path} is left")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "unlink it when the server ends; close(2) does not".to_owned(),
        now: super::remove("rm", resource),
    }
}
