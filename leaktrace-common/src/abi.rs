//! What userspace tells the programs before they load, and how the two talk afterwards.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::record::FileIdentity;

/// First argument of the `prctl(2)` calls by which leaktrace's own tasks speak to the
/// programs; an int, so the programs look at 32 bits. No option of the kernel has this value, so the call itself always fails with
/// EINVAL and changes nothing when no program listens.
pub const PRCTL_MAGIC: u64 = 0x6c74_7263;

/// `prctl(PRCTL_MAGIC, PRCTL_HOLD, nonce)`: the calling task is the held child; it becomes
/// the root of the watched tree. The nonce must equal [`Config::nonce`].
pub const PRCTL_HOLD: u64 = 1;

/// `prctl(PRCTL_MAGIC, PRCTL_IDENTIFY, nonce, question)`: write the kernel's identity of an fd of
/// the caller's, which is the question's lower half, into the map `IDENTITY` at [`answer_place`].
pub const PRCTL_IDENTIFY: u64 = 2;

/// An answer to [`PRCTL_IDENTIFY`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Answer {
    /// What was asked.
    pub question: u64,
    /// Of that fd.
    pub identity: FileIdentity,
}

/// Answers that there is room for: one for each that may ask at a time.
pub const ANSWERS: u32 = 2;

/// Where a question is answered: its highest bit tells who asks.
#[inline(always)]
pub const fn answer_place(question: u64) -> u32 {
    (question >> 63) as u32
}

/// A set of numbers but zero that userspace writes by memory while the programs look into it: as an
/// array of buckets, each with room for this many. A system call for it would keep programs at
/// functions from running (`bpf_disable_instrumentation` in kernel/bpf/syscall.c).
pub const BUCKET: usize = 16;

/// The bucket of a key among so many, which are a power of two.
#[inline(always)]
pub const fn bucket(key: u64, buckets: u32) -> u32 {
    // By the golden ratio, as hash_64 in include/linux/hash.h.
    (key.wrapping_mul(0x61c8_8646_80b5_83eb) >> 40) as u32 & (buckets - 1)
}

/// Buckets of the map `WANTED`.
pub const WANTED_BUCKETS: u32 = 2048;

/// Buckets of the map `AGAIN`.
pub const AGAIN_BUCKETS: u32 = 512;

/// Buckets of the map `TARGETS`, in that mode.
pub const TARGET_BUCKETS: u32 = 8192;

/// `prctl(PRCTL_MAGIC, PRCTL_STAY, nonce)`: the program that sees the call stays in it for
/// [`STAY_NS`]. If it can be preempted there, it is.
pub const PRCTL_STAY: u64 = 3;

/// How long [`PRCTL_STAY`] takes, ns.
pub const STAY_NS: u64 = 200_000;

/// Number of syscall numbers that the dispatch table covers.
pub const SYSCALL_TABLE_LEN: usize = 512;

/// An offset that this kernel's BTF does not have. The programs test for it and leave out
/// what needs it; offset 0 is a valid place and is never used as a marker.
pub const NO_OFFSET: u32 = u32::MAX;

/// Bytes of a value of the map `TASKS`, of which userspace reads who it is: the start of the
/// process, ns of CLOCK_BOOTTIME, and its number, both in native byte order, at these places.
pub const WATCHED_BYTES: usize = 120;
/// See [`WATCHED_BYTES`].
pub const WATCHED_START: usize = 0;
/// See [`WATCHED_BYTES`].
pub const WATCHED_PID: usize = 48;

/// Slots of the per-table sequence array. Table ids are taken modulo this.
pub const TABLE_SLOTS: u32 = 1 << 16;

macro_rules! ops {
    ($($(#[$meta:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// What a traced syscall does, whatever number it has on this architecture.
        ///
        /// Values of 0x80 and above begin at syscall entry (releases and everything else whose
        /// object is gone, or renamed, by the time the call returns, or that may wait for long) and
        /// are emitted at exit; the others are looked at on exit only.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
        pub struct Op(pub u8);
        impl Op {
            $($(#[$meta])* #[doc = concat!("`", $text, "`")] pub const $name: Op = Op($value);)*
            /// Every traced operation with the name of its syscall.
            pub const ALL: &'static [(Op, &'static str)] = &[$((Op($value), $text)),*];
            /// The syscall's name, or `"?"` for a value that no version has defined.
            pub fn name(self) -> &'static str {
                match self.0 { $($value => $text,)* _ => self.other_name() }
            }
        }
    };
}

macro_rules! other_ops {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl Op {
            $(#[doc = concat!("`", $text, "`: not a system call of the process itself.")]
            pub const $name: Op = Op($value);)*
            fn other_name(self) -> &'static str {
                match self.0 { $($value => $text,)* _ => "?" }
            }
        }
    };
}

