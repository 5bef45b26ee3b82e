//! Syscall numbers of this architecture.

use leaktrace_common::abi::{Op, SYSCALL_TABLE_LEN};

/// Since Linux 6.15, the same on all architectures (include/uapi/asm-generic/unistd.h).
const SYS_OPEN_TREE_ATTR: i64 = 467;

/// The number of an operation's syscall here; `None` where this architecture has none (arm64
/// has no open, dup2, pipe, unlink…).
pub fn number(op: Op) -> Option<i64> {
    let portable = match op {
        Op::OPENAT => libc::SYS_openat,
        Op::OPENAT2 => libc::SYS_openat2,
        Op::DUP => libc::SYS_dup,
        Op::FCNTL => libc::SYS_fcntl,
        Op::PIPE2 => libc::SYS_pipe2,
        Op::MEMFD_CREATE => libc::SYS_memfd_create,
        Op::PIDFD_OPEN => libc::SYS_pidfd_open,
        Op::EPOLL_CREATE1 => libc::SYS_epoll_create1,
        Op::EVENTFD2 => libc::SYS_eventfd2,
        Op::TIMERFD_CREATE => libc::SYS_timerfd_create,
        Op::SIGNALFD4 => libc::SYS_signalfd4,
        Op::INOTIFY_INIT1 => libc::SYS_inotify_init1,
        Op::SOCKET => libc::SYS_socket,
        Op::SOCKETPAIR => libc::SYS_socketpair,
        Op::ACCEPT => libc::SYS_accept,
        Op::ACCEPT4 => libc::SYS_accept4,
        Op::BIND => libc::SYS_bind,
        Op::LISTEN => libc::SYS_listen,
        Op::CONNECT => libc::SYS_connect,
        Op::MMAP => libc::SYS_mmap,
        Op::IO_URING_SETUP => libc::SYS_io_uring_setup,
        Op::SHMAT => libc::SYS_shmat,
        Op::RT_SIGACTION => libc::SYS_rt_sigaction,
        Op::WAIT4 => libc::SYS_wait4,
        Op::WAITID => libc::SYS_waitid,
        Op::MKDIRAT => libc::SYS_mkdirat,
        Op::MKNODAT => libc::SYS_mknodat,
        Op::LINKAT => libc::SYS_linkat,
        Op::SYMLINKAT => libc::SYS_symlinkat,
        Op::CLOSE => libc::SYS_close,
        Op::CLOSE_RANGE => libc::SYS_close_range,
        Op::DUP3 => libc::SYS_dup3,
        Op::MUNMAP => libc::SYS_munmap,
        Op::MREMAP => libc::SYS_mremap,
        Op::SHMDT => libc::SYS_shmdt,
        Op::SHMCTL => libc::SYS_shmctl,
        Op::SEMCTL => libc::SYS_semctl,
        Op::MSGCTL => libc::SYS_msgctl,
        Op::SHMGET => libc::SYS_shmget,
        Op::SEMGET => libc::SYS_semget,
        Op::MSGGET => libc::SYS_msgget,
        Op::MQ_OPEN => libc::SYS_mq_open,
        Op::MQ_UNLINK => libc::SYS_mq_unlink,
        Op::UNLINKAT => libc::SYS_unlinkat,
        Op::RENAMEAT => libc::SYS_renameat,
        Op::RENAMEAT2 => libc::SYS_renameat2,
        Op::EXIT_GROUP => libc::SYS_exit_group,
        Op::PRCTL => libc::SYS_prctl,
        Op::INOTIFY_ADD_WATCH => libc::SYS_inotify_add_watch,
        Op::EPOLL_CTL => libc::SYS_epoll_ctl,
        Op::FSYNC => libc::SYS_fsync,
        Op::FDATASYNC => libc::SYS_fdatasync,
        Op::MSYNC => libc::SYS_msync,
        Op::MADVISE => libc::SYS_madvise,
        Op::BRK => libc::SYS_brk,
        Op::SETSOCKOPT => libc::SYS_setsockopt,
        Op::MLOCK => libc::SYS_mlock,
        Op::MLOCK2 => libc::SYS_mlock2,
        Op::MUNLOCK => libc::SYS_munlock,
        Op::MLOCKALL => libc::SYS_mlockall,
        Op::MUNLOCKALL => libc::SYS_munlockall,
        Op::TIMER_CREATE => libc::SYS_timer_create,
        Op::TIMER_DELETE => libc::SYS_timer_delete,
        Op::SETITIMER => libc::SYS_setitimer,
        Op::IO_SETUP => libc::SYS_io_setup,
        Op::IO_SUBMIT => libc::SYS_io_submit,
        Op::IO_DESTROY => libc::SYS_io_destroy,
        Op::IO_GETEVENTS => libc::SYS_io_getevents,
        Op::IO_URING_REGISTER => libc::SYS_io_uring_register,
        Op::IO_URING_ENTER => libc::SYS_io_uring_enter,
        Op::SETRLIMIT => libc::SYS_setrlimit,
        Op::PRLIMIT64 => libc::SYS_prlimit64,
        Op::FLOCK => libc::SYS_flock,
        Op::MOUNT => libc::SYS_mount,
        Op::MOVE_MOUNT => libc::SYS_move_mount,
        Op::UNSHARE => libc::SYS_unshare,
        Op::UMOUNT2 => libc::SYS_umount2,
        Op::OPEN_BY_HANDLE_AT => libc::SYS_open_by_handle_at,
        Op::MEMFD_SECRET => libc::SYS_memfd_secret,
        Op::USERFAULTFD => libc::SYS_userfaultfd,
        Op::PERF_EVENT_OPEN => libc::SYS_perf_event_open,
        Op::FANOTIFY_INIT => libc::SYS_fanotify_init,
        Op::PIDFD_GETFD => libc::SYS_pidfd_getfd,
        Op::OPEN_TREE => libc::SYS_open_tree,
        Op::OPEN_TREE_ATTR => SYS_OPEN_TREE_ATTR,
        Op::FSOPEN => libc::SYS_fsopen,
        Op::FSPICK => libc::SYS_fspick,
        Op::FSMOUNT => libc::SYS_fsmount,
        Op::IOCTL => libc::SYS_ioctl,
        Op::RECVMSG => libc::SYS_recvmsg,
        Op::RECVMMSG => libc::SYS_recvmmsg,
        Op::BPF => libc::SYS_bpf,
        Op::GETSOCKOPT => libc::SYS_getsockopt,
        Op::SECCOMP => libc::SYS_seccomp,
        Op::READ => libc::SYS_read,
        Op::READV => libc::SYS_readv,
        Op::CLONE => libc::SYS_clone,
        Op::CLONE3 => libc::SYS_clone3,
        Op::LANDLOCK_CREATE_RULESET => libc::SYS_landlock_create_ruleset,
        other => return legacy(other),
    };
    Some(portable)
}

