//! SysV shared memory, semaphores and message queues.

use std::{fs, io, mem};

use bytes::{Bytes, BytesMut};
use leaktrace_common::record::{
    ipc::{IpcGet, IpcRemove, created, what},
    kind,
};
use zerocopy::IntoBytes;

use super::{Found, host, record::append};
use crate::{id::ProcessKey, source::Start};

/// The segment is removed when its last user detaches (SHM_DEST, include/linux/shm.h).
const SHM_DEST: u32 = 0o1000;

/// Looks for an object in the calling thread's ipc namespace.
pub(super) fn find(what: u32, id: i32) -> Found {
    let found = match what {
        what::SHM => shm(id),
        what::SEM => sem(id),
        what::MSG => msg(id),
        _ => return Found::unknown("no such kind of ipc"),
    };
    found.unwrap_or_else(|error| match error.raw_os_error() {
        // IPC_STAT of an id that is gone, or has been given away again.
        Some(libc::EINVAL | libc::EIDRM) => Found::Gone,
        _ => Found::from_error(&error),
    })
}

fn shm(id: i32) -> io::Result<Found> {
    // SAFETY: plain integers.
    let mut status: libc::shmid_ds = unsafe { mem::zeroed() };
    // SAFETY: `status` is valid for writing.
    checked(unsafe { libc::shmctl(id, libc::IPC_STAT, &raw mut status) })?;
    Ok(Found::Sysv {
        creator_pid: u32::try_from(status.shm_cpid).ok().filter(|pid| *pid != 0),
        size: status.shm_segsz as u64,
        users: status.shm_nattch,
        ctime: seconds(status.shm_ctime),
        dying: u32::from(status.shm_perm.mode) & SHM_DEST != 0,
    })
}

/// `struct semid64_ds` (include/uapi/asm-generic/sembuf.h, and x86's own, which pads the times).
/// The libc crate has none for musl.
#[repr(C)]
struct SemStatus {
    perm: libc::ipc_perm,
    otime: i64,
    #[cfg(target_arch = "x86_64")]
    otime_pad: i64,
    ctime: i64,
    #[cfg(target_arch = "x86_64")]
    ctime_pad: i64,
    nsems: u64,
    unused: [u64; 2],
}

fn sem(id: i32) -> io::Result<Found> {
    // SAFETY: plain integers.
    let mut status: SemStatus = unsafe { mem::zeroed() };
    // SAFETY: `status` is valid for writing; for IPC_STAT the fourth argument is its address.
    checked(unsafe { libc::semctl(id, 0, libc::IPC_STAT, &raw mut status) })?;
    let ctime = seconds(status.ctime);
    Ok(Found::Sysv {
        creator_pid: None,
        size: status.nsems,
        users: 0,
        ctime,
        dying: false,
    })
}

