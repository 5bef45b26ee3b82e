//! Processes that ended after their parents: whoever they were left to has to reap them.

use std::collections::BTreeMap;

use crate::{
    audit::{evidence::Evidence, residue},
    census::{Answer, Found, Question},
    id::Pid,
    model::facts::{Facts, ProcessFacts},
};

/// Orphans that are asked about.
const AT_MOST: usize = 256;

/// A zombie that is younger is about to be reaped.
const YOUNG_NS: u64 = 200_000_000;

/// Whether they are still there must be asked: their reaper is not watched.
pub(crate) fn questions(facts: &Facts) -> impl Iterator<Item = Question> {
    of(facts)
        .map(|process| Question::Process { key: process.key })
        .take(AT_MOST)
}

/// Members of the run that ended unreaped, and whose parent had ended or is not of the run.
fn of(facts: &Facts) -> impl Iterator<Item = &ProcessFacts> {
    let reaped_by_the_run = |process: &ProcessFacts| {
        let parent = facts.processes.get(&process.parent);
        parent.is_some_and(|parent| parent.end.is_none())
    };
    facts
        .processes
        .values()
        .filter(|process| residue::ours(facts, process.key, None))
        .filter(|process| facts.root != Some(process.key) && process.reaped_by().is_none())
        .filter(|process| process.end.as_ref().is_some_and(|end| !end.autoreap))
        .filter(move |process| !reaped_by_the_run(process))
}

/// A sentence for everybody who leaves such processes zombies: no fault of the run.
pub(crate) fn environment(facts: &Facts, answers: &[Answer]) -> Vec<String> {
    let evidence = Evidence::new(answers);
    let mut left: BTreeMap<Pid, u64> = BTreeMap::new();
    for process in of(facts) {
        let ended = process.end.as_ref().map_or(0, |end| end.finished().0);
        let answer = evidence.about(&Question::Process { key: process.key });
        if let Some(Answer {
            found:
                Found::Process {
                    state: 'Z',
                    parent_pid,
                    ..
                },
            time_ns,
            ..
        }) = answer
            && time_ns.saturating_sub(ended) >= YOUNG_NS
        {
            *left.entry(Pid(*parent_pid)).or_default() += 1;
        }
    }
    left.into_iter()
        .map(|(reaper, count)| {
            let what = crate::sink::human::counted(count, "process", "processes");
            format!(
                "pid {reaper} does not reap: {what} of the run that ended as orphans stay zombies"
            )
        })
        .collect()
}
