//! What the model knows, in the form in which audit reads it: plain values, no behaviour.
//!
//! The model builds these while records arrive; audit, hist and the report only read them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use leaktrace_common::{
    abi::Op,
    record::{Family, header_flag},
};

use super::conduct::Conduct;
use crate::id::{Fd, FileId, KtimeNs, Pid, ProcessKey, TableId, Tid};

/// Everything known at one moment of a run.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The held child, if CMD was started.
    pub root: Option<ProcessKey>,
    /// Every process of the tree (or of the system), live and ended, by key.
    pub processes: BTreeMap<ProcessKey, ProcessFacts>,
    /// Named things that processes made and that may outlive them: files, directories,
    /// sockets, fifos, SysV objects, message queues. Those known to be removed are dropped.
    pub created: Vec<Created>,
    /// Facts that the model gave up for want of room: its lists are bounded.
    pub evicted: u64,
    /// Scopes that processes marked, in the order of their beginnings.
    pub scopes: Vec<ScopeFacts>,
    /// What was still there when the outermost scope around a judged one ended.
    pub scope_held: Vec<ScopeHeld>,
    /// Descriptions that the run opened and whose last reference within the run has gone, while
    /// the kernel counted more.
    pub kept: Vec<Kept>,
    /// Namespaces that the run made.
    pub namespaces: Vec<MadeNamespace>,
    /// Rings that wait for their requests after the last reference has gone.
    pub rings: Vec<RingEnd>,
    /// Stacks of acquisitions, if they were asked for.
    pub stacks: Arc<super::stack::Stacks>,
    /// fd tables compared with the kernel's walk at exit, and how many differed.
    pub self_check: (u64, u64),
    /// Address spaces whose mapped pages were compared with the kernel's count at exit, and how
    /// many differed.
    pub space_check: (u64, u64),
    /// When records were lost, and of which families; empty as a rule.
    pub gaps: Vec<Gap>,
}

/// A part of a process's life that it marked: a test, as a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeFacts {
    /// As the process gave it.
    pub name: Bytes,
    /// Whose.
    pub process: ProcessKey,
    /// The thread that began it; `None`: it spans the whole program (from the environment).
    pub tid: Option<Tid>,
    /// What is judged of it.
    pub judged: ScopeJudged,
    /// Begin.
    pub begin: KtimeNs,
    /// End; `None` if it had none.
    pub end: Option<KtimeNs>,
}

/// What is judged of a scope besides residue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeJudged {
    /// Everything that is held past its end.
    #[default]
    All,
    /// What a language's runtime does not make for itself: files, directories, sockets that are
    /// not connected, queues.
    Plain,
    /// Nothing: what is acquired in it is meant to outlive it.
    Nothing,
}

/// A thing that was there at the end of the outermost scope around its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeHeld {
    /// Who holds it.
    pub process: ProcessKey,
    /// When the outermost scope ended.
    pub at: KtimeNs,
    /// What.
    pub resource: ResourceFacts,
}

/// Records were lost somewhere in this interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Time of the last record before.
    pub after: KtimeNs,
    /// Time of the first record after.
    pub before: KtimeNs,
    /// How many.
    pub lost: u64,
}

/// A set of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families(u16);

impl Families {
    /// None of them.
    pub const NONE: Families = Families(0);
    /// Any that there may be.
    pub const ANY: Families = Families(u16::MAX);
    /// What the walk of an fd table tells.
    pub const FDS: Families = Families::of(&[Family::File, Family::Socket, Family::Ring]);
    /// What a list of mappings tells.
    pub const MAPPINGS: Families = Families::of(&[Family::Mapping, Family::Ipc]);
    /// What is read again for a process that lives.
    pub const READABLE: Families =
        Families(Families::FDS.0 | Families::MAPPINGS.0 | Families::TASKS.0);
    /// What tells which tasks there are.
    pub const TASKS: Families = Families::of(&[Family::Task, Family::Exit]);