other_ops! {
    SECCOMP_ADDFD = 0x40, "seccomp addfd";
    URING_OPENAT = 0x41, "io_uring openat";
    URING_OPENAT2 = 0x42, "io_uring openat2";
    URING_ACCEPT = 0x43, "io_uring accept";
    URING_SOCKET = 0x44, "io_uring socket";
    URING_PIPE = 0x45, "io_uring pipe";
    URING_INSTALL = 0x46, "io_uring fixed_fd_install";
    URING_CLOSE = 0x47, "io_uring close";
    ALIAS = 0x48, "32-bit system call";
    AIO_REQUEST = 0x49, "aio request";
}

impl Op {
    /// Not traced.
    pub const NONE: Op = Op(0);
    /// Whether the operation begins at syscall entry.
    #[inline(always)]
    pub const fn begins_at_entry(self) -> bool {
        self.0 & 0x80 != 0 || self.may_wait_for_a_peer()
    }
    /// accept, accept4, bind, listen, connect: numbered before it was of interest how long they
    /// take.
    #[inline(always)]
    const fn may_wait_for_a_peer(self) -> bool {
        self.0 >= Op::ACCEPT.0 && self.0 <= Op::CONNECT.0
    }
    /// Whether a call that succeeds has made something, whose stack may be of interest.
    #[inline(always)]
    pub const fn acquires(self) -> bool {
        matches!(
            self,
            Op::OPEN
                | Op::OPENAT
                | Op::OPENAT2
                | Op::CREAT
                | Op::DUP
                | Op::DUP2
                | Op::DUP3
                | Op::FCNTL
                | Op::PIPE
                | Op::PIPE2
                | Op::MEMFD_CREATE
                | Op::MEMFD_SECRET
                | Op::PIDFD_OPEN
                | Op::PIDFD_GETFD
                | Op::EPOLL_CREATE
                | Op::EPOLL_CREATE1
                | Op::EVENTFD
                | Op::EVENTFD2
                | Op::TIMERFD_CREATE
                | Op::SIGNALFD
                | Op::SIGNALFD4
                | Op::INOTIFY_INIT
                | Op::INOTIFY_INIT1
                | Op::SOCKET
                | Op::SOCKETPAIR
                | Op::ACCEPT
                | Op::ACCEPT4
                | Op::BIND
                | Op::MMAP
                | Op::IO_URING_SETUP
                | Op::IO_SETUP
                | Op::SHMAT
                | Op::SHMGET
                | Op::SEMGET
                | Op::MSGGET
                | Op::MQ_OPEN
                | Op::MKDIR
                | Op::MKDIRAT
                | Op::MKNOD
                | Op::MKNODAT
                | Op::LINK
                | Op::LINKAT
                | Op::SYMLINK
                | Op::SYMLINKAT
                | Op::RENAME
                | Op::RENAMEAT
                | Op::RENAMEAT2
                | Op::MOUNT
                | Op::TIMER_CREATE
                | Op::PERF_EVENT_OPEN
                | Op::FANOTIFY_INIT
                | Op::USERFAULTFD
                | Op::OPEN_BY_HANDLE_AT
                | Op::BPF
        )
    }
    /// Whether a call may wait for others for long, and is told of when it does.
    #[inline(always)]
    pub const fn may_wait(self) -> bool {
        self.0 >= Op::IO_SUBMIT.0 && self.0 <= Op::IO_GETEVENTS.0 || self.may_wait_for_a_peer()
    }
}

