//! What must be asked now.

use std::collections::BTreeSet;

use crate::{
    audit::{
        orphan,
        residue::{self, Thing},
        rule, settle,
    },
    census::Question,
    id::ProcessKey,
    model::facts::{Facts, Kind},
    policy::Policy,
    report::Level,
    source::Start,
};

/// At most this many processes to look through into another namespace.
const THROUGH: usize = 8;

/// For which rules to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those that the policy judges.
    Judged,
    /// Every rule, on or off: for a capture, which may be judged by another policy later.
    Everything,
}

/// The questions that judging the run as it stands needs answered, each once, in a fixed order.
pub fn questions(facts: &Facts, start: &Start, policy: &Policy, scope: Scope) -> Vec<Question> {
    let mut questions: BTreeSet<Question> = settle::questions(facts).into_iter().collect();
    questions.extend(orphan::questions(facts));
    for suspect in residue::suspects(facts, start) {
        if is_wanted(&suspect, policy, scope) {
            let through = through(facts, start, &suspect);
            questions.insert(with_through(suspect.question, through));
        }
    }
    questions.into_iter().collect()
}

fn is_wanted(suspect: &residue::Suspect<'_>, policy: &Policy, scope: Scope) -> bool {
    let on = |thing: &Thing| {
        let info = rule::of_thing(*thing);
        policy.highest_level(info) != Level::Off
    };
    match scope {
        Scope::Everything => true,
        Scope::Judged => rules_for(suspect).iter().any(on),
    }
}

/// The rules that a kind may turn out to be for: a file's type is known to the census only.
fn rules_for(suspect: &residue::Suspect<'_>) -> Vec<Thing> {
    let kind = suspect.created.resource.kind;
    match &suspect.question {
        Question::Process { .. }
        | Question::Source { .. }
        | Question::Stack { .. }
        | Question::Holders { .. } => Vec::new(),
        Question::Sysv { .. } => residue::sysv(kind)
            .map(|(_, thing)| thing)
            .into_iter()
            .collect(),
        Question::Mq { .. } => vec![Thing::PosixMq],
        Question::Mount { .. } => vec![Thing::Mount, Thing::Namespace],
        Question::PidFile { .. } => vec![Thing::StaleLock],
        Question::Path { .. } if kind == Kind::BpfPin => vec![Thing::BpfPin],
        Question::Path { .. } => vec![
            Thing::PosixShm,
            Thing::PosixSem,
            Thing::TempFile,
            Thing::TempDir,
            Thing::UnixSocket,
            Thing::Fifo,
            Thing::Cgroup,
            Thing::StaleLock,
        ],
    }
}

/// Members that still live and may be in the namespace of the thing; none if it is our own.
fn through(facts: &Facts, start: &Start, suspect: &residue::Suspect<'_>) -> Vec<ProcessKey> {
    let namespace = suspect.created.namespace;
    let foreign = match &suspect.question {
        Question::Process { .. }
        | Question::Source { .. }
        | Question::Stack { .. }
        | Question::Holders { .. } => false,
        Question::Path { .. } | Question::PidFile { .. } | Question::Mount { .. } => {
            namespace != 0 && namespace != start.mnt_ns
        }
        Question::Sysv { .. } | Question::Mq { .. } => namespace != 0 && namespace != start.ipc_ns,
    };
    if !foreign {
        return Vec::new();
    }
    let by_mount = matches!(
        suspect.question,
        Question::Path { .. } | Question::PidFile { .. } | Question::Mount { .. }
    );
    facts
        .processes
        .values()
        .filter(|process| process.end.is_none())
        .filter(|process| !by_mount || process.mnt_ns == namespace || process.mnt_ns == 0)
        .map(|process| process.key)
        .take(THROUGH)
        .collect()
}

fn with_through(mut question: Question, members: Vec<ProcessKey>) -> Question {
    match &mut question {
        Question::Process { .. }
        | Question::Source { .. }
        | Question::Stack { .. }
        | Question::Holders { .. } => {}
        Question::Path { through, .. }
        | Question::PidFile { through, .. }
        | Question::Mount { through, .. }
        | Question::Sysv { through, .. }
        | Question::Mq { through, .. } => *through = members,
    }
    question
}