    /// These.
    pub const fn of(families: &[Family]) -> Families {
        let mut bits = 0;
        let mut rest = families;
        while let [first, more @ ..] = rest {
            bits |= 1 << *first as u16;
            rest = more;
        }
        Families(bits)
    }

    /// Those that a header says were lost.
    pub const fn marked(flags: u16) -> Families {
        Families((flags & header_flag::LOST) >> header_flag::LOST_SHIFT)
    }

    /// Both.
    pub const fn and(self, other: Families) -> Families {
        Families(self.0 | other.0)
    }

    /// This without the other.
    pub const fn without(self, other: Families) -> Families {
        Families(self.0 & !other.0)
    }

    /// What is in both.
    pub const fn both(self, other: Families) -> Families {
        Families(self.0 & other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names, with commas; `any` if they are all.
    pub fn names(self) -> String {
        if self == Families::ANY {
            return "any".to_owned();
        }
        let families = Family::ALL
            .iter()
            .filter(|it| self.0 >> **it as u16 & 1 != 0);
        families.map(|it| it.name()).collect::<Vec<_>>().join(", ")
    }
}

/// How far a process's tables can be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Every record arrived.
    #[default]
    Sure,
    /// Records may be missing.
    Tainted {
        /// Since when.
        since: KtimeNs,
        /// Of which families.
        families: Families,
        /// A clause for people ("12 records lost", "32-bit system calls").
        why: String,
    },
    /// Was tainted; its tables have been replaced by the kernel's since.
    Reread {
        /// When.
        at: KtimeNs,
    },
}

/// Whether the processes of a run may have given away what outlives them: see
/// [`ProcessFacts::may_keep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MayKeep {
    /// They never had such a thing.
    #[default]
    No,
    /// They had.
    Yes,
}

/// One process.
#[derive(Clone, Debug, Default)]
pub struct ProcessFacts {
    /// Who.
    pub key: ProcessKey,
    /// As it sees itself.
    pub ns_pid: Pid,
    /// Real parent at birth, or at exit if it changed.
    pub parent: ProcessKey,
    /// Who made it, and which thread of that; `None`: not seen.
    pub maker: Option<(ProcessKey, Tid)>,
    /// Whether it was there before leaktrace attached.
    pub preexisting: bool,
    /// Whether the run is about it, though it was there before: what it does from then on is
    /// the run's, its end is not waited for.
    pub target: bool,
    /// Last known comm.
    pub comm: Bytes,
    /// Path of the executable of the last exec.
    pub exe: Option<Bytes>,
    /// Arguments of the last exec.
    pub argv: Vec<Bytes>,
    /// Working directory at the last exec.
    pub cwd: Option<Bytes>,
    /// Real uid.
    pub uid: u32,
    /// kernfs id of its cgroup; 0 unknown.
    pub cgroup: u64,
    /// Inode number of its mount namespace as last seen; 0 unknown.
    pub mnt_ns: u32,
    /// Soft RLIMIT_NOFILE as last seen; 0 unknown.
    pub nofile: u64,
    /// fd table it uses.
    pub table: TableId,
    /// Trust in its tables.
    pub trust: Trust,
    /// Families of which any record was ever lost: what rests on the order or on the times of
    /// its calls is not known, whatever has been read again since.
    pub lost: Families,
    /// A clause for people; empty if none was lost.
    pub lost_why: String,
    /// Whether the run has had listeners or locks, which others may keep.
    pub may_keep: MayKeep,
    /// First seen: its birth if it joined by fork.
    pub born: KtimeNs,
    /// Last exec.
    pub exec: Option<KtimeNs>,
    /// First exec: of the root, where the command begins.
    pub first_exec: Option<KtimeNs>,
    /// Tasks alive in it, io_uring workers not counted.
    pub threads: u32,
    /// The last signals generated for the process, at most 16, oldest first, with result
    /// "delivered" or "already pending": those that end processes by default. Timers, SIGPIPE,
    /// SIGIO and real-time signals are ticks of a running program, and only here if one ended it.
    pub signals: Vec<SignalFacts>,
    /// The first SIGINT, SIGQUIT or SIGTERM that it ignored; none such is among `signals`.
    pub unheard: Option<SignalFacts>,
    /// The end, once the last thread has exited.
    pub end: Option<EndFacts>,
    /// Reaped by its parent's wait, or by the kernel at once.
    pub reaped: Option<KtimeNs>,
    /// Gone by then while its parent lived, who has reaped it, though the wait may not be told yet.
    pub taken: Option<KtimeNs>,
    /// Counts by kind name (see [`Kind::name`]).
    pub by_kind: BTreeMap<Kind, Counts>,
    /// Bytes of explicit releases, over the counted kinds.
    pub bytes_released: u64,
    /// Releases that the kernel refused. Runs of ascending closes of unused numbers (EBADF)
    /// are sweeps and not in here.
    pub errors: u64,
    /// Refused releases worth telling, at most 64; EBADF sweeps are not in here.
    pub refused: Vec<Refused>,
    /// Releases that may be the teardown, oldest first (see [`ReleaseFacts`]).
    pub releases: Vec<ReleaseFacts>,
    /// Start of the final run of releases (no acquisition after it but scratch).
    pub final_run: Option<KtimeNs>,
    /// Explicit releases over the whole life, by class.
    pub given_back: BTreeMap<Class, GivenBack>,
    /// What it did besides acquiring and releasing.
    pub conduct: Conduct,
    /// Number of 32-bit or otherwise unfollowable syscalls seen.
    pub unfollowed: u32,
    /// The fd table of a process that has not ended, ascending; of one that has, see
    /// [`EndFacts::held`].
    pub open: Vec<Held>,
}

