//! Known daemons, and what makes one a finding again: something of the run that it keeps.

use crate::{
    audit::residue,
    id::ProcessKey,
    model::facts::{Facts, Held, Kind, ProcessFacts},
    source::Start,
};

/// Generations of forks that a pipe is followed through.
const GENERATIONS: usize = 32;

/// Whether a survivor keeps a pipe that it was started with, or a temp file that another program of
/// the run made: whoever reads the pipe waits for its end, and the file cannot go.
pub(crate) fn keeps_of_the_run(facts: &Facts, start: &Start, process: &ProcessFacts) -> bool {
    let roots = super::roots::Roots::new(start);
    // The reading end of stdin keeps nobody waiting. Of the pipes that came with the run those of
    // its output are waited for; others are the business of whoever started it.
    let waited_for = |held: &Held| {
        let number = held.resource.fd.map_or(-1, |fd| fd.0);
        held.resource.kind == Kind::Pipe
            && (matches!(number, 1 | 2) || number > 2 && held.resource.acquired.is_some())
    };
    let named = |held: &Held| {
        matches!(
            held.resource.kind,
            Kind::File | Kind::Directory | Kind::Fifo
        )
    };
    process.open.iter().any(|held| {
        waited_for(held) && was_started_with(facts, process, held)
            || named(held) && others_made(facts, &roots, process, held)
    })
}

/// Whether a description was there before the process, or the process of the same program that it is
/// a fork of, became that program.
fn was_started_with(facts: &Facts, process: &ProcessFacts, held: &Held) -> bool {
    let mut process = process;
    let mut held = held;
    for _ in 0..GENERATIONS {
        if !held.inherited {
            return false;
        }
        if process.exec.is_some() {
            return true;
        }
        let Some(parent) = facts.processes.get(&process.parent) else {
            return true;
        };
        let there = parent.end.as_ref().map_or(&parent.open, |end| &end.held);
        let same = |other: &&Held| other.description == held.description;
        // Closed again by the one it came from: between the two of them.
        let Some(at_parent) = there.iter().find(same) else {
            return false;
        };
        (process, held) = (parent, at_parent);
    }
    false
}

/// Whether an open file is a temp file that another program of the run made.
fn others_made(
    facts: &Facts,
    roots: &super::roots::Roots<'_>,
    process: &ProcessFacts,
    held: &Held,
) -> bool {
    let Some(id) = held.resource.id else {
        return false;
    };
    let exe = |key: ProcessKey| {
        facts
            .processes
            .get(&key)
            .and_then(|maker| maker.exe.as_ref())
    };
    facts.created.iter().any(|created| {
        created.resource.id == Some(id)
            && residue::ours(facts, created.creator, created.resource.acquired)
            && exe(created.creator) != process.exe.as_ref()
            && created
                .resource
                .path
                .as_deref()
                .is_some_and(|path| matches!(roots.place(path), super::roots::Place::Temp { .. }))
    })
}
