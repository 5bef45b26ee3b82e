//! LT206 ipc: held at exit.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::Class,
    report::{Level, Resource},
};

/// LT206.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT206",
    name: "ipc",
    group: Group::Held,
    level: Level::Off,
    title: "A message queue descriptor was still open at exit.",
    why: "The kernel closes it, so nothing but the queue itself is left (LT108 tells of that). In a process that lives longer the same code is a leak.",
    fix: "mq_close(3) it on every way out.",
    allow: "LT206:path=/worker-*",
    check: Some(check),
    message: super::held_message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::held(case, Class::Ipc)
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "mq_close it on every way out".to_owned(),
        now: None,
    }
}
