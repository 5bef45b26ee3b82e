//! Records: one header, then a payload that the kind names, then text.
//!
//! A record in the ring may be longer than [`Header::len`]: the programs reserve by size class
//! and what lies behind `len` is not written.

pub mod call;
pub mod exit;
pub mod file;
pub mod ipc;
pub mod mapping;
pub mod name;
pub mod ring;
pub mod scope;
pub mod signal;
pub mod socket;
pub mod stack;
pub mod task;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A family: what coverage, loss and `--require` speak of. The high byte of a kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
#[repr(u8)]
pub enum Family {
    /// fds and open file descriptions.
    File = 1,
    /// Sockets.
    Socket = 2,
    /// Address space mappings.
    Mapping = 3,
    /// io_uring and other rings.
    Ring = 4,
    /// Signals.
    Signal = 5,
    /// SysV and POSIX ipc.
    Ipc = 6,
    /// Names in file systems.
    Name = 7,
    /// Birth, exec and reaping of tasks.
    Task = 8,
    /// Ends of tasks.
    Exit = 9,
}

impl Family {
    /// Every family, in the order of their numbers.
    pub const ALL: [Family; 9] = [
        Family::File,
        Family::Socket,
        Family::Mapping,
        Family::Ring,
        Family::Signal,
        Family::Ipc,
        Family::Name,
        Family::Task,
        Family::Exit,
    ];

    /// The name used on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Family::File => "file",
            Family::Socket => "socket",
            Family::Mapping => "mapping",
            Family::Ring => "ring",
            Family::Signal => "signal",
            Family::Ipc => "ipc",
            Family::Name => "name",
            Family::Task => "task",
            Family::Exit => "exit",
        }
    }

    /// The family with this number.
    pub const fn from_number(number: u8) -> Option<Family> {
        match number {
            1 => Some(Family::File),
            2 => Some(Family::Socket),
            3 => Some(Family::Mapping),
            4 => Some(Family::Ring),
            5 => Some(Family::Signal),
            6 => Some(Family::Ipc),
            7 => Some(Family::Name),
            8 => Some(Family::Task),
            9 => Some(Family::Exit),
            _ => None,
        }
    }
}

/// Number of slots in arrays indexed by a family's number.
pub const FAMILY_SLOTS: usize = 16;

