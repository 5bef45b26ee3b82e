//! What is left: created things that a census finds again, and who answers for them.

use std::collections::{BTreeMap, BTreeSet};

use leaktrace_common::record::ipc::what;

use crate::{
    audit::{
        bound,
        evidence::Evidence,
        identity,
        roots::{Place, Roots},
    },
    census::{Found, Question},
    id::{FileId, KtimeNs, ProcessKey},
    model::facts::{Created, Facts, Kind},
    report::{Keeper, Resource},
    source::Start,
};

/// Kinds of residue; each has its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// LT103.
    SysvShm,
    /// LT104.
    SysvSem,
    /// LT105.
    SysvMsg,
    /// LT106.
    PosixShm,
    /// LT107.
    PosixSem,
    /// LT108.
    PosixMq,
    /// LT109.
    TempFile,
    /// LT110.
    TempDir,
    /// LT111.
    UnixSocket,
    /// LT112.
    Fifo,
    /// LT113.
    StaleLock,
    /// LT118.
    Mount,
    /// LT119.
    Namespace,
    /// LT120.
    Cgroup,
    /// LT121.
    BpfPin,
}

/// SysV kinds with their numbers and rules.
const SYSV: [(Kind, u32, Thing); 3] = [
    (Kind::SysvShm, what::SHM, Thing::SysvShm),
    (Kind::SysvSem, what::SEM, Thing::SysvSem),
    (Kind::SysvMsg, what::MSG, Thing::SysvMsg),
];

/// Kinds that count wherever their names are.
const ANYWHERE: [Kind; 7] = [
    Kind::Mount,
    Kind::BpfPin,
    Kind::PosixMq,
    Kind::PosixShm,
    Kind::PosixSem,
    Kind::Unix,
    Kind::Fifo,
];

/// A created thing that may be residue, and what to ask about it.
#[derive(Clone, Debug)]
pub struct Suspect<'a> {
    /// As the model has it.
    pub created: &'a Created,
    /// The question, without processes to look through.
    pub question: Question,
}

/// A created thing that is still there.
#[derive(Clone, Debug)]
pub struct Left {
    /// Who made it.
    pub creator: ProcessKey,
    /// Which rule it is for.
    pub thing: Thing,
    /// As in the report, with what the census added.
    pub resource: Resource,
    /// The kernel's identity of a file.
    pub id: Option<FileId>,
    /// Who has it.
    pub kept_by: Vec<Keeper>,
    /// Its path in raw bytes; empty for SysV objects.
    pub path: Vec<u8>,
    /// When the census saw it, ns of CLOCK_BOOTTIME.
    pub confirmed_ns: u64,
}

/// Whether things that this process made are the run's: it is of the tree, and CMD had begun.
pub fn ours(facts: &Facts, creator: ProcessKey, at: Option<KtimeNs>) -> bool {
    let Some(process) = facts.processes.get(&creator) else {
        return false;
    };
    if facts.root == Some(creator) {
        // Before its first exec the held child is leaktrace's own code.
        return match (process.first_exec, at) {
            (Some(exec), Some(at)) => at >= exec,
            (Some(_), None) => true,
            (None, _) => false,
        };
    }
    process.target || !process.preexisting
}

/// Everything whose fate must be known: SysV objects, queues, sockets and fifos anywhere, the
/// rest in temp roots. Things inside a directory that is itself a suspect are covered by it.
pub fn suspects<'a>(facts: &'a Facts, start: &Start) -> Vec<Suspect<'a>> {
    let roots = Roots::new(start);
    let candidates: Vec<_> = facts
        .created
        .iter()
        .filter(|created| ours(facts, created.creator, created.resource.acquired))
        .filter(|created| in_scope(created, &roots, start))
        .collect();
    let directories: BTreeSet<(u32, &[u8])> = candidates
        .iter()
        .filter(|created| created.resource.kind == Kind::Directory)
        .filter_map(|created| Some((created.namespace, created.resource.path.as_deref()?)))
        .collect();
    let mut suspects: Vec<_> = candidates
        .into_iter()
        .filter(|created| asked_itself(created, start) || !is_covered(created, &directories))
        .filter_map(|created| {
            let question = question(created, facts, start)?;
            Some(Suspect { created, question })
        })
        .collect();
    suspects.extend(possible_locks(facts, &roots, start));
    suspects
}