ops! {
    OPEN = 1, "open";
    OPENAT = 2, "openat";
    OPENAT2 = 3, "openat2";
    CREAT = 4, "creat";
    DUP = 5, "dup";
    FCNTL = 6, "fcntl";
    PIPE = 7, "pipe";
    PIPE2 = 8, "pipe2";
    MEMFD_CREATE = 9, "memfd_create";
    PIDFD_OPEN = 10, "pidfd_open";
    EPOLL_CREATE = 11, "epoll_create";
    EPOLL_CREATE1 = 12, "epoll_create1";
    EVENTFD = 13, "eventfd";
    EVENTFD2 = 14, "eventfd2";
    TIMERFD_CREATE = 15, "timerfd_create";
    SIGNALFD = 16, "signalfd";
    SIGNALFD4 = 17, "signalfd4";
    INOTIFY_INIT = 18, "inotify_init";
    INOTIFY_INIT1 = 19, "inotify_init1";
    SOCKET = 20, "socket";
    SOCKETPAIR = 21, "socketpair";
    ACCEPT = 22, "accept";
    ACCEPT4 = 23, "accept4";
    BIND = 24, "bind";
    LISTEN = 25, "listen";
    CONNECT = 26, "connect";
    MMAP = 27, "mmap";
    IO_URING_SETUP = 28, "io_uring_setup";
    SHMAT = 29, "shmat";
    RT_SIGACTION = 30, "rt_sigaction";
    WAIT4 = 31, "wait4";
    WAITID = 32, "waitid";
    MKDIR = 33, "mkdir";
    MKDIRAT = 34, "mkdirat";
    MKNOD = 35, "mknod";
    MKNODAT = 36, "mknodat";
    LINK = 37, "link";
    LINKAT = 38, "linkat";
    SYMLINK = 39, "symlink";
    SYMLINKAT = 40, "symlinkat";
    EPOLL_CTL = 0x60, "epoll_ctl";
    INOTIFY_ADD_WATCH = 0x61, "inotify_add_watch";
    FSYNC = 0x62, "fsync";
    FDATASYNC = 0x63, "fdatasync";
    MSYNC = 0x64, "msync";
    MLOCK = 0x65, "mlock";
    MLOCK2 = 0x66, "mlock2";
    MUNLOCK = 0x67, "munlock";
    MLOCKALL = 0x68, "mlockall";
    MUNLOCKALL = 0x69, "munlockall";
    TIMER_CREATE = 0x6a, "timer_create";
    TIMER_DELETE = 0x6b, "timer_delete";
    SETITIMER = 0x6c, "setitimer";
    ALARM = 0x6d, "alarm";
    IO_SETUP = 0x6e, "io_setup";
    IO_URING_REGISTER = 0x71, "io_uring_register";
    SETRLIMIT = 0x72, "setrlimit";
    PRLIMIT64 = 0x73, "prlimit64";
    MADVISE = 0x74, "madvise";
    BRK = 0x75, "brk";
    SETSOCKOPT = 0x76, "setsockopt";
    IO_SUBMIT = 0xcf, "io_submit";
    FLOCK = 0xd0, "flock";
    IO_URING_ENTER = 0xd1, "io_uring_enter";
    IO_GETEVENTS = 0xd2, "io_getevents";
    IO_DESTROY = 0xd3, "io_destroy";
    MOUNT = 0x50, "mount";
    MOVE_MOUNT = 0x51, "move_mount";
    UNSHARE = 0x52, "unshare";
    UMOUNT2 = 0xe0, "umount2";
    OPEN_BY_HANDLE_AT = 41, "open_by_handle_at";
    MEMFD_SECRET = 42, "memfd_secret";
    USERFAULTFD = 43, "userfaultfd";
    PERF_EVENT_OPEN = 44, "perf_event_open";
    FANOTIFY_INIT = 45, "fanotify_init";
    PIDFD_GETFD = 46, "pidfd_getfd";
    OPEN_TREE = 47, "open_tree";
    OPEN_TREE_ATTR = 48, "open_tree_attr";
    FSOPEN = 49, "fsopen";
    FSPICK = 50, "fspick";
    FSMOUNT = 51, "fsmount";
    CLOSE = 0x81, "close";
    CLOSE_RANGE = 0x82, "close_range";
    DUP2 = 0x83, "dup2";
    DUP3 = 0x84, "dup3";
    MUNMAP = 0x85, "munmap";
    MREMAP = 0x86, "mremap";
    SHMDT = 0x87, "shmdt";
    SHMCTL = 0x88, "shmctl";
    SEMCTL = 0x89, "semctl";
    MSGCTL = 0x8a, "msgctl";
    SHMGET = 0x8b, "shmget";
    SEMGET = 0x8c, "semget";
    MSGGET = 0x8d, "msgget";
    MQ_OPEN = 0x8e, "mq_open";
    MQ_UNLINK = 0x8f, "mq_unlink";
    UNLINK = 0x90, "unlink";
    UNLINKAT = 0x91, "unlinkat";
    RENAME = 0x92, "rename";
    RENAMEAT = 0x93, "renameat";
    RENAMEAT2 = 0x94, "renameat2";
    RMDIR = 0x95, "rmdir";
    EXIT_GROUP = 0x96, "exit_group";
    PRCTL = 0x97, "prctl";
    IOCTL = 0x98, "ioctl";
    RECVMSG = 0x99, "recvmsg";
    RECVMMSG = 0x9a, "recvmmsg";
    BPF = 0x9b, "bpf";
    GETSOCKOPT = 0x9c, "getsockopt";
    SECCOMP = 0x9e, "seccomp";
    READ = 0x9f, "read";
    READV = 0xa0, "readv";
    CLONE = 0xa1, "clone";
    CLONE3 = 0xa2, "clone3";
    LANDLOCK_CREATE_RULESET = 0xa3, "landlock_create_ruleset";
}

