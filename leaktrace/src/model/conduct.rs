//! What a process did besides acquiring and releasing: acquisitions that were refused, calls
//! that took long, timers, locked memory, and what works by luck only. Plain values.

use bytes::Bytes;
use leaktrace_common::abi::Op;

use super::facts::{Refused, ResourceFacts};
use crate::id::{KtimeNs, ProcessKey, Tid};

/// Entries of one sort that are told one by one.
pub(super) const TOLD: usize = 64;

/// What a process did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// Acquisitions refused for want of room (EMFILE, ENFILE, ENOMEM, ENOSPC), at most 64.
    pub no_room: Vec<Refused>,
    /// How many there were.
    pub no_room_count: u64,
    /// Calls that took a second or longer, or are going on for so long, at most 64.
    pub waits: Vec<Wait>,
    /// The most open fds compared with the soft RLIMIT_NOFILE of that time.
    pub nearest: Nearest,
    /// Acquisitions that passed a budget, one for each budget.
    pub passed: Vec<Passed>,
    /// What works by luck, at most 64.
    pub hazards: Vec<Hazard>,
    /// Timers and pending signals, locked memory and huge pages that were there at the end.
    pub left: Vec<ResourceFacts>,
    /// Threads besides the one that called exit_group; 0 without that call.
    pub threads_left: u32,
    /// Children that ran when it ended.
    pub children_left: Vec<ProcessKey>,
    /// Open fds over time, oldest first: the least of each interval.
    pub growth: Vec<(KtimeNs, u32)>,
}

/// A call that took long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The call.
    pub op: Op,
    /// The thread.
    pub tid: Tid,
    /// Entry.
    pub begin: KtimeNs,
    /// When it returned, or was last seen to go on.
    pub until: KtimeNs,
    /// Whether it has returned.
    pub returned: bool,
    /// What it is about, if known.
    pub resource: Option<ResourceFacts>,
}

/// Open fds and their limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nearest {
    /// Open fds; 0: no limit is known.
    pub open: u32,
    /// Soft RLIMIT_NOFILE.
    pub limit: u64,
}

impl Nearest {
    /// The one of two that is nearer to its limit.
    pub(super) fn or(self, open: u32, limit: u64) -> Nearest {
        let other = Nearest { open, limit };
        let nearer =
            u128::from(open) * u128::from(self.limit) > u128::from(self.open) * u128::from(limit);
        match (limit, self.limit) {
            (0, _) => self,
            (_, 0) => other,
            _ if nearer => other,
            _ => self,
        }
    }

    /// Share of the limit, from 0 to 1 as a rule.
    pub fn share(&self) -> f64 {
        match self.limit {
            0 => 0.0,
            limit => f64::from(self.open) / limit as f64,
        }
    }
}

/// An acquisition that passed a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Name of the class or kind.
    pub of: &'static str,
    /// The budget.
    pub most: u64,
    /// What was acquired, by which thread and call, when.
    pub resource: ResourceFacts,
}

/// Something that works by luck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// What.
    pub what: HazardKind,
    /// When.
    pub at: KtimeNs,
    /// What it was done to.
    pub resource: ResourceFacts,
    /// The ring, or the epoll set.
    pub other: Option<ResourceFacts>,
}

/// Kinds of hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HazardKind {
    /// A ring was closed, or ended with its process, with so many requests in flight.
    RingInFlight(u32),
    /// A registered buffer was unmapped while its ring was open.
    BufferUnmapped,
    /// An fd was closed that an epoll set watches, and its description lives on.
    EpollStale,
    /// A writable shared mapping of a file went without msync or fsync.
    NotSynced,
}

/// A budget: the most of a class or kind at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Budget {
    /// Name of the class or kind.
    pub of: &'static str,
    /// The most.
    pub most: u64,
}

/// Adds to a list of at most [`TOLD`].
pub(super) fn tell<T>(list: &mut Vec<T>, entry: T) {
    if list.len() < TOLD {
        list.push(entry);
    }
}

/// A path, for what has none of its own.
pub(super) fn named(name: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(name.as_bytes()))
}
