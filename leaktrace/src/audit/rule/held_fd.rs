//! LT201 fd: held at exit.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::Class,
    report::{Level, Resource},
};

/// LT201.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT201",
    name: "fd",
    group: Group::Held,
    level: Level::Off,
    title: "A file descriptor that the program opened was still open at exit.",
    why: "The kernel closes it, so nothing is left. But buffers above it may not have been written, errors of close(2) are not seen by anybody, and in a process that lives longer the same code is a leak.",
    fix: "Close it on every way out; let a guard object own it.",
    allow: "LT201:path=/dev/urandom",
    check: Some(check),
    message: super::held_message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::held(case, Class::Fd)
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "close it on every way out, or let a guard object own it".to_owned(),
        now: None,
    }
}