/// Whose events are emitted ([`Config::mode`]).
pub mod mode {
    /// Only the tree below the held child.
    pub const TREE: u32 = 0;
    /// Every process but leaktrace's own.
    pub const SYSTEM: u32 = 1;
    /// The tasks whose processes are in the map `TARGETS` when the iterators run, programs that
    /// are started in [`super::Config::target_cgroup`], and the trees below them.
    pub const TARGETS: u32 = 2;
}

/// What the programs are told before they load: a read-only global, so that the verifier sees
/// constants and prunes what is switched off.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Config {
    /// [`crate::ABI_VERSION`]; checked by userspace in the object before it loads it.
    pub abi: u32,
    /// [`mode`].
    pub mode: u32,
    /// Proves that a `prctl` call is from this run of leaktrace.
    pub nonce: u64,
    /// leaktrace's own process id as the kernel knows it (init pid namespace).
    pub self_pid: u32,
    /// Wake the reader when this many bytes wait in the ring.
    pub wake_bytes: u32,
    /// kernfs id of a cgroup of the v2 hierarchy; 0 for none.
    pub target_cgroup: u64,
    /// Its depth below the root of the hierarchy.
    pub target_level: u32,
    /// Whether stacks are told: 1 or 0.
    pub stacks: u32,
    /// Process id of the deputy that has loaded the programs for leaktrace; 0: there is none.
    pub deputy_pid: u32,
    /// Bits that the number of a CPU has, for numbers that are given out by each on its own.
    pub cpu_bits: u32,
}

/// Key of a process in the map `TARGETS`: its number as it sees itself, and its start as
/// /proc/PID/stat has it. Both are the same wherever leaktrace runs.
pub const fn target_key(ns_pid: u32, start_ns: u64) -> u64 {
    // USER_HZ is 100 on every architecture that BPF runs on.
    const TICK_NS: u64 = 10_000_000;
    (ns_pid as u64) << 40 | (start_ns / TICK_NS) & ((1 << 40) - 1)
}

macro_rules! offsets {
    ($($name:ident: $path:literal;)*) => {
        /// Byte offsets of kernel structure members, read from this kernel's BTF at start.
        /// `sizeof(struct)` is a size, `has(struct.member)` 1 or 0, `arguments(tracepoint)` how many it has.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub struct Offsets { $(#[doc = concat!("`", $path, "`")] pub $name: u32,)* }
        impl Offsets {
            /// Every member as (index in the structure, alternatives separated by `|`).
            pub const PATHS: &'static [&'static str] = &[$($path),*];
            /// No member known.
            pub const UNKNOWN: Offsets = Offsets { $($name: NO_OFFSET,)* };
        }
    };
}