/// Kinds of record. The high byte is the family.
pub mod kind {
    /// An fd came into a table ([`super::file::FdAcquire`]).
    pub const FD_ACQUIRE: u16 = 0x0101;
    /// An fd was to leave a table ([`super::file::FdRelease`]).
    pub const FD_RELEASE: u16 = 0x0102;
    /// close_range ([`super::file::FdRange`]).
    pub const FD_RANGE: u16 = 0x0103;
    /// Part of a table as the kernel has it ([`super::file::FdWalk`]).
    pub const FD_WALK: u16 = 0x0104;
    /// The task has another fd table from here on ([`super::file::FdTable`]).
    pub const FD_TABLE: u16 = 0x0105;
    /// An fd that was in the table at attach; the payload is [`super::file::FdAcquire`] with
    /// operation 0.
    pub const FD_SEED: u16 = 0x0106;
    /// flock, fcntl with F_SETLK and its kin ([`super::file::FdLock`]).
    pub const FD_LOCK: u16 = 0x0118;
    /// A number has been taken out of a table ([`super::file::FdGone`]).
    pub const FD_GONE: u16 = 0x0107;
    /// A socket fd came into a table ([`super::socket::SocketAcquire`]).
    pub const SOCKET_ACQUIRE: u16 = 0x0201;
    /// bind, listen, connect ([`super::socket::SocketName`]).
    pub const SOCKET_NAME: u16 = 0x0202;
    /// A socket fd that was in the table at attach; the payload is
    /// [`super::socket::SocketAcquire`] with operation 0.
    pub const SOCKET_SEED: u16 = 0x0203;
    /// mmap ([`super::mapping::Map`]).
    pub const MAP: u16 = 0x0301;
    /// munmap ([`super::mapping::Unmap`]).
    pub const UNMAP: u16 = 0x0302;
    /// mremap ([`super::mapping::Remap`]).
    pub const REMAP: u16 = 0x0303;
    /// A range that /proc lists ([`super::mapping::MapSeed`]).
    pub const MAP_SEED: u16 = 0x0304;
    /// io_uring_setup ([`super::ring::RingSetup`]).
    pub const RING_SETUP: u16 = 0x0401;
    /// What a ring holds by itself ([`super::ring::RingState`]).
    pub const RING_STATE: u16 = 0x0402;
    /// How far an aio context is ([`super::ring::AioState`]).
    pub const AIO_STATE: u16 = 0x0403;
    /// A ring's end in the kernel ([`super::ring::RingExit`]).
    pub const RING_EXIT: u16 = 0x0410;
    /// A signal was sent ([`super::signal::SignalGenerate`]).
    pub const SIGNAL_GENERATE: u16 = 0x0501;
    /// A signal was taken ([`super::signal::SignalDeliver`]).
    pub const SIGNAL_DELIVER: u16 = 0x0502;
    /// A handler was set ([`super::signal::SignalAction`]).
    pub const SIGNAL_ACTION: u16 = 0x0503;
    /// shmget, semget, msgget ([`super::ipc::IpcGet`]).
    pub const IPC_GET: u16 = 0x0601;
    /// IPC_RMID ([`super::ipc::IpcRemove`]).
    pub const IPC_REMOVE: u16 = 0x0602;
    /// shmat ([`super::ipc::ShmAttach`]).
    pub const SHM_ATTACH: u16 = 0x0603;
    /// shmdt ([`super::ipc::ShmDetach`]).
    pub const SHM_DETACH: u16 = 0x0604;
    /// mq_open ([`super::ipc::MqOpen`]); an fd acquisition too.
    pub const MQ_OPEN: u16 = 0x0605;
    /// mq_unlink ([`super::ipc::MqUnlink`]).
    pub const MQ_UNLINK: u16 = 0x0606;
    /// A directory entry changed ([`super::name::Name`]).
    pub const NAME: u16 = 0x0701;
    /// A task was made ([`super::task::TaskNew`]).
    pub const TASK_NEW: u16 = 0x0801;
    /// execve succeeded ([`super::task::Exec`]).
    pub const EXEC: u16 = 0x0802;
    /// A child was reaped by wait ([`super::task::Reap`]).
    pub const REAP: u16 = 0x0803;
    /// The kernel's task_struct is gone ([`super::task::Free`]).
    pub const FREE: u16 = 0x0804;
    /// Something leaktrace cannot follow was seen ([`super::task::Taint`]).
    pub const TAINT: u16 = 0x0805;
    /// The held child announced itself ([`super::task::Seed`]).
    pub const ROOT: u16 = 0x0806;
    /// A task that existed at attach ([`super::task::Seed`]).
    pub const SEED: u16 = 0x0807;
    /// Namespaces were made ([`super::task::Namespaces`]).
    pub const NAMESPACES: u16 = 0x0811;
    /// A process was read again after a loss ([`super::task::Reread`]).
    pub const REREAD: u16 = 0x080a;
    /// A task says in its header that records of it were lost; no payload.
    pub const MARKED: u16 = 0x080b;
    /// Part of an fd table's walk that was asked for after a loss ([`super::file::FdWalk`]); no
    /// doing of the process, so it is not in the family of those.
    pub const FD_REWALK: u16 = 0x080e;
    /// The process marked a scope ([`super::scope::Scope`]).
    pub const SCOPE: u16 = 0x0808;
    /// The stack of a call ([`super::stack::Stack`]).
    pub const STACK: u16 = 0x080c;
    /// Code of a file was mapped ([`super::stack::Image`]).
    pub const IMAGE: u16 = 0x080d;
    /// A task that existed at attach and is a target, or a program that was started in the
    /// target cgroup ([`super::task::Seed`]).
    pub const TARGET: u16 = 0x0809;
    /// exit_group was entered ([`super::exit::ExitGroup`]).
    pub const EXIT_GROUP: u16 = 0x0901;
    /// A thread that is not its process's last exits ([`super::exit::ExitThread`]).
    pub const EXIT_THREAD: u16 = 0x0902;
    /// The last thread of a process exits ([`super::exit::ExitProcess`]).
    pub const EXIT_PROCESS: u16 = 0x0903;
    /// An address space has been torn down ([`super::exit::ExitMm`]).
    pub const EXIT_MM: u16 = 0x0904;
    /// The parent has been told ([`super::exit::ExitNotify`]).
    pub const EXIT_NOTIFY: u16 = 0x0905;
    /// Signals were pending or blocked at the end ([`super::call::ExitPending`]).
    pub const EXIT_PENDING: u16 = 0x0906;
    /// When the kernel's functions of exit were entered and left ([`super::exit::ExitTimes`]).
    pub const EXIT_TIMES: u16 = 0x0907;
    /// Low byte, in every family: a call told as it is ([`super::call::Call`]).
    pub const CALL: u16 = 0x7f;
}

