//! Whether what the census found is what was made.

use leaktrace_common::abi::Op;

use super::{
    residue::{self, Thing},
    resource, roots,
};
use crate::{
    census::{Answer, Found},
    model::facts::{Created, Facts, Kind, Mounted, ProcessFacts},
    report::Resource,
    source::Start,
};

/// How far from our record of it a thing may have been born and still be the one: birth times
/// come from the coarse clock (a tick, up to 10 ms, inode_set_ctime_current() of Linux 6.18),
/// and records are stamped when the call returns.
const BIRTH_SLACK_NS: i128 = 100_000_000;

/// Part of the time since attach that the wall clock may have been slewed by meanwhile, 1/n:
/// chrony corrects at up to that rate.
const SLEW: i128 = 1_000;

const SHM_ROOT: &[u8] = b"/dev/shm";

const S_IFMT: u32 = 0o170_000;

/// Types of what is made under a name.
const TYPES: [(Kind, u32); 7] = [
    (Kind::Directory, 0o040_000),
    (Kind::Symlink, 0o120_000),
    (Kind::Unix, 0o140_000),
    (Kind::Fifo, 0o010_000),
    (Kind::File, 0o100_000),
    (Kind::PosixShm, 0o100_000),
    (Kind::PosixSem, 0o100_000),
];

/// Whether what the census found is what was made, and for which rule; `None`: it is not.
///
/// # Errors
/// That cannot be told, a clause.
pub(super) fn identify(
    created: &Created,
    answer: &Answer,
    facts: &Facts,
    start: &Start,
) -> Result<Option<(Thing, Resource)>, &'static str> {
    match same_file(created, answer, start) {
        Some(true) => Ok(made(created, answer, facts, start)),
        Some(false) => Ok(None),
        None => Err(
            "it was made in another mount namespace, and the file system does not tell when what has its name was made",
        ),
    }
}

/// What it is, if what has its name is what was made.
fn made(
    created: &Created,
    answer: &Answer,
    facts: &Facts,
    start: &Start,
) -> Option<(Thing, Resource)> {
    let mut resource = resource::report(&created.resource);
    let thing = match &answer.found {
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
            let (_, thing) = residue::sysv(created.resource.kind)?;
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
            holds_pid,
            elsewhere,
            ..
        } => {
            let (mut thing, mut kind) = file_thing(&residue::path_of(created), *mode);
            if created.resource.kind == Kind::BpfPin {
                (thing, kind) = (Thing::BpfPin, Kind::BpfPin);
            } else if thing == Thing::TempDir
                && residue::is_cgroup(start, &residue::path_of(created))
            {
                (thing, kind) = (Thing::Cgroup, Kind::Cgroup);
            } else if let (Thing::TempFile, Some(pid)) = (thing, holds_pid)
                && is_stale(created, (*pid, *bytes), facts)
            {
                thing = Thing::StaleLock;
                resource.id = Some(i64::from(*pid));
            }
            resource::set_kind(&mut resource, kind);
            if !matches!(thing, Thing::Cgroup | Thing::BpfPin) {
                resource.bytes = Some(*bytes);
            }
            if thing == Thing::TempDir {
                resource.entries = Some(*entries);
            }
            resource::set_id(&mut resource, *id);
            if let Some(path) = elsewhere {
                resource.path = Some(resource::text(path));
            }
            thing
        }
        Found::Mount {
            id,
            root,
            filesystem,
        } => mounted(
            created,
            &mut resource,
            (*id, root, filesystem),
            facts,
            start,
        )?,
        Found::Gone
        | Found::Holders { .. }
        | Found::Unknown { .. }
        | Found::Process { .. }
        | Found::Source
        | Found::Frames { .. } => {
            return None;
        }
    };
    Some((thing, resource))
}

/// Whether a mount is the one that was made: it was not there before, and is of the type that the
/// call named. A namespace of the run that is mounted is told as that.
fn mounted(
    created: &Created,
    resource: &mut Resource,
    (id, root, filesystem): (u64, &[u8], &[u8]),
    facts: &Facts,
    start: &Start,
) -> Option<Thing> {
    let named = match created.mounted.as_deref() {
        Some(Mounted::Filesystem(named)) => named.as_deref(),
        Some(Mounted::Bind(_)) | None => None,
    };
    // `fuse` mounts as `fuse.NAME`, and a helper may have named a type that stands for another.
    let fits = named.is_none_or(|named| filesystem == named || filesystem.starts_with(b"fuse"));
    if start.mounts_before.contains(&id) || !fits {
        return None;
    }
    let inum = namespace_number(root).filter(|_| filesystem == b"nsfs");
    let made = inum.and_then(|inum| facts.namespaces.iter().find(|made| made.inum == inum));
    match made {
        Some(made) => {
            resource::set_kind(resource, Kind::Namespace);
            resource.id = Some(i64::from(made.inum));
            Some(Thing::Namespace)
        }
        None => Some(Thing::Mount),
    }
}

