//! LT203 signal.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::{Class, ProcessFacts},
    report::{Level, Resource},
};

/// LT203.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT203",
    name: "signal",
    group: Group::Held,
    level: Level::Off,
    title: "A timer was not deleted, or a signal was pending, at exit.",
    why: "The kernel drops both without a word. A timer that nobody deletes goes on to fire in a process that lives longer, into code that may be gone; a signal that is pending at the end is a request, of a child's end or to stop, that nobody heard.",
    fix: "timer_delete(2) what timer_create(2) made, disarm interval timers, take or unblock pending signals before leaving.",
    allow: "LT203:kind=posix-timer",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left_at_exit(case, Class::Signal)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let resource = &seen.resource;
    let id = resource.id.unwrap_or(0);
    match resource.kind.as_str() {
        "pending-signal" => {
            let signal = crate::sink::human::signal(i32::try_from(id).unwrap_or(0));
            format!("{signal} was pending at exit")
        }
        "itimer" => {
            let name = resource.path.as_deref().unwrap_or("an interval timer");
            format!("{name} was armed at exit")
        }
        _ => format!("timer {id} was not deleted before exit"),
    }
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "delete timers, and take pending signals, before leaving".to_owned(),
        now: None,
    }
}
