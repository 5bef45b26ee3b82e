//! LT205 task: threads that run past the scope that started them.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::Class,
    report::{Level, Resource},
};

/// LT205.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT205",
    name: "task",
    group: Group::Held,
    level: Level::Off,
    title: "A thread that a scope started was still running after it.",
    why: "The next test shares the process with it: what it does then fails somewhere else, now and then. At the end of the process the kernel kills it wherever it stands. Only threads of scopes are judged: a process may end with threads of its own (libraries keep some), and children that outlive a process are LT101.",
    fix: "Tell it to end and join it, also when the test fails; give that to a fixture or a guard object.",
    allow: "LT205:comm=python3",
    check: Some(check),
    message: super::held_message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::held(case, Class::Task)
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "tell it to end and join it on every way out".to_owned(),
        now: None,
    }
}
