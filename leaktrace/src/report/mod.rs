//! The report: what a run found, as one value. Sinks only write it.
//!
//! This is the JSON contract `leaktrace.report/1`: snake_case, times in ns, keys absent or null
//! as each field says. Names that come from processes and files are already text here: bytes
//! that are not UTF-8 are replaced (U+FFFD); escaping for a terminal is the sink's.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{id::ProcessKey, policy::baseline};

mod merge;

pub use merge::{merge, read};

/// Name of the contract.
pub const SCHEMA: &str = "leaktrace.report/1";

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `leaktrace.report/1`.
    pub schema: String,
    /// Who made it, where.
    pub tool: Tool,
    /// Clock readings that tie ns of CLOCK_BOOTTIME to the wall clock.
    pub clock: Clock,
    /// CMD as given; empty when leaktrace attached to something.
    pub command: Vec<String>,
    /// The policy file, if one was read.
    pub policy: PolicyFile,
    /// How CMD's root process ended.
    pub child: Child,
    /// The exit code of this call and whose it is.
    pub exit: Exit,
    /// The outcome.
    pub verdict: Verdict,
    /// Why the verdict is not a claim of cleanliness; empty unless something was lost.
    pub inconclusive_because: Vec<String>,
    /// Families (or rules) about which nothing is claimed, with the reason in `coverage`.
    pub not_judged: Vec<String>,
    /// What is not as it should be where the run took place and is no fault of the run, a sentence
    /// each; absent when there is nothing to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Records: produced = received + lost.
    pub events: Events,
    /// fd tables compared with the kernel's at exit.
    pub self_check: SelfCheck,
    /// What was waited for after CMD ended.
    pub settle: Settle,
    /// What this kernel lets us see.
    pub coverage: Vec<Coverage>,
    /// What was left and is known to be harmless.
    pub known: Known,
    /// Every process seen, in the order of their start.
    pub processes: Vec<Process>,
    /// Tests and other scopes that processes marked, in the order of their beginnings.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Errors and notes.
    pub findings: Vec<Finding>,
    /// What rules at level off saw, for `-v`; each has at most three instances. Not part of the
    /// JSON contract.
    #[serde(skip)]
    pub off: Vec<Finding>,
    /// What a baseline of this run would have: errors that no suppression covers. Not part of
    /// the JSON contract.
    #[serde(skip)]
    pub errors: Vec<baseline::Known>,
}

impl Report {
    /// Everything but the processes, the scopes and the findings.
    #[must_use]
    pub fn head(&self) -> Report {
        Report {
            schema: self.schema.clone(),
            tool: self.tool.clone(),
            clock: self.clock.clone(),
            command: self.command.clone(),
            policy: self.policy.clone(),
            child: self.child,
            exit: self.exit,
            verdict: self.verdict,
            inconclusive_because: self.inconclusive_because.clone(),
            not_judged: self.not_judged.clone(),
            environment: self.environment.clone(),
            events: self.events.clone(),
            self_check: self.self_check,
            settle: self.settle.clone(),
            coverage: self.coverage.clone(),
            known: self.known,
            processes: Vec::new(),
            scopes: Vec::new(),
            findings: Vec::new(),
            off: Vec::new(),
            errors: Vec::new(),
        }
    }
}

/// Version and place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// leaktrace's version.
    pub version: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
}

/// Clock readings taken together at attach.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// CLOCK_BOOTTIME, ns.
    pub boottime_ns: u64,
    /// CLOCK_REALTIME, ns since the epoch.
    pub realtime_ns: u64,
}

/// The policy file in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyFile {
    /// Its path; null for the defaults.
    pub path: Option<String>,
    /// Hash of its content; null for the defaults.
    pub sha256: Option<String>,
    /// Every suppression and expectation, and how often it fitted.
    #[serde(default)]
    pub suppressions: Vec<Suppression>,
    /// The baseline in force; null if none.
    #[serde(default)]
    pub baseline: Option<BaselineUse>,
    /// Suppressions that `--strict-suppressions` makes fail the run, a sentence each.
    #[serde(default)]
    pub complaints: Vec<String>,
}