/// What every record begins with. All numbers are host-endian.
///
/// pid, tid and start are those of the task that did it; for [`kind::SIGNAL_GENERATE`] those of
/// the signal's target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// Bytes of the record that are written, header included.
    pub len: u16,
    /// [`kind`].
    pub kind: u16,
    /// CPU that wrote it.
    pub cpu: u16,
    /// [`header_flag`].
    pub flags: u16,
    /// Records of all families that were lost up to here, modulo 2^32. A record whose value is
    /// higher than its predecessor's in the ring is the first after a gap.
    pub dropped: u32,
    /// Process id (the kernel's tgid) in the initial pid namespace.
    pub pid: u32,
    /// Thread id (the kernel's pid) in the initial pid namespace.
    pub tid: u32,
    /// Process id as the process itself sees it.
    pub ns_pid: u32,
    /// Start of the thread group leader, ns of CLOCK_BOOTTIME. With `pid`, the process key.
    pub start_ns: u64,
    /// When, ns of CLOCK_BOOTTIME, taken after the ring gave room.
    pub time_ns: u64,
    /// The task's fd table: a number of our own that is never used again in a run.
    pub table: u32,
    /// `files_struct.next_fd` at that moment: every lower number is in use; 0 if not read.
    pub next_fd: u32,
    /// Position in the sequence of that table's records; 0 if the record does not change it.
    pub seq: u64,
}

const _: () = assert!(size_of::<Header>() == 56);

/// Bits of [`Header::flags`].
pub mod header_flag {
    /// The task is an io_uring worker or SQPOLL thread.
    pub const IO_WORKER: u16 = 1;
    /// The stack of the call that this record tells of was told before, by the task's last
    /// [`super::kind::STACK`].
    pub const STACK: u16 = 2;
    /// Records of this task were lost since its last one that came: bit `LOST_SHIFT + family`
    /// for each family ([`super::Family`]). For a file or socket that may have been given a name,
    /// the bit of [`super::Family::Name`] is set too.
    pub const LOST_SHIFT: u16 = 3;
    /// All those bits.
    pub const LOST: u16 = 0xfff0;
}

/// A piece of text in a record's text areas.
///
/// Area `i` of a payload with N references begins `i * area` bytes behind the payload, where
/// `area` is the payload's field of that name; `len` bytes of it are used.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct TextRef {
    /// Used bytes.
    pub len: u16,
    /// [`text_kind`].
    pub kind: u8,
    /// [`text_flag`].
    pub flags: u8,
}

/// How text is to be read.
pub mod text_kind {
    /// None.
    pub const NONE: u8 = 0;
    /// The string the program passed, as bytes, without its NUL.
    pub const USER: u8 = 1;
    /// Names from the leaf to the root of the mount tree, each followed by one NUL.
    /// The path is `/` + the names in reverse order joined by `/`; no names is `/`.
    pub const WALK: u8 = 2;
    /// Bytes as they are (argv: each argument followed by one NUL).
    pub const RAW: u8 = 3;
}

/// Bits of [`TextRef::flags`].
pub mod text_flag {
    /// There was more than the area holds.
    pub const TRUNCATED: u8 = 1;
    /// The memory could not be read.
    pub const FAULT: u8 = 2;
}

/// Identity of a file as the kernel has it; never stat's numbers.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct FileIdentity {
    /// Address of the `struct file`: the open file description. 0: not read.
    pub file: u64,
    /// `inode.i_ino`.
    pub ino: u64,
    /// `super_block.s_dev` (kernel encoding: major << 20 | minor).
    pub dev: u32,
    /// `inode.i_generation`.
    pub generation: u32,
    /// `inode.i_mode`.
    pub mode: u16,
    /// References to the description, at most 65535; 0: not read.
    pub count: u16,
    /// `super_block.s_magic`.
    pub magic: u32,
    /// Anonymous inodes: the first bytes of the dentry's name, NUL-padded. Sockets: a
    /// [`SocketType`]. Otherwise zero.
    pub detail: [u8; 16],
}

const _: () = assert!(size_of::<FileIdentity>() == 48);

/// What [`FileIdentity::detail`] holds for a socket.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, Eq, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct SocketType {
    /// AF_*.
    pub family: u16,
    /// SOCK_*.
    pub type_: u16,
    /// IPPROTO_*.
    pub protocol: u16,
    /// `skc_state` (TCP_* of include/net/tcp_states.h).
    pub state: u16,
    /// Zero.
    pub reserved: [u8; 8],
}

const _: () = assert!(size_of::<SocketType>() == 16);
