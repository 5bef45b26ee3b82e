//! The census: what we ask the kernel after the fact. Does it exist, who holds it?
//!
//! Questions and answers are plain bounded values, so that a helper process can answer them
//! and a capture can hold them: no fds, no closures. The only reader of /proc, ipc and stat.
//!
//! [`LiveCensus`] answers on a thread of its own, one question after the other. Nothing that it
//! opens follows a last symlink, blocks on a fifo or stays open behind an answer; a foreign
//! namespace is looked into through a process that still lives in it, never held.

use std::{future::Future, io, os::fd::BorrowedFd};

use leaktrace_common::record::FileIdentity;
use serde::{Deserialize, Serialize};

use crate::{
    id::{FileId, ProcessKey},
    model::stack::{Module, Sample},
};

pub mod cgroup;
pub mod fd;
pub mod holder;
pub mod holdings;
pub mod host;
pub mod limit;
pub mod memory;
pub mod present;

mod clock;
mod directory;
mod inode;
mod mount;
mod mq;
mod namespace;
mod path;
pub mod process;
mod record;
mod stack;
mod sysv;
mod worker;

pub use mount::{cgroup_roots, present as mounts_present};
pub use sysv::{Segment, changes as sysv_changes, present as sysv_present, segments};
pub use worker::{Further, LiveCensus, Looking};

/// Something that answers questions: the kernel now, or a capture.
pub trait Census {
    /// Answers every question, in order.
    fn ask(&mut self, questions: Vec<Question>) -> impl Future<Output = Vec<Answer>> + Send;
}

/// Reads the kernel's identity of an open file, which stat does not tell (`s_dev` is not
/// `st_dev` on btrfs and overlayfs).
pub trait Identify: Send + Sync {
    /// The identity of `fd`'s file. Called on the thread that opened it; `fd` may be O_PATH.
    ///
    /// # Errors
    /// When the programs did not answer.
    fn identify(&self, fd: BorrowedFd<'_>) -> io::Result<FileIdentity>;
}

/// One thing to find out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// Does this process exist?
    Process {
        /// Which.
        key: ProcessKey,
    },
    /// What is at this path?
    Path {
        /// Absolute path, raw bytes.
        path: Vec<u8>,
        /// Inode number of the mount namespace in which the path was named; 0: not known.
        mnt_ns: u32,
        /// Processes of the tree that may still live in that namespace, to look through
        /// (at most 8).
        through: Vec<ProcessKey>,
        /// Which file it was, if that is known and the namespace is not leaktrace's own: the path
        /// may lead nowhere once that is gone, while the file is still there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<FileId>,
        /// The paths of leaktrace's own namespace that may lead to it once its own is gone, as it
        /// was made under a mount of what is mounted elsewhere too. Empty but there: none can be
        /// told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bound: Option<Vec<Vec<u8>>>,
    },
    /// Is there a short file at this path whose first line is a number?
    PidFile {
        /// Absolute path, raw bytes.
        path: Vec<u8>,
        /// As for paths.
        mnt_ns: u32,
        /// As for paths.
        through: Vec<ProcessKey>,
    },
    /// What is mounted at this path?
    Mount {
        /// Absolute path, raw bytes.
        path: Vec<u8>,
        /// As for paths.
        mnt_ns: u32,
        /// As for paths.
        through: Vec<ProcessKey>,
    },
    /// Does this SysV object exist?
    Sysv {
        /// [`leaktrace_common::record::ipc::what`].
        what: u32,
        /// Its id.
        id: i32,
        /// Inode number of the ipc namespace; 0: not known.
        ipc_ns: u32,
        /// As for paths.
        through: Vec<ProcessKey>,
    },
    /// Is a script or a source at this path, as leaktrace itself sees it?
    Source {
        /// Absolute path, raw bytes.
        path: Vec<u8>,
    },
    /// Who has this file open or mapped?
    Holders {
        /// Address of the `struct file`: the very description. 0: any of the inode.
        file: u64,
        /// `s_dev`; 0: of any file system.
        dev: u32,
        /// `i_ino`.
        ino: u64,
        /// Who opened it: half of the address of the credentials that a description keeps
        /// (`file.f_cred`); 0: the inode is no other description's.
        #[serde(default, skip_serializing_if = "is_zero")]
        cred: u32,
    },
    /// Which functions are on this stack?
    Stack {
        /// The files that it names by their place here.
        modules: Vec<Module>,
        /// The stack.
        sample: Sample,
    },
    /// Does this POSIX message queue exist?
    Mq {
        /// Name without the leading slash, raw bytes.
        name: Vec<u8>,
        /// Inode number of the ipc namespace; 0: not known.
        ipc_ns: u32,
        /// As for paths.
        through: Vec<ProcessKey>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A question and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The question, as asked.
    pub question: Question,
    /// When it was answered, ns of CLOCK_BOOTTIME.
    pub time_ns: u64,
    /// What was found.
    pub found: Found,
}

/// Somebody who has a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub key: ProcessKey,
    /// comm, raw bytes.
    pub comm: Vec<u8>,
    /// The number of the fd; null for a mapping.
    pub fd: Option<i32>,
    /// Address of the `struct file`.
    pub file: u64,
    /// `s_magic`.
    pub magic: u32,
    /// A listening socket.
    pub listening: bool,
}

