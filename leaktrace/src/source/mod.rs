//! Where records come from: a live kernel or a capture. One pipeline serves both.

#![forbid(unsafe_code)]

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    census::Answer,
    report::{Child, Clock, Coverage, Events, Settle, Tool},
};

pub mod capture;
mod kernel;

pub use kernel::Kernel;

/// What a run starts with. Written at the head of a capture; everything that judging needs and
/// that no record tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Who traces, where.
    pub tool: Tool,
    /// Clock readings at attach.
    pub clock: Clock,
    /// CMD; empty if none.
    pub command: Vec<String>,
    /// The working directory at start, raw bytes.
    pub cwd: Vec<u8>,
    /// Root of the repository that this is in, raw bytes; the working directory where it is in
    /// none.
    #[serde(default)]
    pub repository: Vec<u8>,
    /// Temp roots in force, absolute, raw bytes, symlinks resolved.
    pub temp_roots: Vec<Vec<u8>>,
    /// Inode numbers of leaktrace's own mount, ipc and pid namespaces.
    pub mnt_ns: u32,
    /// See `mnt_ns`.
    pub ipc_ns: u32,
    /// SysV objects there at attach: (what, id).
    pub sysv_before: Vec<(u32, i32)>,
    /// Ids of the mounts of leaktrace's own namespace at attach.
    #[serde(default)]
    pub mounts_before: Vec<u64>,
    /// Where control groups are mounted, raw bytes.
    #[serde(default)]
    pub cgroup_roots: Vec<Vec<u8>>,
    /// leaktrace's own pid.
    pub self_pid: u32,
    /// What this kernel lets us see.
    pub coverage: Vec<Coverage>,
    /// Probes attached and probes known.
    pub probes: (u32, u32),
    /// Settle deadline, ns.
    pub settle_ns: u64,
    /// Whether the next record of a task says that others of it were lost.
    #[serde(default)]
    pub loss_is_marked: bool,
    /// How long a page of memory is, bytes; 0: not known.
    #[serde(default)]
    pub page_bytes: u32,
    /// Why the parts of exit are not timed although that was asked for, a clause.
    #[serde(default)]
    pub untimed: Option<String>,
}

/// What a run ends with. Written at the tail of a capture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// How CMD's root process ended.
    pub child: Child,
    /// When it was reaped, ns of CLOCK_BOOTTIME; 0 if it was not.
    pub child_reaped_ns: u64,
    /// When judging began, ns of CLOCK_BOOTTIME.
    pub judged_ns: u64,
    /// The counts after detach and drain.
    pub events: Events,
    /// What went wrong in the kernel and no count tells, a clause each.
    #[serde(default)]
    pub faults: Vec<String>,
    /// What was waited for.
    pub settle: Settle,
    /// A signal cut settling short.
    pub cut_short: bool,
    /// Watching stopped while what it was about went on (`--duration`, or a signal).
    #[serde(default)]
    pub stopped: bool,
    /// The exit code that CMD's failure to start gives (126, 127); null if it started.
    pub start_failed: Option<i32>,
}

/// One thing that a source yields, in order: one `Start`, then records and answers, then one
/// `End`.
#[derive(Clone, Debug)]
pub enum Item {
    /// The beginning.
    Start(Box<Start>),
    /// Whole records back to back, each padded to 8 bytes, in the order of the ring.
    Records(Bytes),
    /// A census answer.
    Answer(Box<Answer>),
    /// The time goes on: nothing older than this will come.
    Tick(u64),
    /// The end.
    End(Box<End>),
}