/// A suppression and what it was good for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suppression {
    /// `LT109:path=/tmp/x-*`, `expect:comm=my-daemon`.
    pub form: String,
    /// Why; null where the command line does not say.
    pub reason: Option<String>,
    /// Where it stands (`leaktrace.toml:12`); null for the command line.
    pub source: Option<String>,
    /// Its last day, as 2026-12-31; null if it has none.
    pub expires: Option<String>,
    /// Whether that day is over, so that it does not count any more.
    pub expired: bool,
    /// How many things it covered.
    pub used: u64,
}

/// What a baseline was good for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineUse {
    /// Its path.
    pub path: String,
    /// Findings in it.
    pub known: u64,
    /// Of these, there again.
    pub again: u64,
}

/// How the root process ended; both null while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Child {
    /// Its exit status, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// This call's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// As seen by a shell (128+N for a signal).
    pub code: i32,
    /// Whose it is.
    pub because: Because,
}

/// Whose the exit code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// CMD's own.
    Child,
    /// Errors were found.
    Findings,
    /// Evidence was lost.
    Inconclusive,
    /// Cannot trace here.
    Unavailable,
    /// leaktrace failed.
    Internal,
    /// The command line was wrong.
    Usage,
    /// Nothing to complain about.
    Clean,
}

/// The outcome of a run or of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No unsuppressed error.
    #[default]
    Clean,
    /// At least one unsuppressed error.
    Findings,
    /// No claim: evidence was lost.
    Inconclusive,
}

/// Counts of records. Exact once the programs are detached and the ring is drained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Events {
    /// Set out to be written.
    pub produced: u64,
    /// Read.
    pub received: u64,
    /// Had no room.
    pub lost: u64,
    /// Handlers that did not run; null: this kernel does not count.
    pub not_run: Option<u64>,
    /// Of the lost ones those that cannot be replaced: births, ends, names, ipc objects.
    #[serde(default)]
    pub vital_lost: u64,
    /// Stacks for which there was no room (`-k`): what their calls did is told without them;
    /// absent if there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stacks_left_out: u64,
    /// Facts that leaktrace gave up because its lists of such are bounded; absent if there was
    /// none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub evicted: u64,
    /// By family.
    pub by_family: BTreeMap<String, FamilyEvents>,
    /// By CPU; empty if the run is of a version that did not count so.
    #[serde(default)]
    pub by_cpu: BTreeMap<u32, CpuEvents>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Counts of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FamilyEvents {
    /// Read.
    pub received: u64,
    /// Had no room.
    pub lost: u64,
}

/// Counts of one CPU: produced = received + lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuEvents {
    /// Set out to be written.
    pub produced: u64,
    /// Read.
    pub received: u64,
    /// Had no room.
    pub lost: u64,
}

/// fd tables compared with the kernel's walk at exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelfCheck {
    /// Tables.
    pub compared: u64,
    /// Tables that differed in at least one fd.
    pub differed: u64,
    /// Address spaces whose mapped pages were compared with the kernel's own count at exit.
    pub spaces_compared: u64,
    /// Of those, how many differed.
    pub spaces_differed: u64,
}

/// The wait after CMD's end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settle {
    /// ns.
    pub waited_ns: u64,
    /// For what, one phrase each; empty: nothing to wait for.
    pub r#for: Vec<String>,
}

/// What this kernel lets us see of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Family name.
    pub family: String,
    /// How much.
    pub status: CoverageStatus,
    /// Why not fully; null if full.
    pub reason: Option<String>,
}

/// How much of a family is seen.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CoverageStatus {
    /// Nothing.
    None,
    /// Some.
    Partial,
    /// Everything that leaktrace follows.
    Full,
}

/// What was left over but is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Known {
    /// Files and directories of known caches.
    pub caches: u64,
    /// Known daemons.
    pub daemons: u64,
    /// Findings suppressed by the user.
    pub suppressed: u64,
}