offsets! {
    task_pid: "task_struct.pid";
    task_tgid: "task_struct.tgid";
    task_flags: "task_struct.flags";
    task_comm: "task_struct.comm";
    task_mm: "task_struct.mm";
    task_fs: "task_struct.fs";
    task_files: "task_struct.files";
    task_nsproxy: "task_struct.nsproxy";
    task_signal: "task_struct.signal";
    task_sighand: "task_struct.sighand";
    task_real_parent: "task_struct.real_parent";
    task_group_leader: "task_struct.group_leader";
    task_start_boottime: "task_struct.start_boottime|task_struct.real_start_time";
    task_thread_pid: "task_struct.thread_pid";
    task_exit_code: "task_struct.exit_code";
    task_exit_signal: "task_struct.exit_signal";
    task_state: "task_struct.__state|task_struct.state";
    task_exit_state: "task_struct.exit_state";
    task_pending: "task_struct.pending";
    task_blocked: "task_struct.blocked";
    task_cred: "task_struct.cred";
    task_cgroups: "task_struct.cgroups";
    task_ioac: "task_struct.ioac";
    task_thread_info: "task_struct.thread_info";
    thread_info_status: "thread_info.status";
    pid_level: "pid.level";
    pid_numbers: "pid.numbers";
    upid_nr: "upid.nr";
    signal_live: "signal_struct.live";
    signal_threads: "signal_struct.nr_threads";
    signal_flags: "signal_struct.flags";
    signal_group_exit_code: "signal_struct.group_exit_code";
    signal_rlim: "signal_struct.rlim";
    signal_shared_pending: "signal_struct.shared_pending";
    sigpending_signal: "sigpending.signal";
    signal_ioac: "signal_struct.ioac";
    sighand_action: "sighand_struct.action";
    sigaction_handler: "sigaction.sa_handler";
    sigaction_flags: "sigaction.sa_flags";
    ioac_read_bytes: "task_io_accounting.read_bytes";
    ioac_write_bytes: "task_io_accounting.write_bytes";
    siginfo_code: "kernel_siginfo.si_code";
    cred_uid: "cred.uid";
    css_set_dfl_cgrp: "css_set.dfl_cgrp";
    cgroup_kn: "cgroup.kn";
    kernfs_node_id: "kernfs_node.id";
    nsproxy_mnt: "nsproxy.mnt_ns";
    nsproxy_ipc: "nsproxy.ipc_ns";
    nsproxy_net: "nsproxy.net_ns";
    nsproxy_uts: "nsproxy.uts_ns";
    nsproxy_pid: "nsproxy.pid_ns_for_children";
    nsproxy_time: "nsproxy.time_ns_for_children";
    nsproxy_cgroup: "nsproxy.cgroup_ns";
    net_inum: "net.ns.inum";
    uts_ns_inum: "uts_namespace.ns.inum";
    pid_ns_inum: "pid_namespace.ns.inum";
    time_ns_inum: "time_namespace.ns.inum";
    cgroup_ns_inum: "cgroup_namespace.ns.inum";
    user_ns_inum: "user_namespace.ns.inum";
    cred_user_ns: "cred.user_ns";
    vma_file: "vm_area_struct.vm_file";
    vma_start: "vm_area_struct.vm_start|vm_area_struct.__vm_start";
    ring_exit_work: "io_ring_ctx.exit_work";
    mnt_ns_inum: "mnt_namespace.ns.inum";
    ipc_ns_inum: "ipc_namespace.ns.inum";
    ipc_ns_ids: "ipc_namespace.ids";
    ipc_ns_mq_count: "ipc_namespace.mq_queues_count";
    ipc_ids_in_use: "ipc_ids.in_use";
    fs_root: "fs_struct.root";
    fs_pwd: "fs_struct.pwd";
    path_mnt: "path.mnt";
    path_dentry: "path.dentry";
    files_count: "files_struct.count";
    files_fdt: "files_struct.fdt";
    files_next_fd: "files_struct.next_fd";
    fdtable_max_fds: "fdtable.max_fds";
    fdtable_fd: "fdtable.fd";
    fdtable_open_fds: "fdtable.open_fds";
    fdtable_close_on_exec: "fdtable.close_on_exec";
    file_mode: "file.f_mode";
    file_flags: "file.f_flags";
    file_inode: "file.f_inode";
    file_op: "file.f_op";
    file_path: "file.f_path";
    file_private_data: "file.private_data";
    file_cred: "file.f_cred";
    file_count: "file.f_ref|file.f_count";
    file_count_base: "has(file.f_ref)";
    inode_mode: "inode.i_mode";
    inode_sb: "inode.i_sb";
    inode_ino: "inode.i_ino";
    inode_generation: "inode.i_generation";
    sb_dev: "super_block.s_dev";
    sb_magic: "super_block.s_magic";
    dentry_parent: "dentry.d_parent";
    dentry_name: "dentry.d_name";
    dentry_inode: "dentry.d_inode";
    qstr_len: "qstr.len";
    qstr_name: "qstr.name";
    mount_mnt: "mount.mnt";
    mount_parent: "mount.mnt_parent";
    mount_mountpoint: "mount.mnt_mountpoint";
    vfsmount_root: "vfsmount.mnt_root";
    mm_map_count: "mm_struct.map_count";
    mm_total_vm: "mm_struct.total_vm";
    mm_aio: "mm_struct.ioctx_table";
    aio_table_len: "kioctx_table.nr";
    aio_table: "kioctx_table.table";
    aio_id: "kioctx.user_id";
    aio_entries: "kioctx.nr_events";
    aio_tail: "kioctx.tail";
    mm_stack_vm: "mm_struct.stack_vm";
    mm_brk: "mm_struct.brk";
    mm_start_brk: "mm_struct.start_brk";
    mm_arg_start: "mm_struct.arg_start";
    mm_arg_end: "mm_struct.arg_end";
    mm_start_stack: "mm_struct.start_stack";
    mm_start_code: "mm_struct.start_code";
    mm_end_code: "mm_struct.end_code";
    bprm_file: "linux_binprm.file";
    bprm_filename: "linux_binprm.filename";
    socket_type: "socket.type";
    socket_sk: "socket.sk";
    sock_protocol: "sock.sk_protocol";
    sock_family: "sock_common.skc_family";
    sock_state: "sock_common.skc_state";
    sock_num: "sock_common.skc_num";
    sock_dport: "sock_common.skc_dport";
    sock_rcv_saddr: "sock_common.skc_rcv_saddr";
    sock_daddr: "sock_common.skc_daddr";
    sock_v6_rcv_saddr: "sock_common.skc_v6_rcv_saddr";
    sock_v6_daddr: "sock_common.skc_v6_daddr";
    unix_sock_path: "unix_sock.path";
    ring_sq_head: "io_ring_ctx.cached_sq_head";
    ring_cq_tail: "io_ring_ctx.cached_cq_tail";
    uring_complete_arguments: "arguments(io_uring_complete)";
    uring_submit_arguments: "arguments(io_uring_submit_req)|arguments(io_uring_submit_sqe)";
    ring_files: "io_ring_ctx.file_table.bitmap";
    ring_files_count: "io_ring_ctx.file_table.data.nr|io_ring_ctx.nr_user_files";
    ring_buffers_count: "io_ring_ctx.buf_table.nr|io_ring_ctx.nr_user_bufs";
    kiocb_opcode: "io_kiocb.opcode";
    kiocb_flags: "io_kiocb.flags";
    kiocb_ctx: "io_kiocb.ctx";
    kiocb_user_data: "io_kiocb.cqe.user_data|io_kiocb.user_data";
    uring_open_slot: "io_open.file_slot";
    uring_open_flags: "io_open.how.flags";
    uring_accept_slot: "io_accept.file_slot";
    uring_socket_slot: "io_socket.file_slot";
    uring_pipe_slot: "io_pipe.file_slot";
    uring_pipe_fds: "io_pipe.fds";
    uring_close_slot: "io_close.file_slot";
    uring_close_fd: "io_close.fd";
    seccomp_filter_notif: "seccomp_filter.notif";
    notification_list: "notification.notifications";
    knotif_list: "seccomp_knotif.list";
    knotif_id: "seccomp_knotif.id";
    knotif_task: "seccomp_knotif.task";
    ipc_ids_size: "sizeof(ipc_ids)";
    // arm64 keeps the first argument beside the registers, of which the result takes the first.
    pt_regs_orig_ax: "pt_regs.orig_ax|pt_regs.syscallno";
    pt_regs_di: "pt_regs.di|pt_regs.orig_x0";
    pt_regs_first: "pt_regs.di|pt_regs.regs";
    pt_regs_si: "pt_regs.si|pt_regs.regs+8";
    pt_regs_dx: "pt_regs.dx|pt_regs.regs+16";
    pt_regs_cx: "pt_regs.cx|pt_regs.regs+24";
    pt_regs_r10: "pt_regs.r10|pt_regs.regs+24";
    pt_regs_r8: "pt_regs.r8|pt_regs.regs+32";
    pt_regs_r9: "pt_regs.r9|pt_regs.regs+40";
    pt_regs_ip: "pt_regs.ip|pt_regs.pc";
    pt_regs_sp: "pt_regs.sp";
    pt_regs_fp: "pt_regs.bp|pt_regs.regs+232";
    // x86 has none of the two.
    pt_regs_lr: "pt_regs.regs+240";
    pt_regs_pstate: "pt_regs.pstate";
}