/// Explicit releases of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GivenBack {
    /// Of what the process had not inherited.
    pub released: u64,
    /// Their bytes, pieces of mappings included.
    pub bytes: u64,
    /// Refused by the kernel.
    pub errors: u64,
    /// How many the time is of, inherited ones included.
    pub timed: u64,
    /// From entry to return, ns.
    pub ns: u64,
}

/// How many of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acquired by this process; inherited ones are not counted.
    pub acquired: u64,
    /// Explicitly released by this process; inherited ones are not counted.
    pub released: u64,
    /// Held now.
    pub held: u64,
    /// Most at once.
    pub peak: u64,
}

/// A signal that may have begun teardown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalFacts {
    /// Number.
    pub signal: u32,
    /// When it was generated.
    pub at: KtimeNs,
    /// si_code.
    pub code: i32,
    /// Who sent it.
    pub sender: Pid,
    /// Its comm.
    pub sender_comm: Bytes,
    /// Whether something other than scratch was acquired after it.
    pub acquired_after: bool,
}

/// The end of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndFacts {
    /// `sched_process_exit` of the last thread.
    pub at: KtimeNs,
    /// exit_group entry, if it was called.
    pub exit_group: Option<KtimeNs>,
    /// Wait status: group exit code if the group exits, else the leader's.
    pub status: i32,
    /// Generation of the fatal signal, if one ended it.
    pub fatal_signal: Option<KtimeNs>,
    /// `exit_mmap` of its address space.
    pub exit_mm: Option<KtimeNs>,
    /// The parent was sent the exit signal: end of exit.
    pub notified: Option<KtimeNs>,
    /// When it was in the kernel's functions, where that could be had.
    pub functions: Option<ExitFunctions>,
    /// The kernel reaps it at once.
    pub autoreap: bool,
    /// Whether the walk of the fd table is complete; `held` is the kernel's word then.
    pub walk_complete: bool,
    /// Whether the fd table lives on in another process.
    pub files_shared: bool,
    /// Everything held: every fd of the table (inherited ones too), then rings that are not
    /// fds, SysV attaches, shared mappings. Processes that hold the same share one list.
    pub held: Arc<Vec<Held>>,
    /// Threads made within a scope that ran when exit_group was called.
    pub threads: Vec<ResourceFacts>,
    /// What signals met it with.
    pub signals: SignalSets,
    /// Bytes from storage.
    pub read_bytes: u64,
    /// Bytes to storage.
    pub written_bytes: u64,
    /// Mappings at the end; 0 unknown.
    pub map_count: u32,
    /// Mapped pages at the end; 0 unknown.
    pub total_vm: u64,
}

