//! Ends of tasks.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// exit_group(2) was entered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitGroup {
    /// Its argument.
    pub code: i32,
    /// Threads that had not begun to end, with this one (`signal->live`, which do_exit in
    /// kernel/exit.c lowers before pthread_join(3) can return); 0 in older captures.
    pub live: u32,
}

/// A thread ends, others of its process go on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitThread {
    /// Zero.
    pub reserved: u64,
}

/// `sched_process_exit` of the last thread. The walk of its fd table came just before.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitProcess {
    /// The `mm_struct`; 0 below Linux 6.16, where it is gone by then.
    pub mm: u64,
    /// Mapped pages; 0 if not read.
    pub total_vm: u64,
    /// Those without the stack's and the heap's ([`super::task::Exec::rest_vm`]).
    pub rest_vm: u64,
    /// Bytes read from storage by the whole process.
    pub read_bytes: u64,
    /// Bytes written to storage by the whole process.
    pub written_bytes: u64,
    /// The walk of the fd table ([`super::file::FdWalk::walk`]); 0: there was none.
    pub walk: u32,
    /// Mappings; 0 if not read.
    pub map_count: u32,
    /// `task_struct.exit_code` of the leader (wait status).
    pub exit_code: i32,
    /// `signal_struct.group_exit_code` (wait status).
    pub group_exit_code: i32,
    /// `signal_struct.flags`; SIGNAL_GROUP_EXIT is 4 (include/linux/sched/signal.h).
    pub signal_flags: u32,
    /// [`exit_flag`].
    pub flags: u32,
    /// Real user id.
    pub uid: u32,
    /// Process id of the real parent now.
    pub parent_pid: u32,
    /// Start of that parent's thread group leader.
    pub parent_start_ns: u64,
    /// comm.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<ExitProcess>() == 96);

/// Bits of [`ExitProcess::flags`].
pub mod exit_flag {
    /// The parent ignores SIGCHLD or set SA_NOCLDWAIT: the kernel reaps at once.
    pub const AUTOREAP: u32 = 1;
    /// A core was dumped (PF_DUMPCORE, or the core bit of the wait status).
    pub const CORE_DUMPED: u32 = 4;
}

/// `exit_mmap`: an address space has been unmapped. The header's task did it; whose it was is
/// told by `mm`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitMm {
    /// The `mm_struct`.
    pub mm: u64,
}

/// The exit signal was sent to the parent (exit_notify): the end of exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitNotify {
    /// Process id of the parent.
    pub parent_pid: u32,
    /// The signal, SIGCHLD as a rule.
    pub signal: u32,
}

/// When the last thread of a process was in the kernel's functions of exit, ns of CLOCK_BOOTTIME;
/// 0: not seen. The header's time is the entry of `sched_autogroup_exit_task`: all is released by
/// then (do_exit in kernel/exit.c, v5.10 to v7.3).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitTimes {
    /// `exit_mmap` was entered, by its last user.
    pub unmap_began_ns: u64,
    /// And left.
    pub unmap_ended_ns: u64,
    /// `exit_files` was entered.
    pub files_began_ns: u64,
    /// And left.
    pub files_ended_ns: u64,
}

const _: () = assert!(size_of::<ExitTimes>() == 32);