/// `4026531840` of `net:[4026531840]`.
fn namespace_number(root: &[u8]) -> Option<u32> {
    let text = str::from_utf8(root).ok()?;
    text.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// A file that holds a pid and nothing else is no longer than this; lock files pad the number with
/// blanks.
const PID_ALONE: u64 = 32;

/// Whether a file that holds this number is the lock of a process that is gone: of the one that
/// made it, of its parent or of a child; or, if the file was made as a lock is, by an open with O_EXCL
/// or a link, of another child of its parent. A number alone proves nothing, so it must be one of those
/// who had to do with the file; and one that was locked is no lock by being there. With more behind
/// the number it may be a log: then only how it was made tells a lock.
fn is_stale(created: &Created, (pid, bytes): (u32, u64), facts: &Facts) -> bool {
    if created.locked || bytes > PID_ALONE && created.exclusive != Some(true) {
        return false;
    }
    let creator = created.creator;
    let parent = facts.processes.get(&creator).map(|process| process.parent);
    let exclusive = created.exclusive == Some(true);
    let related = |process: &&ProcessFacts| {
        process.key == creator
            || Some(process.key) == parent
            || process.parent == creator
            || exclusive && Some(process.parent) == parent
    };
    let named = |process: &&ProcessFacts| process.key.pid.0 == pid || process.ns_pid.0 == pid;
    let mut owners = facts
        .processes
        .values()
        .filter(named)
        .filter(related)
        .peekable();
    owners.peek().is_some() && owners.all(|process| process.end.is_some())
}

/// Whether a file is the one that was made; `None`: that cannot be told. What is no file is for others
/// to tell.
fn same_file(created: &Created, answer: &Answer, start: &Start) -> Option<bool> {
    let Found::File {
        id,
        mode,
        birth_ns,
        changed_ns,
        wall_ns,
        clock_was_set,
        ..
    } = &answer.found
    else {
        return Some(true);
    };
    if let Some(then) = created.resource.id {
        return Some(then == *id);
    }
    if !kind_fits(created.resource.kind, *mode) {
        return Some(false);
    }
    let born = Born {
        birth_ns: *birth_ns,
        changed_ns: *changed_ns,
        clock_set_ns: clock_set(*wall_ns, answer.time_ns, start),
        clock_was_set: *clock_was_set,
    };
    born_then(created, born, start)
}

/// When a thing was born, by a clock that may have been set since attach.
#[derive(Clone, Copy)]
struct Born {
    birth_ns: Option<u64>,
    /// Its last change, and the first of that, its last access and its last modification.
    changed_ns: Option<(u64, u64)>,
    /// How far, ns. When is not known, so births may be off by that.
    clock_set_ns: u64,
    /// Whether it was: it may have been set and set back, and a birth in between be anywhere.
    clock_was_set: bool,
}

/// How far the wall clock was set between attach and a look.
fn clock_set(wall_ns: Option<u64>, time_ns: u64, start: &Start) -> u64 {
    let Some(wall_ns) = wall_ns else { return 0 };
    let then = i128::from(start.clock.realtime_ns) - i128::from(start.clock.boottime_ns);
    let now = i128::from(wall_ns) - i128::from(time_ns);
    u64::try_from((now - then).unsigned_abs()).unwrap_or(u64::MAX)
}

/// Whether a thing without an identity was born when ours was made; `None`: that cannot be told. In a
/// namespace that is not ours, and may be gone, another thing of that name must not be taken for
/// it, so it must not be younger either.
fn born_then(created: &Created, born: Born, start: &Start) -> Option<bool> {
    // A link gives a name to what is older.
    if matches!(created.resource.op, Some(Op::LINK | Op::LINKAT)) {
        return Some(true);
    }
    let foreign = created.namespace != 0 && created.namespace != start.mnt_ns;
    let Some(at) = created.resource.acquired else {
        return Some(!foreign);
    };
    // It was made here under this name, and something of its type has it: what is older would have
    // to have been moved there since. In another namespace it may well be another's.
    if !foreign && (born.clock_was_set || born.birth_ns.is_none()) {
        return Some(true);
    }
    let elapsed = i128::from(at.0) - i128::from(start.clock.boottime_ns);
    let made = i128::from(start.clock.realtime_ns) + elapsed;
    let slack = BIRTH_SLACK_NS + elapsed.max(0) / SLEW + i128::from(born.clock_set_ns);
    let is_older = |ns: u64| i128::from(ns) + slack < made;
    let is_younger = |ns: u64| i128::from(ns) > made + slack;
    if let Some(birth) = born.birth_ns {
        return Some(!is_older(birth) && (!foreign || !is_younger(birth)));
    }
    // Nobody can set the time of the last change back, and it is never before the birth. What has
    // all of its times from just then was made then; what has been used since may be either.
    let (changed, first) = born.changed_ns?;
    if is_older(changed) && !born.clock_was_set {
        return Some(false);
    }
    (!is_older(first) && !is_younger(changed)).then_some(true)
}

/// Whether a found file's type is the one that was made. Device nodes, and what a link made of
/// something unseen, may be anything.
fn kind_fits(kind: Kind, mode: u32) -> bool {
    TYPES
        .iter()
        .find(|(made, _)| *made == kind)
        .is_none_or(|(_, expected)| mode & S_IFMT == *expected)
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

pub(super) fn directly_in_shm(path: &[u8]) -> bool {
    roots::inside(SHM_ROOT, path).is_some_and(|rest| !rest.contains(&b'/'))
}