/// When a process that ended was in the kernel's functions of exit (`do_exit` in kernel/exit.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitFunctions {
    /// `exit_mmap`, if it was the last user of its address space: it is unmapped.
    pub exit_mmap: Option<Span>,
    /// `exit_files`: it leaves its fd table, and what is in one that nobody shares is closed.
    pub exit_files: Option<Span>,
    /// All is released: `exit_task_work` is over, where the last references went.
    pub released: KtimeNs,
}

/// From one time to one that is not before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub began: KtimeNs,
    /// Its length, ns.
    pub ns: u64,
}

impl Span {
    /// Between two times that were seen (0: one was not), within two others.
    pub fn within(
        began_ns: u64,
        ended_ns: u64,
        earliest: KtimeNs,
        latest: KtimeNs,
    ) -> Option<Span> {
        let (began, ended) = (KtimeNs(began_ns), KtimeNs(ended_ns));
        let lies_within = began_ns != 0 && began >= earliest && ended <= latest;
        let ns = ended.since(began).filter(|_| lies_within)?;
        Some(Span { began, ns })
    }

    /// Its end.
    pub fn ended(self) -> KtimeNs {
        KtimeNs(self.began.0.saturating_add(self.ns))
    }
}

/// Sets of signals; bit n - 1 is signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSets {
    /// With a handler.
    pub handled: u64,
    /// Ignored, as far as a call said so.
    pub ignored: u64,
    /// Blocked by the thread that called exit_group.
    pub blocked: u64,
    /// Pending then.
    pub pending: u64,
}

impl ProcessFacts {
    /// When it was reaped, or had been.
    pub fn reaped_by(&self) -> Option<KtimeNs> {
        self.reaped.or(self.taken)
    }

    /// Whether it has made children.
    pub fn has_made_children(&self) -> bool {
        let children = self.by_kind.get(&Kind::Child);
        children.is_some_and(|counts| counts.acquired > 0)
    }
}

impl EndFacts {
    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        let signal = self.status & 0x7f;
        (signal != 0).then_some(signal)
    }

    /// Its exit status, if no signal ended it.
    pub fn code(&self) -> Option<i32> {
        (self.status & 0x7f == 0).then_some((self.status >> 8) & 0xff)
    }

    /// End of exit: the exit signal to the parent, else the last phase seen.
    pub fn finished(&self) -> KtimeNs {
        self.notified
            .or(self.exit_mm)
            .unwrap_or(self.at)
            .max(self.at)
    }
}

/// A resource held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub resource: ResourceFacts,
    /// Whether it was in the table at the task's fork, at its last exec, or at attach; fd 0-2
    /// always are.
    pub inherited: bool,
    /// References to the description (`struct file`) in the whole system; 0 unknown.
    pub count: u32,
    /// The open file description: the address of its `struct file`, the same in every process
    /// that shares it. 0: not an fd, or unknown.
    pub description: u64,
    /// Who opened it, where `count` is above 1: see [`Kept::cred`].
    pub cred: u32,
}

/// A description of which somebody outside the run may have a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Who released it last.
    pub process: ProcessKey,
    /// What it was, with the thread that acquired it.
    pub resource: ResourceFacts,
    /// The address of its `struct file`.
    pub description: u64,
    /// Half of the address of its opener's credentials, which tell it from another description
    /// that is at this address by now; 0: not known.
    pub cred: u32,
    /// Whether it held a lock (flock, F_OFD_SETLK).
    pub locked: bool,
}

/// A namespace that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeNamespace {
    /// Who asked for it.
    pub creator: ProcessKey,
    /// `net`, `mnt`… as in /proc/PID/ns.
    pub name: &'static str,
    /// Its inode number in nsfs.
    pub inum: u32,
    /// When.
    pub at: KtimeNs,
}

