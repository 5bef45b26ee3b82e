//! What is left: created things that a census finds again, and who answers for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    audit::{
        evidence::Evidence,
        roots::{Place, Roots},
    },
    census::{Found, Question},
    id::{FileId, KtimeNs, ProcessKey},
    model::facts::{Created, Facts, Kind},
    report::Resource,
    source::Start,
};

use leaktrace_common::abi::Op;

use super::resource;

/// How far from our record of it a thing may have been born and still be the one: birth times
/// come from the coarse clock (a tick, up to 10 ms, inode_set_ctime_current() of Linux 6.18),
/// and records are stamped when the call returns.
const BIRTH_SLACK_NS: i128 = 100_000_000;

/// Part of the time since attach that the wall clock may have been slewed by meanwhile, 1/n:
/// chrony corrects at up to that rate.
const SLEW: i128 = 1_000;

const SHM_ROOT: &[u8] = b"/dev/shm";

const S_IFMT: u32 = 0o170_000;

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
}

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
        // Before its exec the held child is leaktrace's own code.
        return match (process.exec, at) {
            (Some(exec), Some(at)) => at >= exec,
            (Some(_), None) => true,
            (None, _) => false,
        };
    }
    !process.preexisting
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
    candidates
        .into_iter()
        .filter(|created| !is_covered(created, &directories))
        .filter_map(|created| {
            let question = question(created)?;
            Some(Suspect { created, question })
        })
        .collect()
}

fn in_scope(created: &Created, roots: &Roots<'_>, start: &Start) -> bool {
    let resource = &created.resource;
    let own_ipc = created.namespace == 0 || created.namespace == start.ipc_ns;
    match resource.kind {
        Kind::SysvShm | Kind::SysvSem | Kind::SysvMsg => {
            let what = sysv_what(resource.kind);
            let there_before = |id| start.sysv_before.contains(&(what, id));
            !(own_ipc && resource.ipc_id.is_some_and(there_before))
        }
        Kind::PosixMq | Kind::PosixShm | Kind::PosixSem | Kind::Unix | Kind::Fifo => true,
        _ => resource.path.as_deref().is_some_and(|path| {
            directly_in_shm(path) || matches!(roots.place(path), Place::Temp { .. })
        }),
    }
}

/// Whether one of the directories lies above it.
fn is_covered(created: &Created, directories: &BTreeSet<(u32, &[u8])>) -> bool {
    if created.resource.kind == Kind::PosixMq {
        return false;
    }
    let Some(path) = created.resource.path.as_deref() else {
        return false;
    };
    let slashes = path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/');
    slashes
        .map(|(i, _)| &path[..i])
        .any(|above| directories.contains(&(created.namespace, above)))
}

fn question(created: &Created) -> Option<Question> {
    let resource = &created.resource;
    match resource.kind {
        Kind::SysvShm | Kind::SysvSem | Kind::SysvMsg => Some(Question::Sysv {
            what: sysv_what(resource.kind),
            id: resource.ipc_id?,
            ipc_ns: created.namespace,
            through: Vec::new(),
        }),
        Kind::PosixMq => {
            let name = resource.path.as_deref()?;
            Some(Question::Mq {
                name: name.strip_prefix(b"/").unwrap_or(name).to_vec(),
                ipc_ns: created.namespace,
                through: Vec::new(),
            })
        }
        _ => {
            let path = resource.path.as_deref()?;
            // Abstract and relative names cannot be looked up.
            path.starts_with(b"/").then(|| Question::Path {
                path: path.to_vec(),
                mnt_ns: created.namespace,
                through: Vec::new(),
            })
        }
    }
}

fn sysv_what(kind: Kind) -> u32 {
    use leaktrace_common::record::ipc::what;
    match kind {
        Kind::SysvSem => what::SEM,
        Kind::SysvMsg => what::MSG,
        _ => what::SHM,
    }
}

/// The suspects that are still there, in the order of their making, and what could not be found
/// out, a clause each.
pub fn left(facts: &Facts, start: &Start, evidence: &Evidence<'_>) -> (Vec<Left>, Vec<String>) {
    let mut left = BTreeMap::new();
    let mut unknown = Vec::new();
    for (position, suspect) in suspects(facts, start).into_iter().enumerate() {
        let Some(answer) = evidence.about(&suspect.question) else {
            unknown.push(format!("{}: not looked up", display(suspect.created)));
            continue;
        };
        if let Found::Unknown { why } = &answer.found {
            unknown.push(format!("{}: {why}", display(suspect.created)));
            continue;
        }
        if let Some((thing, resource)) = identify(suspect.created, &answer.found, start) {
            let found = Left {
                creator: suspect.created.creator,
                thing,
                resource,
                path: path_of(suspect.created),
                confirmed_ns: answer.time_ns,
            };
            // Of several records of one name the last that fits made what is there.
            left.insert(suspect.question, (position, found));
        }
    }
    let mut left: Vec<_> = left.into_values().collect();
    left.sort_by_key(|(position, _)| *position);
    (left.into_iter().map(|(_, left)| left).collect(), unknown)
}