/// One process. What many processes have alike they share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// `pid:start_ns`.
    pub key: ProcessKey,
    /// Process id, initial namespace.
    pub pid: u32,
    /// As it sees itself.
    pub ns_pid: u32,
    /// Parent's pid.
    pub ppid: u32,
    /// Parent's key; null if not of the tree.
    pub parent: Option<ProcessKey>,
    /// Start, ns of CLOCK_BOOTTIME.
    pub start_ns: u64,
    /// End of its exit, ns of CLOCK_BOOTTIME; null while it lives.
    #[serde(default)]
    pub end_ns: Option<u64>,
    /// At its exit.
    pub comm: String,
    /// Path of the executable; null if not seen.
    pub exe: Option<String>,
    /// Arguments of the last exec; empty if not seen.
    pub argv: Arc<Vec<String>>,
    /// Real uid.
    pub uid: u32,
    /// cgroup v2 path or kernfs id; null if not known.
    pub cgroup: Option<String>,
    /// Container name; null if none.
    pub container: Option<String>,
    /// Outcome for this process.
    pub verdict: Verdict,
    /// How it ended; all null while it lives.
    pub exit: ProcessExit,
    /// One line's worth of counts.
    pub summary: Summary,
    /// Counts by kind.
    pub by_kind: Arc<BTreeMap<String, KindCounts>>,
    /// Explicit releases over the whole life, by class.
    #[serde(default)]
    pub by_class: BTreeMap<String, ClassCounts>,
    /// Every fd of the table at exit, inherited ones too, and rings, SysV attaches and shared
    /// mappings.
    pub held: Arc<Vec<Resource>>,
    /// Storage traffic; null where the kernel does not count.
    pub io: Option<Io>,
    /// What began teardown; null while it lives.
    #[serde(default)]
    pub trigger: Option<Trigger>,
    /// How well it ended; null while it lives.
    #[serde(default)]
    pub teardown: Option<Teardown>,
    /// Order of releases.
    pub order: Order,
    /// How long it took.
    pub timing_ns: Timing,
}

/// A test, or another part of a run, that a process marked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// As the process gave it; findings name it.
    pub name: String,
    /// Whose.
    pub process: ProcessKey,
    /// Its pid.
    pub pid: u32,
    /// Begin, ns of CLOCK_BOOTTIME.
    pub begin_ns: u64,
    /// End, ns of CLOCK_BOOTTIME; null if the process ended or the run was judged within it.
    pub end_ns: Option<u64>,
    /// File of the test: what stands before the first `::` of the name, if that is a path.
    pub file: Option<String>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessExit {
    /// Exit status; null if a signal ended it or it lives.
    pub code: Option<i32>,
    /// Signal; null if it exited or lives.
    pub signal: Option<i32>,
    /// Whether a core was dumped.
    pub core_dumped: bool,
}

/// Counts over fds, sockets, rings, SysV attaches and shared mappings; inherited ones are not
/// counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Acquisitions.
    pub acquired: u64,
    /// Explicit releases.
    pub released: u64,
    /// Entries of `held` with `inherited` false.
    pub held: u64,
    /// Things it created that are left and not suppressed.
    pub residue: u64,
    /// Bytes of the explicit releases.
    pub bytes_released: u64,
    /// Releases that the kernel refused; EBADF sweeps do not count.
    pub errors: u64,
}

/// Counts of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindCounts {
    /// Acquisitions.
    pub acquired: u64,
    /// Explicit releases.
    pub released: u64,
    /// At exit, or now.
    pub held: u64,
    /// Most at one time.
    pub peak: u64,
}

/// Explicit releases of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClassCounts {
    /// Of what the process had not inherited.
    pub released: u64,
    /// Their bytes; of mappings also of pieces that were given back.
    pub bytes_released: u64,
    /// Refused by the kernel.
    pub errors: u64,
    /// From entry to return, ns.
    pub release_ns: u64,
}

/// Storage traffic of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Io {
    /// Bytes.
    pub read_bytes: u64,
    /// Bytes.
    pub written_bytes: u64,
}