#[cfg(target_arch = "x86_64")]
fn legacy(op: Op) -> Option<i64> {
    Some(match op {
        Op::OPEN => libc::SYS_open,
        Op::CREAT => libc::SYS_creat,
        Op::PIPE => libc::SYS_pipe,
        Op::EPOLL_CREATE => libc::SYS_epoll_create,
        Op::EVENTFD => libc::SYS_eventfd,
        Op::SIGNALFD => libc::SYS_signalfd,
        Op::INOTIFY_INIT => libc::SYS_inotify_init,
        Op::MKDIR => libc::SYS_mkdir,
        Op::MKNOD => libc::SYS_mknod,
        Op::LINK => libc::SYS_link,
        Op::SYMLINK => libc::SYS_symlink,
        Op::DUP2 => libc::SYS_dup2,
        Op::UNLINK => libc::SYS_unlink,
        Op::RENAME => libc::SYS_rename,
        Op::RMDIR => libc::SYS_rmdir,
        Op::ALARM => libc::SYS_alarm,
        _ => return None,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn legacy(_op: Op) -> Option<i64> {
    None
}

/// What makes and releases things among the 32-bit system calls (arch/x86/entry/syscalls/
/// syscall_32.tbl): open, close, creat, unlink, rmdir, dup2, munmap, socketcall, ipc, mmap2,
/// fcntl64, openat, mkdirat, unlinkat, timerfd_create, eventfd2, dup3, pipe2, inotify_init1,
/// memfd_create, socket, accept4. Numbers that mean nothing to us in a 64-bit call are looked at
/// for whether it is one.
#[cfg(target_arch = "x86_64")]
const ALIASES: &[usize] = &[
    5, 6, 8, 10, 40, 63, 91, 102, 117, 192, 221, 295, 296, 301, 322, 328, 330, 331, 332, 356, 359,
    364,
];

/// The same of arm64's (arch/arm/tools/syscall.tbl): open, close, creat, link, unlink, execve,
/// rename, mkdir, rmdir, pipe, dup2, munmap, mmap2, fcntl64, shmget, openat, mkdirat, unlinkat,
/// timerfd_create, eventfd2, epoll_create1, dup3, pipe2, inotify_init1, accept4, memfd_create,
/// execveat. There a process is one or the other from its exec on, which returns with the registers
/// of the new program: so the numbers of execve and execveat of 64 bits are among them, of which
/// the first is that of fcntl64.
#[cfg(target_arch = "aarch64")]
const ALIASES: &[usize] = &[
    5, 6, 8, 9, 10, 11, 38, 39, 40, 42, 63, 91, 192, 221, 281, 307, 322, 323, 328, 350, 356, 357,
    358, 359, 360, 366, 385, 387,
];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALIASES: &[usize] = &[];

/// The dispatch table of the programs: syscall number to operation.
pub fn table() -> [u8; SYSCALL_TABLE_LEN] {
    let mut table = [0; SYSCALL_TABLE_LEN];
    for alias in ALIASES {
        table[*alias] = Op::ALIAS.0;
    }
    for (op, _) in Op::ALL {
        let entry = number(*op)
            .and_then(|number| usize::try_from(number).ok())
            .and_then(|number| table.get_mut(number));
        if let Some(entry) = entry {
            *entry = op.0;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_one_number_and_no_number_two_operations() {
        let table = table();
        let filled = table
            .iter()
            .filter(|op| **op != 0 && **op != Op::ALIAS.0)
            .count();
        let known = Op::ALL
            .iter()
            .filter(|(op, _)| number(*op).is_some())
            .count();
        assert_eq!(filled, known);
        let absent = Op::ALL.iter().filter(|(op, _)| number(*op).is_none());
        let absent: Vec<Op> = absent.map(|(op, _)| *op).collect();
        let without: &[Op] = if cfg!(target_arch = "x86_64") {
            &[]
        } else {
            OF_X86
        };
        assert_eq!(absent, without);
    }

    /// What younger architectures have in other calls only: `__ARCH_WANT_SYSCALL_NO_AT`,
    /// `__ARCH_WANT_SYSCALL_NO_FLAGS` and `__ARCH_WANT_SYSCALL_DEPRECATED` of
    /// include/uapi/asm-generic/unistd.h, Linux 4.11, of which arm64 defines none.
    const OF_X86: &[Op] = &[
        Op::OPEN,
        Op::CREAT,
        Op::PIPE,
        Op::EPOLL_CREATE,
        Op::EVENTFD,
        Op::SIGNALFD,
        Op::INOTIFY_INIT,
        Op::MKDIR,
        Op::MKNOD,
        Op::LINK,
        Op::SYMLINK,
        Op::ALARM,
        Op::DUP2,
        Op::UNLINK,
        Op::RENAME,
        Op::RMDIR,
    ];

    #[test]
    fn what_is_of_this_architecture_only_is_what_others_lack() {
        for (op, name) in Op::ALL {
            let is_legacy = legacy(*op).is_some();
            let expected = cfg!(target_arch = "x86_64") && OF_X86.contains(op);
            assert_eq!(is_legacy, expected, "{name}");
        }
    }
}
