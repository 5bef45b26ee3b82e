//! Who keeps alive what is left, and how they came by it.

use std::collections::BTreeSet;

use crate::{
    audit::{
        evidence::Evidence,
        residue::{self, Left, Thing},
        resource, rule,
    },
    census::{Answer, Found, Holder, Question},
    id::ProcessKey,
    model::facts::{Class, Facts, Held, How, Kept, Kind, MadeNamespace},
    policy::Policy,
    report::{Keeper, Level, Resource},
    source::Start,
};

use super::ask::Scope;

/// Questions about holders in one run.
const AT_MOST: usize = 1_000;

/// TMPFS_MAGIC, NSFS_MAGIC (include/uapi/linux/magic.h).
const TMPFS: u32 = 0x0102_1994;
const NSFS: u32 = 0x6e73_6673;

/// What else must be asked once it is known what is left.
pub fn questions(
    facts: &Facts,
    answers: &[Answer],
    start: &Start,
    policy: &Policy,
    scope: Scope,
) -> Vec<Question> {
    let on = |info: &rule::RuleInfo| {
        scope == Scope::Everything || policy.highest_level(info) != Level::Off
    };
    let mut questions = BTreeSet::new();
    if rule::KEPT.into_iter().any(on) {
        questions.extend(facts.kept.iter().filter_map(of_description));
    }
    if on(&rule::namespace_left::RULE) {
        let made = facts.namespaces.iter();
        questions.extend(made.map(of_namespace));
    }
    let evidence = Evidence::new(answers);
    let (left, _) = residue::left(facts, start, &evidence);
    questions.extend(left.iter().filter_map(of_left));
    questions.into_iter().take(AT_MOST).collect()
}

/// Nothing is asked about a description that could not be told from another of the same inode:
/// its address may have been used again.
fn of_description(kept: &Kept) -> Option<Question> {
    let id = kept.resource.id?;
    let certain = kept.cred != 0 || has_own_inode(kept.resource.kind);
    certain.then_some(Question::Holders {
        file: kept.description,
        dev: id.dev,
        ino: id.ino,
        cred: kept.cred,
    })
}

/// Whether the inode of a description of this kind is no other's.
fn has_own_inode(kind: Kind) -> bool {
    kind.class() == Class::Socket || matches!(kind, Kind::Pipe | Kind::Memfd)
}

fn of_namespace(made: &MadeNamespace) -> Question {
    Question::Holders {
        file: 0,
        dev: 0,
        ino: u64::from(made.inum),
        cred: 0,
    }
}

/// The inode of what is left. A SysV segment is a file of a tmpfs of the kernel's own whose inode
/// number is the segment's id (newseg() in ipc/shm.c).
fn of_left(left: &Left) -> Option<Question> {
    match left.thing {
        Thing::SysvShm => Some(Question::Holders {
            file: 0,
            dev: 0,
            ino: u64::try_from(left.resource.id?)
                .ok()
                .filter(|_| left.resource.users != Some(0))?,
            cred: 0,
        }),
        Thing::PosixShm
        | Thing::PosixSem
        | Thing::PosixMq
        | Thing::TempFile
        | Thing::UnixSocket
        | Thing::Fifo
        | Thing::StaleLock => left.id.map(|id| Question::Holders {
            file: 0,
            dev: id.dev,
            ino: id.ino,
            cred: 0,
        }),
        Thing::SysvSem
        | Thing::SysvMsg
        | Thing::TempDir
        | Thing::Mount
        | Thing::Namespace
        | Thing::Cgroup
        | Thing::BpfPin => None,
    }
}

/// What a description became that somebody else has.
#[derive(Clone, Debug)]
pub(crate) struct Survives {
    /// Who of the run had it last.
    pub(crate) process: ProcessKey,
    /// As it was.
    pub(crate) resource: Resource,
    /// Who has it, the survivors of the run not counted.
    pub(crate) by: Vec<Keeper>,
    /// A listening socket.
    pub(crate) listening: bool,
    /// It holds a lock.
    pub(crate) locked: bool,
    /// When that was seen.
    pub(crate) at_ns: u64,
}