fn path_of(created: &Created) -> Vec<u8> {
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

/// Whether what the census found is what was made, and for which rule.
fn identify(created: &Created, found: &Found, start: &Start) -> Option<(Thing, Resource)> {
    let mut resource = resource::report(&created.resource);
    let thing = match found {
        Found::Sysv {
            creator_pid,
            size,
            users,
            dying,
            ..
        } => {
            let same = creator_pid.is_none_or(|pid| pid == created.creator.pid.0);
            // Marked for removal: the last detach removes it.
            if !same || *dying {
                return None;
            }
            let thing = sysv_thing(created.resource.kind);
            if thing == Thing::SysvShm {
                resource.bytes = Some(*size);
            }
            if thing != Thing::SysvSem {
                resource.users = Some(*users);
            }
            thing
        }
        Found::Mq { id } => {
            let same = match (id, &created.resource.id) {
                (Some(now), Some(then)) => now == then,
                (None, _) | (_, None) => true,
            };
            same.then_some(Thing::PosixMq)?
        }
        Found::File {
            id,
            mode,
            bytes,
            entries,
            birth_ns,
            ..
        } => {
            if !same_file(created, id, *mode, *birth_ns, start) {
                return None;
            }
            let (thing, kind) = file_thing(&path_of(created), *mode);
            resource::set_kind(&mut resource, kind);
            resource.bytes = Some(*bytes);
            if thing == Thing::TempDir {
                resource.entries = Some(*entries);
            }
            resource::set_id(&mut resource, *id);
            thing
        }
        Found::Gone | Found::Unknown { .. } | Found::Process { .. } => return None,
    };
    Some((thing, resource))
}

fn sysv_thing(kind: Kind) -> Thing {
    match kind {
        Kind::SysvSem => Thing::SysvSem,
        Kind::SysvMsg => Thing::SysvMsg,
        _ => Thing::SysvShm,
    }
}

fn same_file(
    created: &Created,
    id: &FileId,
    mode: u32,
    birth_ns: Option<u64>,
    start: &Start,
) -> bool {
    match created.resource.id {
        Some(then) => then == *id,
        None => kind_fits(created.resource.kind, mode) && born_then(created, birth_ns, start),
    }
}

/// Whether a thing without an identity was born when ours was made. In a namespace that is not
/// ours, and may be gone, another thing of that name must not be taken for it, so it must not
/// be younger either.
fn born_then(created: &Created, birth_ns: Option<u64>, start: &Start) -> bool {
    // A link gives a name to what is older.
    if matches!(created.resource.op, Some(Op::LINK | Op::LINKAT)) {
        return true;
    }
    let foreign = created.namespace != 0 && created.namespace != start.mnt_ns;
    let (Some(birth), Some(at)) = (birth_ns, created.resource.acquired) else {
        return !foreign;
    };
    let elapsed = i128::from(at.0) - i128::from(start.clock.boottime_ns);
    let made = i128::from(start.clock.realtime_ns) + elapsed;
    let slack = BIRTH_SLACK_NS + elapsed.max(0) / SLEW;
    let birth = i128::from(birth);
    birth + slack >= made && (!foreign || birth <= made + slack)
}

/// Whether a found file's type is the one that was made.
fn kind_fits(kind: Kind, mode: u32) -> bool {
    let expected = match kind {
        Kind::Directory => 0o040_000,
        Kind::Symlink => 0o120_000,
        Kind::Unix => 0o140_000,
        Kind::Fifo => 0o010_000,
        Kind::File | Kind::PosixShm | Kind::PosixSem => 0o100_000,
        // Device nodes and what a link made of something unseen.
        _ => return true,
    };
    mode & S_IFMT == expected
}

fn file_thing(path: &[u8], mode: u32) -> (Thing, Kind) {
    match mode & S_IFMT {
        0o040_000 => (Thing::TempDir, Kind::Directory),
        0o140_000 => (Thing::UnixSocket, Kind::Unix),
        0o010_000 => (Thing::Fifo, Kind::Fifo),
        0o120_000 => (Thing::TempFile, Kind::Symlink),
        0o100_000 if directly_in_shm(path) => match path[SHM_ROOT.len() + 1..].starts_with(b"sem.")
        {
            true => (Thing::PosixSem, Kind::PosixSem),
            false => (Thing::PosixShm, Kind::PosixShm),
        },
        0o100_000 => (Thing::TempFile, Kind::File),
        _ => (Thing::TempFile, Kind::Device),
    }
}

fn directly_in_shm(path: &[u8]) -> bool {
    super::roots::inside(SHM_ROOT, path).is_some_and(|rest| !rest.contains(&b'/'))
}

#[cfg(test)]
#[path = "residue_tests.rs"]
mod tests;
