//! fds and open file descriptions.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{FileIdentity, TextRef};

/// An fd came into the header's table: a syscall returned it and the kernel's table has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdAcquire {
    /// The description and its inode.
    pub identity: FileIdentity,
    /// The number.
    pub fd: i32,
    /// dup: the fd it was made from; accept: the listener. Otherwise -1.
    pub source_fd: i32,
    /// `file.f_flags` (O_*).
    pub open_flags: u32,
    /// Inode number of the task's mount namespace; 0 if not read.
    pub mnt_ns: u32,
    /// [`crate::abi::Op`].
    pub op: u8,
    /// [`acquire_flag`].
    pub flags: u8,
    /// Size of the one text area.
    pub area: u16,
    /// The path.
    pub text: TextRef,
}

const _: () = assert!(size_of::<FdAcquire>() == 72);

/// Bits of [`FdAcquire::flags`].
pub mod acquire_flag {
    /// This open created the file (FMODE_CREATED, include/linux/fs.h).
    pub const CREATED: u8 = 1;
    /// The fd is close-on-exec.
    pub const CLOEXEC: u8 = 2;
    /// The file has no name (O_TMPFILE).
    pub const TMPFILE: u8 = 4;
    /// The call would have failed had the file been there (O_EXCL).
    pub const EXCLUSIVE: u8 = 8;
    /// It was seen in the table, not returned by a call: the header's `seq` is 0, the table had
    /// it after the record's place in the ring was taken, and it may have been told before.
    pub const FOUND: u8 = 16;
}

/// A release of one fd: close, or dup2/dup3 over an open number. Emitted at syscall exit;
/// the header's `seq` was taken at entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdRelease {
    /// Address of the `struct file` the number held at entry; 0: none.
    pub file: u64,
    /// Entry, ns of CLOCK_BOOTTIME.
    pub begin_ns: u64,
    /// The number.
    pub fd: i32,
    /// Positive errno, or 0. A close that found a description frees the number whatever this
    /// says (close(2): EINTR, EIO).
    pub errno: i32,
    /// [`crate::abi::Op`].
    pub op: u8,
    /// Zero.
    pub reserved: u8,
    /// References to the description at entry, at most 65535; 0: not read. Above 1 it lives on:
    /// in another slot, a mapping, a call under way, or in the hands of somebody else.
    pub count: u16,
    /// Lower half of `file.f_cred`, the credentials of who opened it, where `count` is above 1; 0:
    /// not read. Each process has its own, and a description keeps its opener's: an address that
    /// is somebody else's description by now has others.
    pub cred: u32,
}

const _: () = assert!(size_of::<FdRelease>() == 32);

/// A lock on a whole file or a part of it was taken or given back: flock(2), fcntl(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdLock {
    /// Address of the `struct file`.
    pub file: u64,
    /// The number.
    pub fd: i32,
    /// F_RDLCK 0, F_WRLCK 1, F_UNLCK 2 (include/uapi/asm-generic/fcntl.h); those of flock are
    /// told in these terms.
    pub what: u16,
    /// [`lock_owner`].
    pub owner: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = assert!(size_of::<FdLock>() == 16);

/// What a lock belongs to.
pub mod lock_owner {
    /// The description (flock, F_OFD_SETLK): the lock goes with its last reference.
    pub const DESCRIPTION: u8 = 1;
    /// The process (F_SETLK): the lock goes with it, or with its first close of the file.
    pub const PROCESS: u8 = 2;
}

/// A number was taken out of the table by something else than a call of its own: an io_uring
/// request. What it held is what the table is known to have there, unless that is `now`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdGone {
    /// Address of the `struct file` that the number holds by now; 0: none.
    pub now: u64,
    /// Submission, ns of CLOCK_BOOTTIME; 0: not known.
    pub begin_ns: u64,
    /// The number.
    pub fd: i32,
    /// [`crate::abi::Op`].
    pub op: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<FdGone>() == 24);

/// close_range(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdRange {
    /// Entry, ns of CLOCK_BOOTTIME.
    pub begin_ns: u64,
    /// First number.
    pub first: u32,
    /// Last number, inclusive.
    pub last: u32,
    /// CLOSE_RANGE_UNSHARE 2, CLOSE_RANGE_CLOEXEC 4 (include/uapi/linux/close_range.h).
    pub flags: u32,
    /// Positive errno, or 0.
    pub errno: i32,
}

const _: () = assert!(size_of::<FdRange>() == 24);

/// One fd of a walk.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct WalkEntry {
    /// The description and its inode.
    pub identity: FileIdentity,
    /// `file.f_flags`.
    pub open_flags: u32,
    /// As in [`FdRelease`].
    pub cred: u32,
}

const _: () = assert!(size_of::<WalkEntry>() == 56);

/// Entries in one part of a walk.
pub const WALK_LEN: usize = 16;

/// Part of an fd table as the kernel has it: the [`WALK_LEN`] numbers from `base` on. Parts
/// without an open fd are not sent, so a table is complete when the bits of the masks of the
/// parts with the same `walk` number add up to `total`. A table without an fd is one part with
/// an empty mask.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdWalk {
    /// Number of this walk, unique in a run.
    pub walk: u32,
    /// [`walk_cause`].
    pub cause: u32,
    /// First number of this part.
    pub base: u32,
    /// Numbers taken in the whole table.
    pub total: u32,
    /// `files_struct.count`: tasks that share the table.
    pub sharers: u32,
    /// Bit i: number `base + i` is taken and `entries[i]` is filled. Entries of clear bits are
    /// not written. A number that is only reserved (another thread is in the middle of an open)
    /// has an entry without a file: `identity.file` is 0.
    pub mask: u16,
    /// Bit i: number `base + i` is close-on-exec.
    pub cloexec: u16,
    /// The fds.
    pub entries: [WalkEntry; WALK_LEN],
}

const _: () = assert!(size_of::<FdWalk>() == 24 + 56 * WALK_LEN);

/// Why a table was walked.
pub mod walk_cause {
    /// The end of the process, before the kernel reaps the table.
    pub const EXIT: u32 = 1;
    /// After a successful exec: close-on-exec fds are gone.
    pub const EXEC: u32 = 2;
    /// An iterator read it.
    pub const ITERATOR: u32 = 3;
    /// The birth of a task with a table of its own: what it inherits, also what came to its
    /// parent in a way that is not followed.
    pub const FORK: u32 = 4;
}

/// The header's task has left its fd table for the one named in the header (unshare, exec,
/// close_range with CLOSE_RANGE_UNSHARE). What the new one holds is a copy of the old one,
/// unless a walk of it follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FdTable {
    /// The table before.
    pub old_table: u32,
    /// Zero.
    pub reserved: u32,
}