fn msg(id: i32) -> io::Result<Found> {
    // SAFETY: plain integers.
    let mut status: libc::msqid_ds = unsafe { mem::zeroed() };
    // SAFETY: `status` is valid for writing.
    checked(unsafe { libc::msgctl(id, libc::IPC_STAT, &raw mut status) })?;
    Ok(Found::Sysv {
        creator_pid: None,
        size: status.__msg_cbytes,
        users: status.msg_qnum,
        ctime: seconds(status.msg_ctime),
        dying: false,
    })
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn seconds(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

/// Every SysV object of leaktrace's own ipc namespace: (what, id). Empty where the kernel has
/// no SysV ipc.
///
/// # Errors
/// When /proc/sysvipc is there but cannot be read.
pub fn present() -> io::Result<Vec<(u32, i32)>> {
    let mut all = Vec::new();
    for (what, name) in [(what::SHM, "shm"), (what::SEM, "sem"), (what::MSG, "msg")] {
        match fs::read_to_string(format!("/proc/sysvipc/{name}")) {
            Ok(table) => all.extend(ids(&table).map(|id| (what, id))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// A shared memory segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: i32,
    /// Pid of who made it.
    pub creator: u32,
    /// Its size.
    pub bytes: u64,
    /// Whether it goes with its last user.
    pub dying: bool,
}

/// The segments of leaktrace's own ipc namespace; none where the kernel has no SysV ipc.
///
/// # Errors
/// When the table is there but cannot be read.
pub fn segments() -> io::Result<Vec<Segment>> {
    match fs::read_to_string("/proc/sysvipc/shm") {
        Ok(table) => Ok(table.lines().skip(1).filter_map(segment).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What has changed among the SysV objects of our own namespace that nobody told of, as records:
/// `known` ones that are gone, and segments of processes that `maker` knows. Who made a semaphore
/// or a queue, and who removed anything, the kernel does not tell: `somebody` did.
pub fn changes(
    known: &[(u32, i32)],
    start: &Start,
    somebody: ProcessKey,
    maker: impl Fn(u32) -> Option<ProcessKey>,
) -> Option<Bytes> {
    let there = present().ok()?;
    let mut records = BytesMut::new();
    for (what, id) in known.iter().filter(|key| !there.contains(key)) {
        let remove = IpcRemove {
            what: *what,
            id: *id,
            ipc_ns: start.ipc_ns,
            ..IpcRemove::default()
        };
        append(
            &mut records,
            kind::IPC_REMOVE,
            somebody,
            host::boottime_ns(),
            remove.as_bytes(),
            &[],
        );
    }
    let new = segments().ok()?.into_iter().filter(|segment| {
        let key = (what::SHM, segment.id);
        !segment.dying && !known.contains(&key) && !start.sysv_before.contains(&key)
    });
    for (segment, key) in new.filter_map(|segment| Some((segment, maker(segment.creator)?))) {
        let get = IpcGet {
            size: segment.bytes,
            what: what::SHM,
            id: segment.id,
            ipc_ns: start.ipc_ns,
            created: created::YES,
            ..IpcGet::default()
        };
        append(
            &mut records,
            kind::IPC_GET,
            key,
            host::boottime_ns(),
            get.as_bytes(),
            &[],
        );
    }
    (!records.is_empty()).then(|| records.freeze())
}

/// key, id, permissions in octal, size, creator … (ipc/shm.c, sysvipc_shm_proc_show).
fn segment(line: &str) -> Option<Segment> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let mode = u32::from_str_radix(words.get(2)?, 8).ok()?;
    Some(Segment {
        id: words.get(1)?.parse().ok()?,
        creator: words.get(4)?.parse().ok()?,
        bytes: words.get(3)?.parse().ok()?,
        dying: mode & SHM_DEST != 0,
    })
}

/// The second column of each line but the first (ipc/shm.c, sysvipc_shm_proc_show, and alike).
fn ids(table: &str) -> impl Iterator<Item = i32> + '_ {
    table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Makes one object of each kind, looks, removes them, looks again.
    #[test]
    fn objects_are_there_until_they_are_removed() {
        // SAFETY: the calls take integers only.
        let made = unsafe {
            [
                (what::SHM, libc::shmget(libc::IPC_PRIVATE, 8192, 0o600)),
                (what::SEM, libc::semget(libc::IPC_PRIVATE, 3, 0o600)),
                (what::MSG, libc::msgget(libc::IPC_PRIVATE, 0o600)),
            ]
        };
        let seen: Vec<Found> = made.iter().map(|(what, id)| find(*what, *id)).collect();
        let listed = present().unwrap();
        // SAFETY: IPC_RMID ignores the buffer.
        unsafe {
            libc::shmctl(made[0].1, libc::IPC_RMID, std::ptr::null_mut());
            libc::semctl(made[1].1, 0, libc::IPC_RMID);
            libc::msgctl(made[2].1, libc::IPC_RMID, std::ptr::null_mut());
        }
        for (object, size) in seen.iter().zip([8192, 3, 0]) {
            let Found::Sysv {
                size: found,
                users: 0,
                ctime,
                dying: false,
                ..
            } = object
            else {
                panic!("{object:?}")
            };
            assert_eq!(*found, size);
            assert!(*ctime > 1_600_000_000);
        }
        let Found::Sysv { creator_pid, .. } = &seen[0] else {
            panic!("{seen:?}")
        };
        assert_eq!(*creator_pid, Some(std::process::id()));
        for (what, id) in made {
            assert!(listed.contains(&(what, id)));
            assert_eq!(find(what, id), Found::Gone);
        }
    }

    #[test]
    fn a_removed_segment_that_is_still_attached_is_dying() {
        // SAFETY: integers only; the segment is attached where the kernel likes.
        let (id, at) = unsafe {
            let id = libc::shmget(libc::IPC_PRIVATE, 4096, 0o600);
            let at = libc::shmat(id, std::ptr::null(), 0);
            libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut());
            (id, at)
        };
        let seen = find(what::SHM, id);
        // SAFETY: `at` is what shmat returned, and nothing refers to it.
        unsafe { libc::shmdt(at) };
        assert!(
            matches!(
                seen,
                Found::Sysv {
                    users: 1,
                    dying: true,
                    ..
                }
            ),
            "{seen:?}"
        );
        assert_eq!(find(what::SHM, id), Found::Gone);
    }

    #[test]
    fn tables_are_read_by_column() {
        let table =
            "       key      msqid perms\n         0         32 644 0\n 17  -1 600\nshort\n";
        assert_eq!(ids(table).collect::<Vec<_>>(), [32, -1]);
        assert!(matches!(find(9, 1), Found::Unknown { .. }));
    }
}
