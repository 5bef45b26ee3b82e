//! Parity: what a process holds by our tables against what the kernel lists.
//!
//! Pure: both sides come as values ([`Holdings`]), the model's from its tables and the kernel's
//! from /proc. A comparison is bracketed: the kernel is read before and after ours is taken, and
//! only what was the same both times is compared. What a system call is in the middle of may
//! still differ, so a difference counts only if it is there in several looks in a row.

#![forbid(unsafe_code)]

mod compare;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::id::ProcessKey;

pub use compare::compare;
pub use text::render;

/// What one process holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// fds by number.
    pub fds: BTreeMap<u32, HeldFd>,
    /// Mapped ranges, ascending, not overlapping.
    pub ranges: Vec<Range>,
    /// Threads that have not exited, io_uring workers not counted.
    pub threads: u32,
    /// Children that have not been reaped, by pid.
    pub children: BTreeSet<u32>,
}

impl Holdings {
    /// How many things are compared.
    pub fn len(&self) -> u64 {
        (self.fds.len() + self.ranges.len() + self.children.len()) as u64 + u64::from(self.threads)
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One fd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFd {
    /// `i_ino` of its file.
    pub ino: u64,
    /// For people: kind and name on our side, the link on the kernel's.
    pub what: String,
}

/// A mapped range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// What is mapped.
    pub backing: Backing,
    /// Who mapped it.
    pub by: By,
}

/// What a range is backed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Nothing: private memory.
    Anonymous,
    /// Memory that a fork shares.
    Shared,
    /// A file, by `s_dev` and `i_ino`.
    File {
        /// major << 20 | minor.
        dev: u32,
        /// Inode number.
        ino: u64,
    },
    /// A SysV segment, by its id.
    Sysv(i32),
}

/// Who mapped a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A system call of the program's.
    Call,
    /// The kernel itself: the program's image, its interpreter, stack, heap, vdso.
    Kernel,
}

/// Which thing differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The process itself.
    Process,
    /// An fd.
    Fd {
        /// Its number.
        fd: u32,
    },
    /// A mapped range.
    Mapping {
        /// First address.
        start: u64,
        /// First address behind.
        end: u64,
    },
    /// How much is mapped.
    Mapped,
    /// How many threads run.
    Threads,
    /// A child.
    Child {
        /// Its pid.
        pid: u32,
    },
    /// A SysV object of ours or of a process of the tree.
    Ipc {
        /// shm, sem or msg.
        kind: &'static str,
        /// Its id.
        id: i32,
    },
}

/// One thing on which our tables and the kernel disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whose.
    pub process: ProcessKey,
    /// Its comm.
    pub comm: String,
    /// Which thing.
    #[serde(flatten)]
    pub what: What,
    /// What we say; null: nothing.
    pub ours: Option<String>,
    /// What the kernel says; null: nothing.
    pub kernel: Option<String>,
}

/// The outcome: `leaktrace.parity/1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Parity {
    /// `leaktrace.parity/1`.
    pub schema: &'static str,
    /// Bracketed comparisons made.
    pub looks: u64,
    /// Looks at which every process of the tree was stopped.
    pub stops: u64,
    /// Fewest things compared in a look at a stopped tree, or in any look if none was.
    pub least: u64,
    /// Things compared in all looks together.
    pub compared: u64,
    /// Processes looked at, each time counted.
    pub processes: u64,
    /// Differences in all looks together.
    pub differed: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// fd tables compared at the end of their process, and how many differed.
    pub self_check: (u64, u64),
    /// Address spaces whose mapped pages were compared with the kernel's count at their end, and how
    /// many differed.
    pub space_check: (u64, u64),
    /// The first things in which one differed though no record of its process is known to be lost.
    pub at_exit: Vec<Difference>,
    /// Tables that were read again from the kernel after records had been lost.
    pub reread: u64,
    /// Records that could not be understood: of no known kind, malformed.
    pub not_understood: (u64, u64),
    /// What went wrong in the kernel, a clause each.
    pub faults: Vec<String>,
    /// Records: produced, received, lost.
    pub events: crate::report::Events,
}

/// Differences told one by one.
const TOLD: usize = 100;

impl Parity {
    /// No look yet.
    pub fn new() -> Parity {
        Parity {
            schema: "leaktrace.parity/1",
            ..Parity::default()
        }
    }

    /// Adds one look.
    pub fn add(&mut self, look: Look) {
        self.looks += 1;
        self.compared += look.compared;
        self.processes += look.processes;
        self.differed += look.differences.len() as u64;
        let room = TOLD.saturating_sub(self.differences.len());
        self.differences
            .extend(look.differences.into_iter().take(room));
        let first_stop = look.tree == Tree::Stopped && self.stops == 0;
        if look.tree == Tree::Stopped {
            self.stops += 1;
        }
        let counts = look.tree == Tree::Stopped || self.stops == 0;
        if self.looks == 1 || first_stop {
            self.least = look.compared;
        } else if counts {
            self.least = self.least.min(look.compared);
        }
    }

    /// Whether ours was the kernel's every time, but for tables that are known to be wrong.
    pub fn is_equal(&self) -> bool {
        self.differed == 0 && self.at_exit.is_empty()
    }
}

/// One bracketed comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether anything could run meanwhile.
    pub tree: Tree,
    /// Things compared.
    pub compared: u64,
    /// Processes looked at.
    pub processes: u64,
    /// What differed in every try.
    pub differences: Vec<Difference>,
}

/// Whether a tree of processes runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Some process may be in a system call.
    Running,
    /// Every process is stopped by a signal.
    Stopped,
}