/// A ring after its last reference has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingEnd {
    /// Who made it.
    pub creator: ProcessKey,
    /// Address of the kernel's context.
    pub ring: u64,
    /// When its requests began to be waited for.
    pub begun: KtimeNs,
    /// When that was over; `None`: not yet.
    pub ended: Option<KtimeNs>,
}

/// How an fd came into its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum How {
    /// A call of the process made it.
    Made,
    /// dup(2) and its kin: another number of a description that the process had.
    Dup,
    /// It was in the table of the process that forked this one.
    Fork,
    /// It was there before leaktrace attached.
    Before,
    /// Another process passed it over a socket (SCM_RIGHTS).
    Socket,
    /// Taken out of another process by pidfd_getfd(2).
    Pidfd,
    /// A seccomp supervisor put it there (SECCOMP_IOCTL_NOTIF_ADDFD).
    Supervisor,
    /// io_uring made it.
    Ring,
}

impl How {
    /// The words for people and for reports.
    pub fn name(self) -> &'static str {
        match self {
            How::Made => "made",
            How::Dup => "dup",
            How::Fork => "inherited at fork",
            How::Before => "there before",
            How::Socket => "passed over a socket",
            How::Pidfd => "taken by pidfd_getfd",
            How::Supervisor => "put there by a seccomp supervisor",
            How::Ring => "made by io_uring",
        }
    }
}

/// A resource, wherever it is told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceFacts {
    /// Kind.
    pub kind: Kind,
    /// Number, for fds.
    pub fd: Option<Fd>,
    /// Path, name or address, raw bytes; relative if only that is known.
    pub path: Option<Bytes>,
    /// Kernel identity, for files.
    pub id: Option<FileId>,
    /// ipc id.
    pub ipc_id: Option<i32>,
    /// Address, for mappings.
    pub address: Option<u64>,
    /// Mapping length, shm size, ring size.
    pub bytes: Option<u64>,
    /// Local end of a socket, as text.
    pub local: Option<String>,
    /// Peer of a socket, as text.
    pub peer: Option<String>,
    /// When acquired; `None` if it was there before.
    pub acquired: Option<KtimeNs>,
    /// When released.
    pub released: Option<KtimeNs>,
    /// Acquiring thread.
    pub tid: Option<Tid>,
    /// Acquiring syscall.
    pub op: Option<Op>,
    /// How it came, for fds; `None`: not known.
    pub how: Option<How>,
    /// What an io_uring ring holds by itself.
    pub ring: Option<RingFacts>,
    /// State of a stream socket when the kernel's table was read: `listening`, `connected`…
    pub state: Option<&'static str>,
}

/// What an io_uring ring has registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingFacts {
    /// Direct descriptors: files in the ring's own table.
    pub direct: u32,
    /// Slots of that table.
    pub slots: u32,
    /// Buffers.
    pub buffers: u32,
}

/// One explicit release that may belong to teardown.
///
/// The model keeps those of the final run, and those since a signal that may have been the
/// trigger of what was there when it came. Private mappings, memory, handlers, threads,
/// inherited things, fd 0-2 and what the loader and the C library open for themselves are not in
/// here; scratch (acquired and released again before the
/// next release of anything older) is not either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFacts {
    /// What, with both times and the acquiring thread.
    pub resource: ResourceFacts,
    /// Position of its acquisition in the process's own sequence of acquisitions.
    pub rank: u64,
    /// Thread that released it.
    pub released_by: Tid,
    /// Duration of the release call, ns.
    pub duration_ns: u64,
}

/// A release that the kernel refused, or that released nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The call.
    pub op: Op,
    /// Positive errno.
    pub errno: i32,
    /// When.
    pub at: KtimeNs,
    /// Its argument: fd, address or id.
    pub argument: u64,
    /// What was meant, if known.
    pub resource: Option<ResourceFacts>,
    /// Whether this process has released the same before.
    pub again: bool,
}

