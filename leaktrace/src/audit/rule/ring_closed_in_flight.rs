//! LT601 ring-closed-in-flight.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::{conduct::HazardKind, facts::ProcessFacts},
    report::{Level, Resource},
    sink::human,
};

/// LT601.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT601",
    name: "ring-closed-in-flight",
    group: Group::Hazard,
    level: Level::Note,
    title: "A ring was closed, or left to exit, while requests were in flight.",
    why: "The kernel cancels them after the close has returned, in a worker of its own: until then they write into buffers that the program has given back, and hold files, ports and locks that it believes to be free.",
    fix: "Cancel (IORING_OP_ASYNC_CANCEL) or await every request, take its completion, then close the ring.",
    allow: "LT601:comm=server",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = super::hazards(case, |process, hazard| match hazard.what {
        HazardKind::RingInFlight(_) => {
            // Killed: nobody could have waited.
            let killed = process.end.as_ref().filter(|end| end.signal().is_some());
            killed.is_none_or(|end| hazard.at < end.at)
        }
        HazardKind::BufferUnmapped | HazardKind::EpollStale | HazardKind::NotSynced => false,
    });
    for observation in &mut seen {
        observation.resource.syscall = Some("close".to_owned());
    }
    seen
}

fn message(_: &Case<'_>, seen: &Observation, process: &ProcessFacts) -> String {
    let same = process
        .conduct
        .hazards
        .iter()
        .find_map(|hazard| match hazard.what {
            HazardKind::RingInFlight(count) if Some(hazard.at.0) == seen.resource.released_ns => {
                Some(count)
            }
            _ => None,
        });
    let count = u64::from(same.unwrap_or(0));
    let requests = human::counted(count, "request", "requests");
    format!(
        "{} was closed with {requests} in flight",
        super::name(&seen.resource)
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "cancel or await every request, then close the ring".to_owned(),
        now: None,
    }
}
