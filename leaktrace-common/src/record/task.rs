//! Birth, exec and reaping of tasks.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::TextRef;

/// A task as the kernel describes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TaskFacts {
    /// The `mm_struct`; 0 for kernel threads.
    pub mm: u64,
    /// Start of the thread group leader, ns of CLOCK_BOOTTIME.
    pub start_ns: u64,
    /// Start of the real parent's thread group leader.
    pub parent_start_ns: u64,
    /// kernfs id of the cgroup (v2 hierarchy); 0 if not read.
    pub cgroup: u64,
    /// Soft RLIMIT_NOFILE.
    pub nofile: u64,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Process id in its own pid namespace.
    pub ns_pid: u32,
    /// Process id of the real parent.
    pub parent_pid: u32,
    /// Real user id, initial user namespace.
    pub uid: u32,
    /// The fd table.
    pub table: u32,
    /// [`super::header_flag`].
    pub flags: u32,
    /// Signal sent to the parent at the end; 0 for none, -1 for threads.
    pub exit_signal: i32,
    /// comm.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<TaskFacts>() == 88);

/// `task_newtask`: the header's task made another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TaskNew {
    /// CLONE_*.
    pub clone_flags: u64,
    /// The new one.
    pub child: TaskFacts,
    /// What the new one has of its maker's memory, as [`Exec::rest_vm`]. The kernel copies it
    /// before it tells of the task, and other threads of the maker map and unmap in between
    /// (copy_process in kernel/fork.c, v6.18). 0: not read.
    pub rest_vm: u64,
}

const _: () = assert!(size_of::<TaskNew>() == 104);

/// `sched_process_exec`: the header's process runs another program. A walk of its fd table
/// follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Exec {
    /// The process after exec.
    pub task: TaskFacts,
    /// Thread id before exec, if a thread other than the leader called it.
    pub old_tid: u32,
    /// Inode number of the mount namespace.
    pub mnt_ns: u32,
    /// Mapped pages without what the kernel makes longer by itself or by brk(2): `mm_struct`'s
    /// total_vm less stack_vm less the page behind brk; only differences mean something, modulo
    /// 2^64.
    pub rest_vm: u64,
    /// Size of each text area.
    pub area: u16,
    /// Zero.
    pub reserved: [u16; 3],
    /// 0: the executable's path (WALK). 1: argv (RAW). 2: the working directory (WALK).
    /// 3: zero.
    pub text: [TextRef; 4],
}

const _: () = assert!(size_of::<Exec>() == 128);

/// wait4 or waitid took a child: it is reaped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Reap {
    /// The child's process id in the waiting process's pid namespace.
    pub ns_pid: u32,
    /// Zero.
    pub reserved: u32,
}

/// `sched_process_free`: memory of a task was given back. Not the moment of reaping: an RCU
/// grace period lies between.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Free {
    /// Thread id.
    pub tid: u32,
    /// Zero.
    pub reserved: u32,
}

/// Namespaces were made: by unshare, or for a new task by clone. The header's task asked for
/// them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Namespaces {
    /// CLONE_NEW* bits of the new ones.
    pub flags: u64,
    /// Inode numbers in nsfs, also of those that are not new; 0: not read. [`namespace`] is the
    /// order.
    pub inums: [u32; 8],
}

const _: () = assert!(size_of::<Namespaces>() == 40);

/// Kinds of namespace: the order in [`Namespaces::inums`], the bit of clone(2), the name in
/// /proc/PID/ns.
pub mod namespace {
    /// All of them.
    pub const ALL: [(u64, &str); 8] = [
        (0x0002_0000, "mnt"),
        (0x0200_0000, "cgroup"),
        (0x0400_0000, "uts"),
        (0x0800_0000, "ipc"),
        (0x1000_0000, "user"),
        (0x2000_0000, "pid"),
        (0x4000_0000, "net"),
        (0x0000_0080, "time"),
    ];
    /// Any of the bits.
    pub const ANY: u64 = 0x7e02_0080;
}

/// Something that the programs cannot follow happened in the header's process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Taint {
    /// [`taint`].
    pub reason: u32,
    /// Zero.
    pub reserved: u32,
}

/// Reasons of a [`Taint`].
pub mod taint {
    /// The process makes 32-bit system calls; fds are known by walks only.
    pub const COMPAT: u32 = 1;
    /// The process asks io_uring to change fds and to tell no completion; until the next walk
    /// its table may lack some.
    pub const SILENT: u32 = 2;
    /// The same of an open that may make a file.
    pub const SILENT_CREATION: u32 = 3;
    /// The process makes or changes names by io_uring.
    pub const RING_NAMES: u32 = 4;
}

/// A process as the kernel has it now: the walk of its fd table with the number given here is
/// before this record in the ring. What records after it tell comes on top.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Reread {
    /// Its leader.
    pub task: TaskFacts,
    /// Number of the walk; 0: the table could not be walked.
    pub walk: u32,
    /// `signal_struct.nr_threads`.
    pub threads: u32,
}

const _: () = assert!(size_of::<Reread>() == 96);

/// A task that was there before ([`super::kind::ROOT`], [`super::kind::SEED`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Seed {
    /// The task.
    pub task: TaskFacts,
}
