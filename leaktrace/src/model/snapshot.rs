//! What the terminal UI draws: a picture of the model at one moment. It knows no colours.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    conduct::Conduct,
    facts::{Kind, ResourceFacts},
};
use crate::{
    hist::buckets::Buckets,
    id::{KtimeNs, Pid, ProcessKey},
    report::{Coverage, Finding, Level, Verdict},
};

/// The whole picture.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When, ns of CLOCK_BOOTTIME.
    pub at: KtimeNs,
    /// Live processes, by key.
    pub live: Vec<LiveRow>,
    /// The selected process, if it was asked for and lives (or ended lately).
    pub detail: Option<Detail>,
    /// Recent ends, newest first, at most 2,000.
    pub exits: Vec<ExitRow>,
    /// Processes that ended since the start: (all, clean, with findings, inconclusive).
    pub ended: (u64, u64, u64, u64),
    /// Those of them that were forgotten before they could be judged: too many ended at a time.
    pub unjudged: u64,
    /// Records read so far.
    pub received: u64,
    /// Records lost so far.
    pub lost: u64,
    /// Time of the first loss.
    pub lost_since: Option<KtimeNs>,
    /// Handlers that did not run; `None`: not counted here.
    pub not_run: Option<u64>,
    /// Coverage by family.
    pub coverage: Vec<Coverage>,
    /// Probes attached and probes known.
    pub probes: (u32, u32),
    /// Named things that are left by ended processes, newest first, at most 500.
    pub residue: Vec<ResidueRow>,
    /// Durations, for the timing view.
    pub timing: Vec<TimingRow>,
    /// fd tables compared with the kernel's at exit, and how many differed.
    pub self_check: (u64, u64),
    /// Findings so far that no suppression covers, by rule and level; kept if asked for.
    pub found: BTreeMap<(String, Level), u64>,
    /// Those since they were last taken.
    pub fresh: Vec<Finding>,
}

/// One live process.
#[derive(Clone, Debug, Default)]
pub struct LiveRow {
    /// Who.
    pub key: ProcessKey,
    /// Its parent, for the tree view.
    pub parent: ProcessKey,
    /// comm, raw bytes.
    pub comm: Bytes,
    /// Real uid.
    pub uid: u32,
    /// kernfs id of the cgroup that it was in at its birth, its last exec or when it was found; 0
    /// unknown.
    pub cgroup: u64,
    /// State.
    pub state: State,
    /// fds of class fd.
    pub fds: u64,
    /// Sockets.
    pub sockets: u64,
    /// Mappings followed.
    pub mappings: u64,
    /// Rings.
    pub rings: u64,
    /// Threads.
    pub tasks: u64,
    /// SysV attaches and queues.
    pub ipc: u64,
    /// All open fds of the table: class fd, sockets and rings.
    pub open: u64,
    /// Change of `open` per second over the last 10 s.
    pub rate: f64,
    /// Soft RLIMIT_NOFILE; 0 unknown.
    pub limit: u64,
    /// Seconds until `open` reaches `limit`, when the trend is steady.
    pub full_in_s: Option<f64>,
    /// Whether the table is exact.
    pub trusted: bool,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Running or sleeping.
    #[default]
    Run,
    /// A terminating signal came, or releases have begun and nothing is acquired any more.
    Teardown,
    /// In the kernel's exit.
    Exiting,
    /// Exited, not reaped.
    Zombie,
}

/// One process, in full.
#[derive(Clone, Debug, Default)]
pub struct Detail {
    /// Who.
    pub key: ProcessKey,
    /// Path of the executable.
    pub exe: Option<Bytes>,
    /// Arguments.
    pub argv: Vec<Bytes>,
    /// Real uid.
    pub uid: u32,
    /// kernfs id of the cgroup; 0 unknown.
    pub cgroup: u64,
    /// Resources, newest first.
    pub resources: Vec<DetailRow>,
    /// Signals with a handler, and ignored ones.
    pub handled: Vec<u32>,
    /// Ignored signals.
    pub ignored: Vec<u32>,
    /// What it did besides acquiring and releasing.
    pub conduct: Conduct,
}

/// One resource of a process.
#[derive(Clone, Debug, Default)]
pub struct DetailRow {
    /// What.
    pub resource: ResourceFacts,
    /// Other processes that hold the same description.
    pub shared_with: Vec<Pid>,
    /// Whether it was inherited.
    pub inherited: bool,
}

/// One ended process.
#[derive(Clone, Debug, Default)]
pub struct ExitRow {
    /// Who.
    pub key: ProcessKey,
    /// comm, raw bytes.
    pub comm: Bytes,
    /// When it ended.
    pub at: KtimeNs,
    /// The one line's counts.
    pub summary: crate::report::Summary,
    /// Teardown, ns.
    pub teardown_ns: Option<u64>,
    /// In the kernel, ns.
    pub kernel_ns: Option<u64>,
    /// Outcome; `None` while it is not judged yet. The model leaves it so: audit judges.
    pub verdict: Option<Verdict>,
    /// The first observation: rule, level, one clause.
    pub first: Option<(String, Level, String)>,
}

/// A thing that is left.
#[derive(Clone, Debug, Default)]
pub struct ResidueRow {
    /// What.
    pub resource: ResourceFacts,
    /// Who made it.
    pub creator: ProcessKey,
    /// Its comm.
    pub comm: Bytes,
}

/// Durations of one sample kind and class.
#[derive(Clone, Debug, Default)]
pub struct TimingRow {
    /// Sample kind name.
    pub sample: &'static str,
    /// Class name, or empty.
    pub class: &'static str,
    /// Number of samples.
    pub n: u64,
    /// ns.
    pub min_ns: u64,
    /// ns.
    pub max_ns: u64,
    /// ns; `None` below 20 samples.
    pub p50_ns: Option<u64>,
    /// ns; likewise.
    pub p90_ns: Option<u64>,
    /// ns; likewise.
    pub p99_ns: Option<u64>,
    /// How they spread.
    pub buckets: Buckets,
}

impl LiveRow {
    /// Whether the kind is one of those that a row counts under `mappings`.
    pub fn counts_as_mapping(kind: Kind) -> bool {
        matches!(
            kind,
            Kind::SharedMapping
                | Kind::PrivateMapping
                | Kind::RingMapping
                | Kind::Anonymous
                | Kind::Heap
                | Kind::Stack
                | Kind::ShmAttach
        )
    }
}
