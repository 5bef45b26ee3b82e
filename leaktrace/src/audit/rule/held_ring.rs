//! LT204 ring: held at exit.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::Class,
    report::{Level, Resource},
};

/// LT204.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT204",
    name: "ring",
    group: Group::Held,
    level: Level::Off,
    title: "An io_uring was still open at exit.",
    why: "Its teardown goes on in a kernel worker after the process is gone, and requests in flight keep files, locks and ports until then.",
    fix: "Cancel or wait for what is in flight, then io_uring_queue_exit(3).",
    allow: "LT204:comm=server",
    check: Some(check),
    message: super::held_message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::held(case, Class::Ring)
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "cancel or await what is in flight, then close the ring".to_owned(),
        now: None,
    }
}