/// Files outside of the temp roots that may hold the pid of whoever made them. A build makes tens
/// of thousands: of those that nothing marks as a lock only the last are looked at.
fn possible_locks<'a>(facts: &'a Facts, roots: &Roots<'_>, start: &Start) -> Vec<Suspect<'a>> {
    let files = facts.created.iter().filter(|created| {
        created.resource.kind == Kind::File
            && !created.locked
            && ours(facts, created.creator, created.resource.acquired)
            && !in_scope(created, roots, start)
    });
    let (marked, others): (Vec<_>, Vec<_>) =
        files.partition(|created| created.exclusive == Some(true));
    let latest = |files: Vec<&'a Created>| {
        let skipped = files.len().saturating_sub(LOCKS);
        files.into_iter().skip(skipped)
    };
    latest(marked)
        .chain(latest(others))
        .filter_map(|created| {
            let path = created.resource.path.as_deref()?;
            path.starts_with(b"/").then(|| Suspect {
                created,
                question: Question::PidFile {
                    path: path.to_vec(),
                    mnt_ns: created.namespace,
                    through: Vec::new(),
                },
            })
        })
        .collect()
}

/// Files of one sort that are looked at for a pid.
const LOCKS: usize = 1_000;

/// Whether a path is that of a control group.
pub(super) fn is_cgroup(start: &Start, path: &[u8]) -> bool {
    let below = |root: &Vec<u8>| super::roots::inside(root, path).is_some();
    start.cgroup_roots.iter().any(below)
}

fn in_scope(created: &Created, roots: &Roots<'_>, start: &Start) -> bool {
    let resource = &created.resource;
    if let Some((what, _)) = sysv(resource.kind) {
        let own = created.namespace == 0 || created.namespace == start.ipc_ns;
        let there_before = |id| start.sysv_before.contains(&(what, id));
        return !(own && resource.ipc_id.is_some_and(there_before));
    }
    ANYWHERE.contains(&resource.kind)
        || resource.path.as_deref().is_some_and(|path| {
            is_cgroup(start, path)
                || identity::directly_in_shm(path)
                || matches!(roots.place(path), Place::Temp { .. })
        })
}

/// Whether one of the directories lies above it.
fn is_covered(created: &Created, directories: &BTreeSet<(u32, &[u8])>) -> bool {
    if matches!(created.resource.kind, Kind::PosixMq | Kind::Mount) {
        return false;
    }
    let Some(path) = created.resource.path.as_deref() else {
        return false;
    };
    above(path).any(|above| directories.contains(&(created.namespace, above)))
}

/// The same of what is left.
fn lies_in(namespace: u32, path: &[u8], directories: &BTreeSet<(u32, Vec<u8>)>) -> bool {
    above(path).any(|above| directories.contains(&(namespace, above.to_vec())))
}

/// The directories above a path, the root excepted.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/');
    slashes.map(|(i, _)| &path[..i])
}

/// Whether it can be found without its directory: where that was is not known any more, once its
/// namespace is gone.
fn asked_itself(created: &Created, start: &Start) -> bool {
    is_foreign(created, start) && created.resource.id.is_some()
}

fn question(created: &Created, facts: &Facts, start: &Start) -> Option<Question> {
    let resource = &created.resource;
    if let Some((what, _)) = sysv(resource.kind) {
        return Some(Question::Sysv {
            what,
            id: resource.ipc_id?,
            ipc_ns: created.namespace,
            through: Vec::new(),
        });
    }
    let path = resource.path.as_deref()?;
    if resource.kind == Kind::PosixMq {
        return Some(Question::Mq {
            name: path.strip_prefix(b"/").unwrap_or(path).to_vec(),
            ipc_ns: created.namespace,
            through: Vec::new(),
        });
    }
    if resource.kind == Kind::Mount {
        return Some(Question::Mount {
            path: path.to_vec(),
            mnt_ns: created.namespace,
            through: Vec::new(),
        });
    }
    // Abstract and relative names cannot be looked up.
    let foreign = is_foreign(created, start);
    path.starts_with(b"/").then(|| Question::Path {
        path: path.to_vec(),
        mnt_ns: created.namespace,
        through: Vec::new(),
        id: resource.id.filter(|_| foreign),
        bound: foreign
            .then(|| bound::paths(created, path, facts))
            .flatten(),
    })
}