/// Counters, one set per CPU and family, by the CPU's number times `FAMILY_SLOTS`: `produced = received + lost`, exactly, once the
/// programs are detached and the ring is drained.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FamilyCount {
    /// Records that a program set out to write.
    pub produced: u64,
    /// Records for which no ring had room.
    pub lost: u64,
    /// Those of the lost ones without which it is not known what there is: births, ends, names,
    /// objects that outlive their maker.
    pub vital: u64,
}

/// A process that has something: a line of what the holder iterators write.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Holder {
    /// Address of the `struct file`.
    pub file: u64,
    /// `inode.i_ino`.
    pub ino: u64,
    /// That of the name of a bound unix socket; 0: none.
    pub name_ino: u64,
    /// The number of the fd, or the address of the mapping.
    pub place: u64,
    /// Start of the process, ns of CLOCK_BOOTTIME.
    pub start_ns: u64,
    /// `super_block.s_dev`.
    pub dev: u32,
    /// That of the name of a bound unix socket.
    pub name_dev: u32,
    /// `super_block.s_magic`.
    pub magic: u32,
    /// `inode.i_mode`.
    pub mode: u32,
    /// `skc_state` of a socket (TCP_* of include/net/tcp_states.h).
    pub state: u32,
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// [`holder_kind`].
    pub kind: u32,
    /// As in [`crate::record::file::FdRelease`].
    pub cred: u32,
    /// comm of the process.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Holder>() == 88);

