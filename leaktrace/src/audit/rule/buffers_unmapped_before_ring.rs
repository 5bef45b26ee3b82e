//! LT602 buffers-unmapped-before-ring.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::{conduct::HazardKind, facts::ProcessFacts},
    report::{Level, Resource},
    sink::human,
};

/// LT602.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT602",
    name: "buffers-unmapped-before-ring",
    group: Group::Hazard,
    level: Level::Note,
    title: "Buffers were unmapped while a ring could still write into them.",
    why: "Registered buffers stay pinned: the ring goes on to write into pages that the program cannot see any more, data is lost without an error, and what is mapped there next looks like the buffer and is not.",
    fix: "Await the requests, io_uring_unregister_buffers(3) or close the ring, and only then munmap(2).",
    allow: "LT602:comm=server",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::hazards(case, |_, hazard| hazard.what == HazardKind::BufferUnmapped)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let size = human::size(seen.resource.bytes.unwrap_or(0));
    let address = seen.resource.address.unwrap_or(0);
    format!("a registered buffer of {size} at {address:#x} was unmapped while its ring was open")
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "unregister the buffers or close the ring, then unmap".to_owned(),
        now: None,
    }
}
