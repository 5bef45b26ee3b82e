//! The census' answers, by what they are about.

use std::collections::BTreeMap;

use crate::{
    census::{Answer, Found, Question},
    id::ProcessKey,
};

/// The latest answer to each question.
///
/// A question is asked several times, and each time other processes may be there to look
/// through; so what an answer is about is the question without them.
#[derive(Debug, Default)]
pub struct Evidence<'a> {
    latest: BTreeMap<Question, &'a Answer>,
}

impl<'a> Evidence<'a> {
    /// Sorts answers by question; of several the latest counts.
    pub fn new(answers: &'a [Answer]) -> Self {
        Self::of(answers.iter())
    }

    /// Only what was asked about processes.
    pub fn of_processes(answers: &'a [Answer]) -> Self {
        let is_of_one = |answer: &&Answer| matches!(answer.question, Question::Process { .. });
        Self::of(answers.iter().filter(is_of_one))
    }

    fn of(answers: impl Iterator<Item = &'a Answer>) -> Self {
        let mut latest: BTreeMap<Question, &'a Answer> = BTreeMap::new();
        for answer in answers {
            let slot = latest.entry(subject(&answer.question)).or_insert(answer);
            if slot.time_ns <= answer.time_ns {
                *slot = answer;
            }
        }
        Evidence { latest }
    }

    /// The latest answer about this (see [`subject`]).
    pub fn about(&self, subject: &Question) -> Option<&'a Answer> {
        self.latest.get(subject).copied()
    }

    /// What is known of a process.
    pub fn process(&self, key: ProcessKey) -> Alive<'a> {
        match self.about(&Question::Process { key }) {
            None => Alive::NotAsked,
            Some(answer) => match &answer.found {
                Found::Process {
                    state: 'Z' | 'X' | 'x',
                    ..
                } => Alive::Ended,
                Found::Process { comm, .. } => Alive::Yes {
                    at_ns: answer.time_ns,
                    comm,
                },
                Found::Gone => Alive::Ended,
                Found::Unknown { .. }
                | Found::File { .. }
                | Found::Mount { .. }
                | Found::Holders { .. }
                | Found::Sysv { .. }
                | Found::Frames { .. }
                | Found::Mq { .. }
                | Found::Source => Alive::Unknown,
            },
        }
    }
}

/// Whether a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alive<'a> {
    /// No answer yet.
    NotAsked,
    /// It runs.
    Yes {
        /// When that was seen, ns of CLOCK_BOOTTIME.
        at_ns: u64,
        /// Its comm then, which it may have given itself (PR_SET_NAME).
        comm: &'a [u8],
    },
    /// Gone, or exited and not reaped.
    Ended,
    /// Could not be found out.
    Unknown,
}

/// A question without the processes to look through.
pub fn subject(question: &Question) -> Question {
    let mut subject = question.clone();
    match &mut subject {
        Question::Process { .. }
        | Question::Source { .. }
        | Question::Stack { .. }
        | Question::Holders { .. } => {}
        Question::Path { through, .. }
        | Question::PidFile { through, .. }
        | Question::Mount { through, .. }
        | Question::Sysv { through, .. }
        | Question::Mq { through, .. } => through.clear(),
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{KtimeNs, Pid};

    #[test]
    fn the_latest_answer_counts_whoever_was_looked_through() {
        let ask = |through: Vec<ProcessKey>| Question::Sysv {
            what: 1,
            id: 7,
            ipc_ns: 0,
            through,
        };
        let key = ProcessKey {
            pid: Pid(4),
            start: KtimeNs(1),
        };
        let answers = [
            Answer {
                question: ask(vec![]),
                time_ns: 20,
                found: Found::Gone,
            },
            Answer {
                question: ask(vec![key]),
                time_ns: 10,
                found: Found::Unknown { why: "x".into() },
            },
        ];
        let evidence = Evidence::new(&answers);
        let found = evidence.about(&ask(vec![])).map(|answer| &answer.found);
        assert_eq!(found, Some(&Found::Gone));
    }
}