/// How well a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Teardown {
    /// The last TERM, INT or QUIT that came; null: none.
    pub asked: Option<Asked>,
    /// From then to exit_group, or to the end by the signal's default action, ns; null if it was
    /// not asked, or did not obey.
    pub obeyed_ns: Option<u64>,
    /// It was asked, did not go, and was killed; null otherwise.
    pub escalation: Option<Escalation>,
    /// Threads besides its own that still ran when exit_group was called.
    pub threads: u32,
    /// Its children since teardown began.
    pub children: TeardownChildren,
    /// Releases that the kernel refused since then.
    pub errors: u64,
    /// Requests of rings that were in flight when their ring went.
    pub abandoned: u64,
    /// Calls that had waited for a second or longer and ended with the teardown.
    pub cancelled: u64,
    /// What signals would have met it with at its end.
    #[serde(default)]
    pub signals: SignalsAtEnd,
}

/// Signals by name, at the end of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalsAtEnd {
    /// With a handler.
    pub handled: Vec<String>,
    /// Ignored, as far as a call was seen to say so.
    pub ignored: Vec<String>,
    /// Blocked by the thread that called exit_group; empty where none did.
    pub blocked: Vec<String>,
    /// Pending then: nobody takes them any more.
    pub pending: Vec<String>,
}

/// A request to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// `SIGTERM`.
    pub signal: String,
    /// When, ns of CLOCK_BOOTTIME.
    pub at_ns: u64,
    /// Who sent it; null: the kernel.
    pub by_pid: Option<u32>,
    /// Its comm then.
    pub by_comm: String,
}

/// A kill after a request that was not obeyed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Escalation {
    /// The first request.
    pub from: String,
    /// `SIGKILL`.
    pub to: String,
    /// Time between the two, ns.
    pub after_ns: u64,
    /// Who killed it; null: not known.
    pub by_pid: Option<u32>,
}

/// Children of a process since its teardown began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeardownChildren {
    /// It sent them a signal that ends a process.
    pub killed: u64,
    /// Somebody waited for them before its end.
    pub reaped: u64,
    /// They ran when it ended.
    pub orphaned: u64,
}

/// What began the teardown of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trigger {
    /// When, ns of CLOCK_BOOTTIME.
    pub at_ns: u64,
    /// `SIGTERM from 4126 (sh)`, `the final run of releases`, `exit_group`…
    pub cause: String,
}

/// Release order of one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// `instance`, `global`, `class:fds-first`, `class:mappings-first`.
    pub mode: String,
    /// Releases judged.
    pub checked: u64,
    /// Breaches, whatever the rule's level.
    pub breaches: u64,
    /// 1 - breaches / checked; null when nothing was judged.
    pub score: Option<f64>,
    /// Threads that made the judged releases.
    #[serde(default)]
    pub threads: u64,
    /// Why nothing was judged; absent when something was or there was nothing to judge.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_judged: Option<String>,
}

/// Durations, ns; null where no event exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timing {
    /// Trigger to end of exit.
    pub teardown: Option<u64>,
    /// exit_group entry, or the fatal signal, to end of exit.
    pub kernel: Option<u64>,
    /// Parts of `kernel`, in the order in which they happened.
    pub kernel_phases: Option<KernelPhases>,
    /// End of exit to the parent's wait return.
    pub reap: Option<u64>,
    /// What went on after that.
    pub r#async: Option<u64>,
    /// Sum of the explicit release durations after the trigger, by class.
    pub by_class: BTreeMap<String, u64>,
}

/// Parts of the kernel's exit, ns. From Linux 6.16 on `sched_process_exit` comes before the
/// address space is unmapped, below it after; a part whose two ends were not seen is null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelPhases {
    /// exit_group entry or fatal signal to `sched_process_exit`: other threads stop.
    pub stop: Option<u64>,
    /// `sched_process_exit` to `exit_mmap`: the address space is unmapped.
    pub exit_mmap: Option<u64>,
    /// From there to the signal to the parent: files, task work.
    pub files: Option<u64>,
    /// In the kernel's function `exit_mmap`; this and what follows are null where the kernel lets no
    /// program into its functions (`doctor` says so).
    #[serde(default)]
    pub in_exit_mmap: Option<u64>,
    /// In its function `exit_files`: the fd table is left, and closed if nobody shares it.
    #[serde(default)]
    pub in_exit_files: Option<u64>,
    /// From there until what was closed is released: the last references go, sockets linger.
    #[serde(default)]
    pub last_references: Option<u64>,
}