/// By what a [`Holder`] has it.
pub mod holder_kind {
    /// An fd.
    pub const FD: u32 = 1;
    /// A mapping.
    pub const MAPPING: u32 = 2;
}

/// Programs at functions whose calls are noted; indices into the `CALLED` array, whose words are not
/// zero once the kernel has come there.
pub mod called {
    /// A task is made.
    pub const NEWTASK: u32 = 0;
    /// A task ends.
    pub const EXIT: u32 = 1;
    /// A system call begins.
    pub const SYS_ENTER: u32 = 2;
    /// A system call returns.
    pub const SYS_EXIT: u32 = 3;
    /// A request of io_uring is carried out.
    pub const SUBMIT: u32 = 4;
    /// It is completed.
    pub const COMPLETE: u32 = 5;
    /// A ring is gone.
    pub const RING_END: u32 = 6;
    /// How many there are.
    pub const LEN: u32 = 7;
}

/// Other things that can go wrong in the kernel; indices into the `FAULTS` array.
pub mod fault {
    /// A task of the tree could not be inserted into the membership map.
    pub const JOIN_FAILED: u32 = 0;
    /// A table walk was cut short.
    pub const WALK_CUT: u32 = 1;
    /// A task left the membership map unfound.
    pub const LEAVE_FAILED: u32 = 2;
    /// There was no room to follow the end of a ring.
    pub const RING_NOT_FOLLOWED: u32 = 7;
    /// A record was lost of a task that is not watched: no process is marked for it.
    pub const UNATTRIBUTED: u32 = 3;
    /// A stack for which there was no room: what its call did is told without it.
    pub const STACK_LEFT_OUT: u32 = 4;
    /// Number of counters.
    pub const LEN: u32 = 8;
}
