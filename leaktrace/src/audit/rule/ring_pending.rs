//! LT117 ring-pending.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        resource, settle,
    },
    model::facts::{Kind, ProcessFacts},
    report::{Level, Resource},
    sink::human,
};

/// LT117.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT117",
    name: "ring-pending",
    group: Group::Residue,
    level: Level::Error,
    title: "Requests of an io_uring still go on after the last reference to it has gone and the settle \
            time has passed.",
    why: "Exit does not wait for them: they go on reading into memory, writing to files and holding \
          sockets, and the ring's buffers stay pinned. A file that the next step reads may change under \
          it, a file system cannot be unmounted.",
    fix: "Wait for the completions of what was submitted, or cancel it (IORING_OP_ASYNC_CANCEL, \
          IORING_REGISTER_SYNC_CANCEL) and wait, before the ring is closed. Zero-copy sends have a \
          second completion, which says that the network has let go of the memory.",
    allow: "LT117:comm=my-server",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    settle::pending_rings(case.facts, case.start)
        .filter(|_| case.end.events.not_run.unwrap_or(0) == 0)
        .map(|ring| {
            let mut resource = Resource {
                released_ns: Some(ring.begun.0),
                ..Resource::default()
            };
            resource::set_kind(&mut resource, Kind::IoUring);
            Observation {
                process: ring.creator,
                resource,
                confirmed_ns: Some(case.end.judged_ns),
                ..Observation::default()
            }
        })
        .collect()
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let since = seen.resource.released_ns.unwrap_or_default();
    let after = seen.confirmed_ns.unwrap_or_default().saturating_sub(since);
    format!(
        "requests of an io_uring still go on {} after it was closed",
        human::nanos(after)
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "wait for the completions, or cancel and wait, before the ring is closed".to_owned(),
        now: None,
    }
}
