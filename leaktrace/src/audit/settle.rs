//! Settling: waiting, on evidence and with a deadline, for what can still go away by itself.

use leaktrace_common::record::Family;

use crate::{
    audit::{
        evidence::{Alive, Evidence},
        residue, resource,
    },
    census::{Answer, Question},
    id::KtimeNs,
    model::facts::{Facts, ProcessFacts, RingEnd},
    report::CoverageStatus,
    source::Start,
};

/// Whether judging may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settling {
    /// Nothing that could still go, or the deadline has passed. Names are final: ask once more,
    /// then judge.
    Done,
    /// Something is still going.
    WaitFor {
        /// What, a phrase each, for the report's `settle.for`.
        reasons: Vec<String>,
        /// Until when at most; `None` while CMD's root process is not reaped.
        deadline: Option<KtimeNs>,
    },
}

/// Until when to wait: `start.settle_ns` after the root process was reaped the verdict is to be
/// there, so what judging takes comes off. At least half of the time is waited.
pub fn deadline(start: &Start, root_reaped: KtimeNs, judging_ns: u64) -> KtimeNs {
    let waited = start.settle_ns - judging_ns.min(start.settle_ns / 2);
    KtimeNs(root_reaped.0.saturating_add(waited))
}

/// Looks whether the tree has settled. There is no deadline before the root process was reaped.
pub fn settle(
    facts: &Facts,
    answers: &[Answer],
    start: &Start,
    deadline: Option<KtimeNs>,
    now: KtimeNs,
) -> Settling {
    if deadline.is_some_and(|deadline| now >= deadline) {
        return Settling::Done;
    }
    let evidence = Evidence::of_processes(answers);
    let rings = pending_rings(facts, start);
    let reasons: Vec<String> = unsettled(facts)
        .filter(|process| evidence.process(process.key) != Alive::Ended)
        .map(reason)
        .chain(rings.map(|ring| format!("requests of a ring of {}", ring.creator.pid)))
        .collect();
    if reasons.is_empty() && deadline.is_some() {
        return Settling::Done;
    }
    Settling::WaitFor { reasons, deadline }
}

/// Asks for those that are waited for: records tell of their ends sooner, unless they were lost.
pub fn questions(facts: &Facts) -> Vec<Question> {
    unsettled(facts)
        .map(|process| Question::Process { key: process.key })
        .collect()
}

/// Members of the tree that live, and those in the kernel's exit.
pub(crate) fn unsettled(facts: &Facts) -> impl Iterator<Item = &ProcessFacts> {
    facts
        .processes
        .values()
        .filter(|process| residue::ours(facts, process.key, None))
        .filter(|process| is_living(process) || is_exiting(process))
}

/// Rings of the run whose requests are still waited for. Only where all that tells of rings is seen:
/// an end that was not told would look like one that does not come.
pub(crate) fn pending_rings<'a>(
    facts: &'a Facts,
    start: &Start,
) -> impl Iterator<Item = &'a RingEnd> + use<'a> {
    let seen = ring_coverage(start) == Some(CoverageStatus::Full);
    rings_without_end(facts).filter(move |_| seen)
}

/// Whether there are rings of the run that would be waited for if all that tells of rings were seen,
/// and not just part of it.
pub(crate) fn has_unjudged_rings(facts: &Facts, start: &Start) -> bool {
    ring_coverage(start) == Some(CoverageStatus::Partial)
        && rings_without_end(facts).next().is_some()
}

fn ring_coverage(start: &Start) -> Option<CoverageStatus> {
    let name = Family::Ring.name();
    let ring = start.coverage.iter().find(|one| one.family == name);
    ring.map(|one| one.status)
}

fn rings_without_end(facts: &Facts) -> impl Iterator<Item = &RingEnd> {
    facts
        .rings
        .iter()
        .filter(|ring| ring.ended.is_none())
        .filter(|ring| residue::ours(facts, ring.creator, Some(ring.begun)))
}

/// No exit was seen.
pub(crate) fn is_living(process: &ProcessFacts) -> bool {
    process.end.is_none() && process.reaped.is_none()
}

/// Its last thread has entered exit, and nobody has been told yet that it is over. Where the
/// parent is not told at all (it ignores SIGCHLD) the kernel reaps at once.
pub(crate) fn is_exiting(process: &ProcessFacts) -> bool {
    process.reaped_by().is_none()
        && process
            .end
            .as_ref()
            .is_some_and(|end| end.notified.is_none() && !end.autoreap)
}

fn reason(process: &ProcessFacts) -> String {
    let comm = resource::text(&process.comm);
    match is_living(process) {
        true => format!("process {} ({comm})", process.key.pid),
        false => format!("exit of {} ({comm})", process.key.pid),
    }
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