/// One resource. Fields that do not apply are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Resource {
    /// `file`, `tcp`, `sysv-shm`, `process`…
    pub kind: String,
    /// `fd`, `socket`, `ipc`…
    pub class: String,
    /// Number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd: Option<i32>,
    /// Path or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `s_dev` as `major:minor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Inode number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ino: Option<u64>,
    /// ipc id, or pid of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// Address of a mapping or attach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<u64>,
    /// Mapping length, shm size, ring size; entries' bytes of a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Directory: entries in it, at any depth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// SysV shared memory: attached now; message queue: messages in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u64>,
    /// Local address of a socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// Peer address of a socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Always present in `held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherited: Option<bool>,
    /// ns of CLOCK_BOOTTIME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acquired_ns: Option<u64>,
    /// ns of CLOCK_BOOTTIME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released_ns: Option<u64>,
    /// Thread that acquired it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    /// Syscall that acquired it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscall: Option<String>,
    /// How an fd came: `made`, `dup`, `inherited at fork`, `passed over a socket`…
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// State of a stream socket: `listening`, `connecting`, `connected`, `closing`,
    /// `not connected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Direct descriptors of an io_uring ring: files in its own table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direct: Option<u32>,
    /// Registered buffers of an io_uring ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffers: Option<u32>,
    /// Stack of the acquisition, innermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
}

/// Error or note; `off` observations are not findings.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Counted in the summary only.
    Off,
    /// Shown, never fails unless named.
    Note,
    /// Fails.
    Error,
}

/// Something a rule saw that is at least a note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// `LT103`.
    pub rule: String,
    /// `sysv-shm-left`.
    pub name: String,
    /// `residue`, `held`, `order`, `misuse`, `time`, `hazard`.
    pub group: String,
    /// As judged; suppression does not change it.
    pub level: Level,
    /// Kind of the resource.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// LT101, LT102: the survivor or zombie; otherwise who acquired the thing.
    pub process: ProcessKey,
    /// Its pid.
    pub pid: u32,
    /// Its comm at exit.
    pub comm: String,
    /// Instances with the same rule, exe and site.
    pub count: u64,
    /// Every one of them, the first included.
    pub instances: Vec<Instance>,
    /// Identity of the finding across runs: the least of its instances'; null of what is off.
    pub fingerprint: Option<String>,
    /// Test or other scope; null if none.
    pub scope: Option<String>,
    /// Top stack frame, or the acquiring syscall.
    pub site: Option<String>,
    /// File and line, if known.
    pub location: Option<Location>,
    /// The resource.
    pub resource: Resource,
    /// The other one of an order breach; null otherwise.
    pub other: Option<Resource>,
    /// What the survivor holds.
    pub caused: Vec<Resource>,
    /// Who keeps it alive.
    pub kept_alive_by: Vec<Keeper>,
    /// When the census found it still there, ns of CLOCK_BOOTTIME; null where no census was
    /// needed.
    #[serde(default)]
    pub confirmed_ns: Option<u64>,
    /// Null, or `allow:…`, `baseline:…`.
    pub suppressed_by: Option<String>,
}

/// One instance of a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Who.
    pub process: ProcessKey,
    /// Its pid.
    pub pid: u32,
    /// Its comm.
    pub comm: String,
    /// Identity of this one across runs; null of what is off.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// What.
    pub resource: Resource,
    /// The other one of an order breach; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub other: Option<Resource>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// Path, relative to the repository's root.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; absent if not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u32>,
}

/// A process that keeps something alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Keeper {
    /// Its pid.
    pub pid: u32,
    /// Its comm.
    pub comm: String,
    /// Through which fd.
    pub fd: Option<i32>,
    /// How it got it.
    pub how: String,
}
