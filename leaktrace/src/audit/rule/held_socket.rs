//! LT202 socket: held at exit.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::Class,
    report::{Level, Resource},
};

/// LT202.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT202",
    name: "socket",
    group: Group::Held,
    level: Level::Off,
    title: "A socket that the program made was still open at exit.",
    why: "The kernel closes it. A peer sees a reset rather than an orderly end if data was unread, and SO_LINGER makes the exit itself wait.",
    fix: "shutdown(2) and close(2) it on every way out.",
    allow: "LT202:kind=unix",
    check: Some(check),
    message: super::held_message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::held(case, Class::Socket)
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "shutdown and close it on every way out".to_owned(),
        now: None,
    }
}
