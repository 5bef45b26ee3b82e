//! LT507 stale-operation.

use leaktrace_common::abi::Op;

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::{
        conduct::Wait,
        facts::{Kind, ProcessFacts},
    },
    report::{Level, Resource},
    sink::human,
};

/// LT507.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT507",
    name: "stale-operation",
    group: Group::Time,
    level: Level::Note,
    title: "A call waited for longer than thresholds.stale_operation (30 s).",
    why: "A connect that nobody answers, an accept that nobody calls on, a lock that its holder never gives back, requests of a ring or of aio that do not complete: mostly the other side is gone, and this side has no deadline.",
    fix: "Give it a deadline: SO_SNDTIMEO or poll(2) before connect and accept, LOCK_NB with retries for flock, a timeout argument for io_uring_enter and io_getevents. An idle server that waits for callers is meant to: allow it.",
    allow: "LT507:comm=server",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Time) {
        let limit = case.settings(process).thresholds.stale_operation;
        let waits = process.conduct.waits.iter();
        let stale = waits.filter(|wait| u128::from(took(wait)) > limit.as_nanos());
        let stale: Vec<_> = stale.collect();
        // A call that waits for a context's requests says it all.
        let awaited = |request: &Wait| {
            let same =
                |wait: &&&Wait| wait.op == Op::IO_GETEVENTS && context(wait) == context(request);
            stale.iter().any(|wait| same(&wait))
        };
        let told = stale
            .iter()
            .filter(|wait| wait.op != Op::AIO_REQUEST || !awaited(wait));
        seen.extend(told.map(|wait| observation(process, wait)));
    }
    seen
}

/// The aio context that a call, or a request, is about.
fn context(wait: &Wait) -> Option<u64> {
    wait.resource.as_ref().and_then(|resource| resource.address)
}

fn took(wait: &Wait) -> u64 {
    wait.until.since(wait.begin).unwrap_or(0)
}

fn observation(process: &ProcessFacts, wait: &Wait) -> Observation {
    let known = wait.resource.clone().unwrap_or_default();
    let mut resource = crate::audit::resource::report(&known);
    resource.syscall = Some(wait.op.name().to_owned());
    resource.tid = Some(wait.tid.0);
    resource.acquired_ns = Some(wait.begin.0);
    resource.released_ns = wait.returned.then_some(wait.until.0);
    Observation {
        process: process.key,
        resource,
        confirmed_ns: (!wait.returned).then_some(wait.until.0),
        ..Observation::default()
    }
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let resource = &seen.resource;
    let call = resource.syscall.as_deref().unwrap_or("?");
    let until = resource.released_ns.or(seen.confirmed_ns).unwrap_or(0);
    let took = human::nanos(until.saturating_sub(resource.acquired_ns.unwrap_or(until)));
    let on = match resource.fd.is_some() || resource.kind == Kind::Aio.name() {
        true => format!(" on {}", super::name(resource)),
        false => String::new(),
    };
    match resource.released_ns {
        Some(_) => format!("{call}{on} waited for {took}"),
        None => format!("{call}{on} has been waiting for {took}"),
    }
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "give it a deadline".to_owned(),
        now: None,
    }
}