/// Whether it was named in another mount namespace than leaktrace's: once that is gone its path
/// says little of where it is.
fn is_foreign(created: &Created, start: &Start) -> bool {
    created.namespace != 0 && created.namespace != start.mnt_ns
}

/// Number and rule of a SysV kind.
pub(super) fn sysv(kind: Kind) -> Option<(u32, Thing)> {
    SYSV.iter()
        .find(|(sysv, _, _)| *sysv == kind)
        .map(|(_, what, thing)| (*what, *thing))
}

/// The suspects that are still there, in the order of their making, and what could not be found
/// out, a clause each.
pub fn left(facts: &Facts, start: &Start, evidence: &Evidence<'_>) -> (Vec<Left>, Vec<String>) {
    let mut left = BTreeMap::new();
    let mut unknown = Vec::new();
    for (position, suspect) in suspects(facts, start).into_iter().enumerate() {
        let Some(answer) = evidence.about(&suspect.question) else {
            if matches!(suspect.question, Question::PidFile { .. }) {
                // Others have been made since; these were not among the last any more.
                continue;
            }
            unknown.push(format!("{}: not looked up", display(suspect.created)));
            continue;
        };
        if let Found::Unknown { why } = &answer.found {
            unknown.push(format!("{}: {why}", display(suspect.created)));
            continue;
        }
        let identified = match identity::identify(suspect.created, answer, facts, start) {
            Ok(identified) => identified,
            Err(why) => {
                unknown.push(format!("{}: {why}", display(suspect.created)));
                continue;
            }
        };
        // The way to where it is was guessed: another thing there says nothing.
        let guessed = matches!(
            &suspect.question,
            Question::Path {
                id: None,
                bound: Some(_),
                ..
            }
        );
        if let (
            true,
            None,
            Found::File {
                elsewhere: Some(_), ..
            },
        ) = (guessed, &identified, &answer.found)
        {
            unknown.push(format!(
                "{}: its mount namespace is gone, and where it was is another thing of its name",
                display(suspect.created)
            ));
            continue;
        }
        if let Some((thing, resource)) = identified {
            // Outside of the temp roots any other file is output.
            if matches!(suspect.question, Question::PidFile { .. }) && thing != Thing::StaleLock {
                continue;
            }
            let found = Left {
                creator: suspect.created.creator,
                thing,
                resource,
                id: file_id(suspect.created, &answer.found),
                kept_by: Vec::new(),
                path: path_of(suspect.created),
                confirmed_ns: answer.time_ns,
            };
            // Of several records of one name the last that fits made what is there.
            let namespace = suspect.created.namespace;
            left.insert(suspect.question, (position, namespace, found));
        }
    }
    let mut left: Vec<_> = left.into_values().collect();
    let directories: BTreeSet<(u32, Vec<u8>)> = left
        .iter()
        .filter(|(_, _, left)| left.thing == Thing::TempDir)
        .map(|(_, namespace, left)| (*namespace, left.path.clone()))
        .collect();
    left.retain(|(_, namespace, left)| !lies_in(*namespace, &left.path, &directories));
    left.sort_by_key(|(position, _, _)| *position);
    let left = left.into_iter().map(|(_, _, left)| left);
    (left.collect(), unknown)
}

/// What the census says, else what was made.
fn file_id(created: &Created, found: &Found) -> Option<FileId> {
    match found {
        Found::File { id, .. } | Found::Mq { id: Some(id) } => Some(*id),
        Found::Mq { id: None } => created.resource.id,
        Found::Gone
        | Found::Unknown { .. }
        | Found::Process { .. }
        | Found::Mount { .. }
        | Found::Holders { .. }
        | Found::Source
        | Found::Frames { .. }
        | Found::Sysv { .. } => None,
    }
}

pub(super) fn path_of(created: &Created) -> Vec<u8> {
    created
        .resource
        .path
        .as_deref()
        .unwrap_or_default()
        .to_vec()
}

fn display(created: &Created) -> String {
    let resource = &created.resource;
    match (&resource.path, resource.ipc_id) {
        (Some(path), _) => String::from_utf8_lossy(path).into_owned(),
        (None, Some(id)) => format!("{} {id}", resource.kind.name()),
        (None, None) => resource.kind.name().to_owned(),
    }
}

#[cfg(test)]
#[path = "residue_tests.rs"]
mod tests;