impl Refused {
    /// The class of what was meant: that of the thing, or else what the call is for.
    pub fn class(&self) -> Class {
        if let Some(resource) = &self.resource {
            return resource.kind.class();
        }
        match self.op {
            Op::MUNMAP | Op::MREMAP | Op::SHMDT => Class::Mapping,
            Op::SHMCTL | Op::SEMCTL | Op::MSGCTL | Op::MQ_UNLINK => Class::Ipc,
            _ => Class::Fd,
        }
    }
}

/// Something with a name of its own that a process made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// What; `path` is its present absolute name, followed through renames. Of message queues
    /// it is the name as the system call has it: without the leading slash.
    pub resource: ResourceFacts,
    /// Who made it.
    pub creator: ProcessKey,
    /// Inode number of the mount (names) or ipc (SysV, mq) namespace; 0 unknown.
    pub namespace: u32,
    /// Whether the kernel said that this call made it; false: likely (see
    /// `ipc::created::LIKELY`).
    pub sure: bool,
    /// Whether an open with O_EXCL or a link made it; `None` where that cannot be.
    pub exclusive: Option<bool>,
    /// Whether anybody of the run locked it at any time (flock, fcntl).
    pub locked: bool,
    /// Of a mount: what was mounted.
    pub mounted: Option<Box<Mounted>>,
}

impl Created {
    /// Whether it was seen to be made after a call had begun; `begin` is 0 where that is not told.
    ///
    /// Records are written as calls return. An unlink that is slow to return is told after the open
    /// of another task that made the name anew, as with a lock that is waited for. Which of the two
    /// the name is of is not told: it stays, and whether it is there is looked up in the end.
    pub(super) fn came_after(&self, begin: u64) -> bool {
        begin > 0 && self.resource.acquired.is_some_and(|at| at.0 > begin)
    }
}

/// What a call mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// A file system of this type; `None`: it was not told.
    Filesystem(Option<Bytes>),
    /// What is elsewhere too, by its absolute path at that time; `None`: it was not told.
    Bind(Option<Bytes>),
}

macro_rules! kinds {
    ($($name:ident, $text:literal, $class:ident;)*) => {
        /// Kind of a resource.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", $text, "`")] $name,)*
            /// Any other anonymous inode.
            #[default]
            Other,
        }
        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)* Kind::Other];
            /// How many there are.
            pub const COUNT: usize = Kind::ALL.len();
            /// Name used in reports.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$name => $text,)* Kind::Other => "anon-inode" }
            }
            /// The class it belongs to.
            pub fn class(self) -> Class {
                match self { $(Kind::$name => Class::$class,)* Kind::Other => Class::Fd }
            }
        }
    };
}

kinds! {
    File, "file", Fd;
    Directory, "directory", Fd;
    Device, "device", Fd;
    Symlink, "symlink", Fd;
    Pipe, "pipe", Fd;
    Fifo, "fifo", Fd;
    Eventfd, "eventfd", Fd;
    Timerfd, "timerfd", Fd;
    Signalfd, "signalfd", Fd;
    Epoll, "epoll", Fd;
    Inotify, "inotify", Fd;
    Fanotify, "fanotify", Fd;
    Memfd, "memfd", Fd;
    Pidfd, "pidfd", Fd;
    Userfaultfd, "userfaultfd", Fd;
    PerfEvent, "perf_event", Fd;
    Bpf, "bpf", Fd;
    Namespace, "namespace", Fd;
    Mount, "mount", Fd;
    Cgroup, "cgroup", Fd;
    BpfPin, "bpf-pin", Fd;
    Tcp, "tcp", Socket;
    Udp, "udp", Socket;
    Unix, "unix", Socket;
    Netlink, "netlink", Socket;
    Packet, "packet", Socket;
    Vsock, "vsock", Socket;
    Socket, "socket", Socket;
    IoUring, "io_uring", Ring;
    Handler, "signal-handler", Signal;
    Thread, "thread", Task;
    Child, "child", Task;
    Process, "process", Task;
    SysvShm, "sysv-shm", Ipc;
    SysvSem, "sysv-sem", Ipc;
    SysvMsg, "sysv-msg", Ipc;
    PosixShm, "posix-shm", Ipc;
    PosixSem, "posix-sem", Ipc;
    PosixMq, "posix-mq", Ipc;
    ShmAttach, "shm-attach", Mapping;
    SharedMapping, "shared-mapping", Mapping;
    PrivateMapping, "private-mapping", Mapping;
    Anonymous, "anonymous", Memory;
    PosixTimer, "posix-timer", Signal;
    Itimer, "itimer", Signal;
    PendingSignal, "pending-signal", Signal;
    Aio, "aio", Ring;
    LockedMemory, "locked-memory", Memory;
    Hugetlb, "hugetlb", Memory;
    Heap, "heap", Memory;
    Stack, "stack", Memory;
    RingMapping, "ring-mapping", Mapping;
    PacketRing, "packet-ring", Ring;
    XdpRing, "xdp-ring", Ring;
}

