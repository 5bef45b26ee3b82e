//! Whether what the census found is what was made.

use leaktrace_common::abi::Op;

use super::{
    residue::{self, Thing},
    resource, roots,
};
use crate::{
    census::Found,
    id::FileId,
    model::facts::{Created, Kind},
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

/// Whether what the census found is what was made, and for which rule.
pub(super) fn identify(
    created: &Created,
    found: &Found,
    start: &Start,
) -> Option<(Thing, Resource)> {
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
            birth_ns,
            ..
        } => {
            if !same_file(created, id, *mode, *birth_ns, start) {
                return None;
            }
            let (thing, kind) = file_thing(&residue::path_of(created), *mode);
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
