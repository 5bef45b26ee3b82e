//! LT601 ring-closed-in-flight.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::{
        conduct::HazardKind,
        facts::{Kind, ProcessFacts},
    },
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
    why: "The kernel cancels them after the close has returned, in a worker of its own: until then they write into buffers that the program has given back, and hold files, ports and locks that it believes to be free. Those of an aio context are cancelled or waited for by io_destroy and exit, and nobody learns how they ended.",
    fix: "Cancel (IORING_OP_ASYNC_CANCEL) or await every request, take its completion, then close the ring; of an aio context take the events of all requests, then io_destroy it.",
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
        let call = match is_aio(&observation.resource) {
            true => "io_destroy",
            false => "close",
        };
        observation.resource.syscall = Some(call.to_owned());
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
    let ended = match is_aio(&seen.resource) {
        true => "ended",
        false => "was closed",
    };
    format!(
        "{} {ended} with {requests} in flight",
        super::name(&seen.resource)
    )
}

fn is_aio(resource: &Resource) -> bool {
    resource.kind == Kind::Aio.name()
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "cancel or await every request, then close the ring".to_owned(),
        now: None,
    }
}