impl Kind {
    /// Whether the kind counts in `summary` and `held`: fds, sockets, rings, SysV attaches and
    /// shared mappings.
    pub fn counted(self) -> bool {
        match self.class() {
            Class::Fd | Class::Socket | Class::Ring => true,
            Class::Mapping => self != Kind::PrivateMapping,
            Class::Ipc => self == Kind::PosixMq,
            Class::Signal | Class::Task | Class::Memory => false,
        }
    }
}

/// Resource classes, in the order `class:fds-first` releases them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// fds that are not sockets or rings.
    Fd,
    /// Sockets.
    Socket,
    /// Handlers, timers.
    Signal,
    /// Rings.
    Ring,
    /// Threads, children, requests.
    Task,
    /// SysV and POSIX ipc.
    Ipc,
    /// Mappings.
    Mapping,
    /// Anonymous memory.
    Memory,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 8] = [
        Class::Fd,
        Class::Socket,
        Class::Signal,
        Class::Ring,
        Class::Task,
        Class::Ipc,
        Class::Mapping,
        Class::Memory,
    ];

    /// Name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Class::Fd => "fd",
            Class::Socket => "socket",
            Class::Signal => "signal",
            Class::Ring => "ring",
            Class::Task => "task",
            Class::Ipc => "ipc",
            Class::Mapping => "mapping",
            Class::Memory => "memory",
        }
    }
}

/// One measured duration, for histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Whose.
    pub process: ProcessKey,
    /// Which kind of sample.
    pub kind: SampleKind,
    /// Class of the resource; `None` for the once-per-process kinds.
    pub class: Option<Class>,
    /// ns.
    pub ns: u64,
}

/// The kinds of sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleKind {
    /// Duration of an explicit release call.
    Release,
    /// Acquire to release.
    Hold,
    /// Trigger to end of exit; once per process.
    Teardown,
    /// exit_group entry or fatal signal to end of exit; once per process.
    Kernel,
    /// End of exit to the parent's wait return; once per process.
    Reap,
    /// What goes on after that; once per process.
    Async,
    /// Unmapping the address space at exit; once per process.
    ExitMmap,
    /// Leaving the fd table at exit; once per process.
    ExitFiles,
    /// From there to the release of the last references; once per process.
    LastReferences,
}

impl SampleKind {
    /// Every kind.
    pub const ALL: [SampleKind; 9] = [
        SampleKind::Release,
        SampleKind::Hold,
        SampleKind::Teardown,
        SampleKind::Kernel,
        SampleKind::Reap,
        SampleKind::Async,
        SampleKind::ExitMmap,
        SampleKind::ExitFiles,
        SampleKind::LastReferences,
    ];

    /// Name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            SampleKind::Release => "release",
            SampleKind::Hold => "hold",
            SampleKind::Teardown => "teardown",
            SampleKind::Kernel => "kernel",
            SampleKind::Reap => "reap",
            SampleKind::Async => "async",
            SampleKind::ExitMmap => "exit_mmap",
            SampleKind::ExitFiles => "exit_files",
            SampleKind::LastReferences => "last_references",
        }
    }
}