/// What a census found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    /// It is not there. For a namespace without a living member: gone with it.
    Gone,
    /// Could not be found out; one clause why ("permission denied", …).
    Unknown {
        /// Why.
        why: String,
    },
    /// A process is there.
    Process {
        /// State letter of /proc/PID/stat: R S D T Z …
        state: char,
        /// Parent's pid now, initial namespace.
        parent_pid: u32,
        /// comm now, raw bytes.
        comm: Vec<u8>,
    },
    /// A file is there.
    File {
        /// The kernel's identity.
        id: FileId,
        /// S_IFMT and permissions.
        mode: u32,
        /// Bytes; of a directory, of everything in it.
        bytes: u64,
        /// Entries in a directory at any depth, at most 100,000.
        entries: u64,
        /// Birth time, ns since the epoch (statx(2)); null where the file system has none.
        birth_ns: Option<u64>,
        /// Where no birth is told: when it was last changed, and the first of that and its last access
        /// and modification, ns since the epoch (statx(2)).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changed_ns: Option<(u64, u64)>,
        /// What the clock of birth times showed when this was looked at, ns since the epoch; null
        /// in captures of versions that did not look.
        #[serde(default)]
        wall_ns: Option<u64>,
        /// Whether that clock was set since attach, however it stands now.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        clock_was_set: bool,
        /// A short regular file's first line, if it is a decimal number (pid files).
        holds_pid: Option<u32>,
        /// Its path as leaktrace sees it, if that is not the one that was asked about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        elsewhere: Option<Vec<u8>>,
    },
    /// Something is mounted there.
    Mount {
        /// Its id.
        id: u64,
        /// What of the file system is its root; of a namespace `net:[4026531840]` and the like.
        root: Vec<u8>,
        /// Type of the file system.
        filesystem: Vec<u8>,
    },
    /// A SysV object is there.
    Sysv {
        /// Creator's pid, initial namespace; null where the kernel does not tell (sem, msg).
        creator_pid: Option<u32>,
        /// Bytes (shm), semaphores (sem), bytes queued (msg).
        size: u64,
        /// Attached processes (shm); messages (msg).
        users: u64,
        /// Change time, seconds since the epoch.
        ctime: u64,
        /// shm: marked for removal once nobody is attached.
        dying: bool,
    },
    /// The functions on a stack.
    Frames {
        /// Innermost first: `cache_open at /repo/cache.c:12`, `open64 in /lib/libc.so.6`.
        frames: Vec<String>,
    },
    /// A regular file is there that begins with text.
    Source,
    /// These have it; nobody, if it is empty.
    Holders {
        /// Who, at most 64.
        by: Vec<Holder>,
        /// Whether the file is locked through a description (flock, F_OFD_SETLK).
        locked: bool,
    },
    /// A POSIX message queue is there.
    Mq {
        /// The kernel's identity; null if not readable.
        id: Option<FileId>,
    },
}

impl Found {
    /// What an error of a look means: nothing there, or not known.
    fn from_error(error: &io::Error) -> Found {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ESRCH) => Found::Gone,
            _ => Found::unknown(clause(error)),
        }
    }

    fn unknown(why: impl Into<String>) -> Found {
        Found::Unknown { why: why.into() }
    }
}

/// An error as a clause: lower case, without "(os error N)".
fn clause(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_lowercase()
}