/// The descriptions of the run that somebody outside of it has, each once.
pub(crate) fn descriptions(facts: &Facts, evidence: &Evidence<'_>) -> Vec<Survives> {
    let mut seen = BTreeSet::new();
    let mut survive = Vec::new();
    for kept in facts.kept.iter().rev() {
        let Some(answer) = of_description(kept).and_then(|about| evidence.about(&about)) else {
            continue;
        };
        let Found::Holders { by, locked } = &answer.found else {
            continue;
        };
        let outside = |holder: &&Holder| !facts.processes.contains_key(&holder.key);
        let outside: Vec<&Holder> = by.iter().filter(outside).collect();
        let ours = residue::ours(facts, kept.process, kept.resource.acquired);
        if outside.is_empty() || !ours || !seen.insert(kept.description) {
            continue;
        }
        survive.push(Survives {
            process: kept.process,
            resource: resource::report(&kept.resource),
            listening: outside.iter().any(|holder| holder.listening),
            locked: kept.locked && *locked,
            by: outside
                .into_iter()
                .map(|holder| keeper(facts, holder, About::Description))
                .collect(),
            at_ns: answer.time_ns,
        });
    }
    survive.reverse();
    survive
}

/// Namespaces of the run that an fd outside of it keeps. What a mount keeps is told as left.
pub(crate) fn namespaces(facts: &Facts, left: &[Left], evidence: &Evidence<'_>) -> Vec<Survives> {
    let mounted: BTreeSet<i64> = left
        .iter()
        .filter(|left| left.thing == Thing::Namespace)
        .filter_map(|left| left.resource.id)
        .collect();
    let mut survive = Vec::new();
    for made in &facts.namespaces {
        let number = i64::from(made.inum);
        let ours = residue::ours(facts, made.creator, Some(made.at));
        let Some(answer) = evidence.about(&of_namespace(made)).filter(|_| ours) else {
            continue;
        };
        let Found::Holders { by, .. } = &answer.found else {
            continue;
        };
        let outside =
            |holder: &&Holder| holder.magic == NSFS && !facts.processes.contains_key(&holder.key);
        let outside: Vec<&Holder> = by.iter().filter(outside).collect();
        if outside.is_empty() || mounted.contains(&number) {
            continue;
        }
        let mut resource = Resource {
            id: Some(number),
            acquired_ns: Some(made.at.0),
            ..Resource::default()
        };
        resource::set_kind(&mut resource, Kind::Namespace);
        survive.push(Survives {
            process: made.creator,
            resource,
            by: outside
                .into_iter()
                .map(|holder| keeper(facts, holder, About::Name))
                .collect(),
            listening: false,
            locked: false,
            at_ns: answer.time_ns,
        });
    }
    survive
}

/// Who has what is left open, mapped or bound.
pub(crate) fn of(facts: &Facts, left: &Left, evidence: &Evidence<'_>) -> Vec<Keeper> {
    let Some(answer) = of_left(left).and_then(|about| evidence.about(&about)) else {
        return Vec::new();
    };
    let Found::Holders { by, .. } = &answer.found else {
        return Vec::new();
    };
    let fits = |holder: &&Holder| match left.thing {
        Thing::SysvShm => holder.fd.is_none() && holder.magic == TMPFS,
        _ => true,
    };
    by.iter()
        .filter(fits)
        .map(|holder| keeper(facts, holder, About::Name))
        .collect()
}

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// A description: another process has the very same.
    Description,
    /// Something with a name: another process may have opened it by that.
    Name,
}

fn keeper(facts: &Facts, holder: &Holder, about: About) -> Keeper {
    let process = facts.processes.get(&holder.key);
    let comm = process.map_or(&holder.comm[..], |process| &process.comm);
    let known = |held: &&Held| {
        held.description == holder.file && held.resource.fd.map(|fd| fd.0) == holder.fd
    };
    let how = process
        .and_then(|process| process.open.iter().find(known))
        .and_then(|held| held.resource.how);
    let how = match (holder.fd, how, about) {
        (None, _, _) => "mapped it",
        (Some(_), Some(How::Made), _) => "opened it",
        (Some(_), Some(how), _) => how.name(),
        (Some(_), None, About::Description) => "passed over a socket, or taken by pidfd_getfd",
        (Some(_), None, About::Name) => "opened it",
    };
    Keeper {
        pid: holder.key.pid.0,
        comm: resource::text(comm),
        fd: holder.fd,
        how: how.to_owned(),
    }
}
