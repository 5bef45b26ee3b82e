//! Loading and attaching.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{BtfTracePoint, KProbe, Program, ProgramError, links::FdLink},
};
use leaktrace_common::{
    ABI_VERSION,
    abi::{self, Config, Offsets, TARGET_BUCKETS},
    record::FAMILY_SLOTS,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zerocopy::IntoBytes;

use crate::{
    census::{Further, host, memory},
    deputy::{self, Started},
    launch::{has_room_for, privilege},
};

use super::{
    btf, called, diagnostics,
    engine::Found,
    events,
    health::{self, Outcome, Preemption, Way},
    inside,
    local::Local,
    loss::Loss,
    mapped,
    object::{self, Because, Object},
    probe::{PROBES, Probe, WAYS},
    programs::Programs,
    selftest, syscalls,
};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Files that are opened from here on: 19 maps, up to 14 programs and their links, an iterator at a time,
/// and what the census looks at. Where functions are used there are two programs more that make the
/// kernel go that way, with a link each.
const FILES: u32 = 50;
const FILES_BY_FUNCTIONS: u32 = 56;

/// What the kernel takes while it verifies the programs, on as many CPUs as there are: 128 MiB
/// were seen on two, of which 40 MiB remain, the most of that the ring.
const MEMORY: u64 = 152 << 20;

/// Whose records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// The tree below the held child.
    Tree,
    /// Every process but leaktrace's own.
    System,
    /// Processes that are there, and the trees below them.
    Targets(Targets),
}

/// Which processes to watch that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// kernfs id and depth of the v2 cgroup whose programs are watched, also those that are
    /// started later.
    pub cgroup: Option<(u64, u32)>,
}

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Whose records.
    pub scope: Scope,
    /// Bytes of the ring; rounded up to a power of two of at least one page.
    pub ring_bytes: u32,
    /// Wake the reader when this many bytes wait.
    pub wake_bytes: u32,
    /// Diagnostics of the programs go to stderr.
    pub diagnostics: Diagnostics,
    /// Stacks of acquisitions.
    pub stacks: Stacks,
    /// Times in the kernel's functions of exit.
    pub exit_times: ExitTimes,
    /// Loss on demand, for tests.
    pub loss: Option<Loss>,
}

/// Whether the stacks of calls that acquire something are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stacks {
    /// No: the code is pruned by the verifier.
    #[default]
    Off,
    /// They are.
    Told,
}

/// Whether the parts of exit are timed, where the kernel lets programs into its functions. It takes long
/// to let them in and out: the kernel waits until every task has left what it replaces
/// (`bpf_trampoline_update` in kernel/bpf/trampoline.c, v6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitTimes {
    /// No: a run starts and ends as quickly as it can.
    #[default]
    Off,
    /// They are.
    Told,
}

/// Whether the programs tell what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostics {
    /// No: the code is pruned by the verifier.
    Off,
    /// To stderr.
    Stderr,
}

impl LoadOptions {
    /// What `run` and `check` use.
    pub fn tree() -> Self {
        LoadOptions {
            scope: Scope::Tree,
            ring_bytes: 32 << 20,
            wake_bytes: 512 << 10,
            diagnostics: Diagnostics::Off,
            stacks: Stacks::Off,
            exit_times: ExitTimes::Off,
            // What is malformed has been refused before anything ran.
            loss: Loss::from_environment().ok().flatten(),
        }
    }

    /// What judges processes that leaktrace did not start.
    pub fn targets(targets: Targets) -> Self {
        LoadOptions {
            scope: Scope::Targets(targets),
            ..LoadOptions::tree()
        }
    }

    /// What the system-wide views use.
    pub fn system() -> Self {
        LoadOptions {
            scope: Scope::System,
            ..LoadOptions::tree()
        }
    }
}

/// Why this kernel, here and now, cannot be traced. One sentence: what, why, what to do.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// No type information.
    #[error(
        "cannot read `{VMLINUX}` ({0}): leaktrace needs a kernel with CONFIG_DEBUG_INFO_BTF; \
         run `leaktrace doctor`"
    )]
    NoBtf(std::io::Error),
    /// Type information that cannot be read.
    #[error("cannot understand `{VMLINUX}` ({0}); run `leaktrace doctor`")]
    BadBtf(String),
    /// The right is missing.
    #[error(
        "cannot load eBPF programs (permission denied): leaktrace needs root, or CAP_BPF and \
         CAP_PERFMON; run it with sudo"
    )]
    NoPermission,
    /// Neither is it there, nor does sudo give it without asking for a password; why.
    #[error(
        "leaktrace needs root, or CAP_BPF and CAP_PERFMON, or a sudo that asks for no password \
         ({0}); run it with sudo"
    )]
    NoDeputy(String),
    /// The deputy says why, or how it ended.
    #[error("{0}")]
    Deputy(String),
    /// The user may trace by the file's capabilities only.
    #[error(
        "file capabilities show a user what leaktrace starts, as in `-- CMD`, and not what others \
         do; run it with sudo"
    )]
    Others,
    /// The process may not open what it needs to.
    #[error(
        "leaktrace needs {0} more open files of its own, which the limit (ulimit -n) does not \
         allow"
    )]
    Files(u32),
    /// To load the programs would take more memory than the cgroup has, and the kernel would end
    /// leaktrace, or something else in there.
    #[error(
        "the memory limit of this cgroup leaves {} MiB, and to verify the programs the kernel \
         takes up to {} MiB for a moment; raise the limit",
        room >> 20,
        MEMORY >> 20
    )]
    Memory {
        /// Bytes left.
        room: u64,
    },
    /// No thread can be made: the limit of the cgroup (pids.max) or of the user (ulimit -u), or a time
    /// namespace that only children enter (time_namespaces(7)), with which the kernel refuses threads
    /// (copy_namespaces in kernel/nsproxy.c, v6.1; from a later Linux on exec enters it).
    #[error(
        "leaktrace cannot make a thread ({0}): see pids.max of this cgroup and ulimit -u, and whether \
         `unshare --time` has no --fork"
    )]
    Threads(std::io::Error),
    /// Before Linux 5.11 maps are locked memory.
    #[error(
        "the limit of locked memory (ulimit -l) is too small for the programs' maps, which this \
         kernel counts there (before Linux 5.11), and may not be raised ({0}); raise it, or give \
         CAP_SYS_RESOURCE"
    )]
    LockedMemory(std::io::Error),
    /// Anything else.
    #[error("cannot load eBPF programs ({0}); run `leaktrace doctor`")]
    Load(String),
    /// A probe without which nothing can be said does not attach.
    #[error("cannot attach to `{hook}` ({why}); run `leaktrace doctor`")]
    Probe {
        /// The tracepoint.
        hook: &'static str,
        /// A clause.
        why: String,
        /// What became of every probe.
        outcomes: Vec<(Probe, Outcome)>,
    },
}

impl Unavailable {
    /// Whether the kernel has looked at a program and does not take it.
    fn is_refusal(&self) -> bool {
        let Unavailable::Probe { outcomes, .. } = self else {
            return false;
        };
        health::missing_required(outcomes)
            .iter()
            .all(|(_, outcome)| matches!(outcome, Outcome::Refused(_)))
    }
}

/// Loads and attaches every probe that this kernel has, or has a deputy do it where this process
/// may not.
///
/// # Errors
/// When nothing useful can be traced here; see [`Unavailable`].
pub fn load(options: &LoadOptions) -> Result<Programs, Unavailable> {
    let failed = |why: anyhow::Error| Unavailable::Load(format!("{why:#}"));
    if is_for_deputy(options.scope) {
        let Started {
            deputy,
            found,
            further,
        } = deputy::start(options)?;
        let further: Box<dyn Further> = Box::new(further);
        return Programs::new(Box::new(deputy), found, Some(further), options).map_err(failed);
    }
    let (local, found) = load_here(options, std::process::id(), None)?;
    Programs::new(Box::new(local), found, None, options).map_err(failed)
}

/// Whether this process may not load the programs, or not show what they tell, and there may be
/// somebody who may.
pub(super) fn is_for_deputy(scope: Scope) -> bool {
    let shows = scope == Scope::Tree || privilege::may_show_others();
    !(privilege::is_root() || privilege::may_load() && shows)
}

/// Loads and attaches for another process, which reads what the programs tell.
///
/// # Errors
/// See [`load`].
pub fn load_for(options: &LoadOptions, reader: u32) -> Result<(Local, Found), Unavailable> {
    load_here(options, reader, Some(std::process::id()))
}

/// The same in this process. Of `reader` and `deputy` nothing is told.
pub(super) fn load_here(
    options: &LoadOptions,
    reader: u32,
    deputy: Option<u32>,
) -> Result<(Local, Found), Unavailable> {
    if options.scope != Scope::Tree && !privilege::may_show_others() {
        return Err(Unavailable::Others);
    }
    let _rights = privilege::taken_up();
    if !has_room_for(FILES) {
        return Err(Unavailable::Files(FILES));
    }
    if let Some(room) = memory::room().filter(|room| *room < MEMORY) {
        return Err(Unavailable::Memory { room });
    }
    // What answers for the kernel's tables is a thread, and what loads the programs is quicker by
    // threads: a sentence now is better than one amid it.
    let (loader, types) = thread::scope(|scope| {
        // It reads the kernel's types by itself, wanted or not.
        let loader = thread::Builder::new().spawn_scoped(scope, EbpfLoader::new)?;
        let types = KernelTypes::read();
        let loader = loader.join().unwrap_or_else(|_| EbpfLoader::new());
        Ok((loader, types))
    })
    .map_err(Unavailable::Threads)?;
    let KernelTypes {
        types,
        offsets,
        preemption,
    } = types?;
    if preemption == Preemption::Possible && !has_room_for(FILES_BY_FUNCTIONS) {
        return Err(Unavailable::Files(FILES_BY_FUNCTIONS));
    }
    let nonce = nonce();
    let which = Object::for_this_kernel(&types);
    let raised = match which {
        Object::Full => Ok(()),
        Object::Reduced { .. } => object::raise_locked_memory(),
    };
    let cpus = mapped::cpus().map_err(|why| Unavailable::Load(format!("{why:#}")))?;
    let config = configuration(options, (reader, deputy), cpus, nonce);
    let kernel = Kernel {
        offsets: &offsets,
        types: &types,
        preemption,
        cpus,
    };
    let mut refused = None;
    let mut loaded = match (kernel.take(loader, which, options, &config), raised) {
        (Err(Unavailable::NoPermission), Err(why)) => return Err(Unavailable::LockedMemory(why)),
        // A distribution's verifier may be another than Linux's of that version: less is better
        // than nothing.
        (Err(why), _) if which == Object::Full && why.is_refusal() => {
            let reduced = Object::reduced(&types, Because::Refused);
            let loaded = kernel.take(EbpfLoader::new(), reduced, options, &config);
            let Ok(loaded) = loaded else {
                return Err(why);
            };
            refused = Some(why);
            loaded
        }
        (loaded, _) => loaded?,
    };
    if options.exit_times == ExitTimes::Told {
        loaded.inside = inside::attach(&mut loaded.ebpf, &types);
    }
    let uncalled = self_test(&mut loaded, &types, nonce, options)?;
    // The kernel's types are several times what a run of a small program needs.
    drop(types);
    host::give_back_memory();
    let (local, mut found) =
        Local::new(loaded, &offsets, nonce, options, preemption).map_err(not_loaded)?;
    if let Some(Unavailable::Probe { outcomes, .. }) = &refused {
        health::reduced(&mut found.coverage, outcomes);
    }
    health::uncalled(&mut found.coverage, &uncalled);
    if preemption == Preemption::Possible
        && let Some(why) = events::refused()
    {
        health::without_functions(&mut found.coverage, local.outcomes(), &why);
    }
    Ok((local, found))
}

/// What loading needs to know of the kernel.
#[derive(Clone, Copy)]
struct Kernel<'k> {
    offsets: &'k Offsets,
    types: &'k Btf,
    preemption: Preemption,
    cpus: u32,
}

impl Kernel<'_> {
    /// Loads and attaches a build of the programs. Where one that is needed does not run none of
    /// them stays.
    fn take(
        self,
        loader: EbpfLoader<'static>,
        which: Object,
        options: &LoadOptions,
        config: &Config,
    ) -> Result<Loaded, Unavailable> {
        let known = (self.offsets, self.types);
        let mut ebpf = create(loader, which, options, (config, self.cpus), known)?;
        if self.preemption == Preemption::Impossible {
            // No program that knows it by its fd will be loaded: that is one file less.
            drop(ebpf.take_map(called::MAP));
        }
        let (links, mut outcomes) = attach(&mut ebpf, which, self.types, self.preemption);
        if let (Object::Full, Some(loss)) = (which, options.loss) {
            loss.refuse(&mut outcomes);
        }
        require(&outcomes)?;
        Ok(Loaded {
            ebpf,
            which,
            links,
            inside: Ok(Vec::new()),
            outcomes,
        })
    }
}

fn not_loaded(why: anyhow::Error) -> Unavailable {
    // The self-test takes two threads.
    match why.downcast_ref::<std::io::Error>() {
        Some(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
            Unavailable::Threads(std::io::Error::from_raw_os_error(libc::EAGAIN))
        }
        _ => Unavailable::Load(format!("{why:#}")),
    }
}

/// What the kernel says of its own types.
struct KernelTypes {
    types: Btf,
    offsets: Offsets,
    preemption: Preemption,
}

impl KernelTypes {
    fn read() -> Result<KernelTypes, Unavailable> {
        let bytes = fs::read(VMLINUX).map_err(Unavailable::NoBtf)?;
        let bad = |why: &dyn std::fmt::Display| Unavailable::BadBtf(why.to_string());
        // Both take a tenth of a start's time.
        let (own, types) = thread::scope(|scope| {
            let parse = || Btf::parse(&bytes, aya::Endianness::default());
            let types = thread::Builder::new().spawn_scoped(scope, parse);
            let own = btf::Btf::parse(&bytes)
                .map(|own| (btf::offsets(&own), health::preemption(&own, version())));
            let types = types.map(|types| types.join().unwrap_or_else(|_| parse()));
            (own, types)
        });
        let (offsets, preemption) = own.map_err(|why| bad(&why))?;
        let types = types
            .map_err(Unavailable::Threads)?
            .map_err(|why| bad(&why))?;
        Ok(KernelTypes {
            types,
            offsets,
            preemption,
        })
    }
}

fn require(outcomes: &[(Probe, Outcome)]) -> Result<(), Unavailable> {
    let missing = health::missing_required(outcomes);
    let Some((probe, outcome)) = missing.first() else {
        return Ok(());
    };
    if matches!(outcome, Outcome::Refused(why) if why.contains("not permitted")) {
        return Err(Unavailable::NoPermission);
    }
    Err(Unavailable::Probe {
        hook: probe.hook,
        why: outcome.clause(),
        outcomes: outcomes.to_vec(),
    })
}

/// Whether this kernel may be one that preempts programs on tracepoints.
pub fn may_need_functions() -> bool {
    version().is_none_or(|version| version >= health::PREEMPTS)
}

/// Major and minor number of the running kernel.
fn version() -> Option<(u32, u32)> {
    let release = host::tool().kernel;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse::<u32>().ok();
    Some((next()?, next()?))
}

fn configuration(
    options: &LoadOptions,
    (reader, deputy): (u32, Option<u32>),
    cpus: u32,
    nonce: u64,
) -> Config {
    let target_cgroup = match options.scope {
        Scope::Targets(targets) => targets.cgroup.unwrap_or_default(),
        Scope::Tree | Scope::System => (0, 0),
    };
    Config {
        abi: ABI_VERSION,
        mode: match options.scope {
            Scope::Tree => abi::mode::TREE,
            Scope::System => abi::mode::SYSTEM,
            Scope::Targets(_) => abi::mode::TARGETS,
        },
        nonce,
        self_pid: reader,
        deputy_pid: deputy.unwrap_or(0),
        wake_bytes: options.wake_bytes,
        target_cgroup: target_cgroup.0,
        target_level: target_cgroup.1,
        stacks: u32::from(options.stacks == Stacks::Told),
        cpu_bits: u32::BITS - (cpus - 1).leading_zeros(),
    }
}

fn create(
    loader: EbpfLoader<'static>,
    which: Object,
    options: &LoadOptions,
    (config, cpus): (&Config, u32),
    (offsets, types): (&Offsets, &Btf),
) -> Result<Ebpf, Unavailable> {
    let target_buckets = match options.scope {
        Scope::Targets(_) => TARGET_BUCKETS,
        Scope::Tree | Scope::System => 1,
    };
    let handlers = syscalls::table();
    let asked = options.loss.and_then(|loss| loss.ring_bytes);
    let ring_bytes = asked.unwrap_or(options.ring_bytes);
    let level = match options.diagnostics {
        Diagnostics::Off => 0u8,
        Diagnostics::Stderr => diagnostics::LEVEL,
    };
    let mut loader: EbpfLoader<'_> = loader;
    loader
        .btf(Some(types))
        .override_global("CONFIG", config.as_bytes(), true)
        .override_global("OFFSETS", offsets.as_bytes(), true)
        .override_global("HANDLERS", &handlers[..], true)
        .override_global("AYA_LOG_LEVEL", &level, false)
        .map_max_entries("RING", ring_size(ring_bytes))
        .map_max_entries("TARGETS", target_buckets)
        .map_max_entries("COUNTS", cpus * FAMILY_SLOTS as u32)
        .map_max_entries("TASKS", task_slots());
    loader.load(which.bytes()).map_err(|why| {
        let text = chain(&why);
        if text.contains("ermission denied") || text.contains("not permitted") {
            Unavailable::NoPermission
        } else {
            Unavailable::Load(text)
        }
    })
}

/// Room for every task that the machine can have at once, up to a bound: 64 Ki slots are
/// 8 MiB of kernel memory.
fn task_slots() -> u32 {
    let max = fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .unwrap_or(32768);
    max.clamp(4096, 65536)
}

fn ring_size(bytes: u32) -> u32 {
    bytes
        .max(4096)
        .checked_next_power_of_two()
        .unwrap_or(1 << 31)
}

fn nonce() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is eight bytes.
    let read = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if read == 8 {
        u64::from_ne_bytes(bytes)
    } else {
        // Early boot only; uniqueness among concurrent runs is what matters.
        host::boottime_ns() ^ u64::from(std::process::id()) << 32
    }
}

/// What is in the kernel.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) which: Object,
    pub(super) links: Links,
    pub(super) inside: inside::Attached,
    pub(super) outcomes: Vec<(Probe, Outcome)>,
}

/// By program name.
type Links = BTreeMap<&'static str, FdLink>;

/// Links, and what became of every probe.
type Attached = (Links, Vec<(Probe, Outcome)>);

/// A program and what it is to hang on.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    program: &'static str,
    hook: &'static str,
    way: Way,
}

impl Wanted {
    fn by_tracepoint(probe: &Probe) -> Wanted {
        Wanted {
            program: probe.program,
            hook: probe.hook,
            way: Way::Tracepoint,
        }
    }

    /// By the function where there is one, and the tracepoint's program could be skipped.
    fn of(probe: &Probe, preemption: Preemption) -> Wanted {
        match probe.function {
            Some(function) if preemption == Preemption::Possible => Wanted {
                program: function.program,
                hook: function.name,
                way: Way::Function,
            },
            Some(_) | None => Wanted::by_tracepoint(probe),
        }
    }
}

fn attach(ebpf: &mut Ebpf, which: Object, types: &Btf, preemption: Preemption) -> Attached {
    let mut wanted: Vec<_> = PROBES
        .iter()
        .map(|probe| Wanted::of(probe, preemption))
        .collect();
    let mut ways = Vec::new();
    if preemption == Preemption::Possible {
        ways.extend(WAYS.iter().map(|(program, hook)| Wanted {
            program,
            hook,
            way: Way::Tracepoint,
        }));
    }
    wanted.extend(&ways);
    let mut loaded = verify(ebpf, types, &wanted);
    let mut links = BTreeMap::new();
    let mut of = |wanted: Wanted| loaded.remove(wanted.program).unwrap_or(Ok(Hook::Absent));
    let open: Vec<&str> = ways
        .into_iter()
        .filter(|way| attach_to(ebpf, &mut links, *way, of(*way)).is_attached())
        .map(|way| way.program)
        .collect();
    let mut outcomes = Vec::new();
    for probe in PROBES {
        if let Some(why) = which.leaves_out(probe.program) {
            outcomes.push((*probe, Outcome::LeftOut(why)));
            continue;
        }
        let wanted = Wanted::of(probe, preemption);
        let mut outcome = Outcome::NoHook;
        let ways = probe.function.map_or(&[][..], |function| function.ways);
        if wanted.way == Way::Tracepoint || ways.iter().all(|way| open.contains(way)) {
            outcome = attach_to(ebpf, &mut links, wanted, of(wanted));
        }
        // Where the function cannot be had, the tracepoint is.
        if wanted.way == Way::Function && !outcome.is_attached() {
            outcome = attach_late(ebpf, &mut links, Wanted::by_tracepoint(probe), types);
        }
        outcomes.push((*probe, outcome));
    }
    (links, outcomes)
}

/// Attaches a program that was verified with the others.
fn attach_to(
    ebpf: &mut Ebpf,
    links: &mut Links,
    wanted: Wanted,
    loaded: Result<Hook, ProgramError>,
) -> Outcome {
    match loaded.and_then(|hook| attach_one(ebpf, wanted, hook)) {
        Ok(Some(link)) => {
            links.insert(wanted.program, link);
            Outcome::Attached(wanted.way)
        }
        Ok(None) => Outcome::NoHook,
        Err(why) => Outcome::Refused(short(&chain(&why))),
    }
}

/// Has the kernel verify another program, and attaches it.
fn attach_late(ebpf: &mut Ebpf, links: &mut Links, wanted: Wanted, types: &Btf) -> Outcome {
    let loaded = ebpf
        .program_mut(wanted.program)
        .map_or(Ok(Hook::Absent), |program| load_one(program, wanted, types));
    attach_to(ebpf, links, wanted, loaded)
}

/// Whether programs at functions are run, and all of them under contention: what is skipped then the
/// kernel counts. Those that are never run give way to the ones on tracepoints, and are told.
fn self_test(
    loaded: &mut Loaded,
    types: &Btf,
    nonce: u64,
    options: &LoadOptions,
) -> Result<Vec<Probe>, Unavailable> {
    let failed = |why: anyhow::Error| not_loaded(why.context("run the self-test"));
    let trial = called::begin(&loaded.outcomes).map_err(|why| failed(why.into()))?;
    selftest::contend(nonce).map_err(|why| failed(why.into()))?;
    let mut uncalled = trial.uncalled(&loaded.ebpf).map_err(failed)?;
    // All that know it by its fd are loaded by now.
    drop(loaded.ebpf.take_map(called::MAP));
    if options.loss.is_some_and(Loss::leaves_uncalled) {
        uncalled = called::all(&loaded.outcomes);
    }
    let mut replaced = Vec::new();
    for (probe, outcome) in &mut loaded.outcomes {
        let Some(function) = probe.function else {
            continue;
        };
        if !uncalled.contains(&function.program) {
            continue;
        }
        let wanted = Wanted::by_tracepoint(probe);
        *outcome = attach_late(&mut loaded.ebpf, &mut loaded.links, wanted, types);
        loaded.links.remove(function.program);
        replaced.push(*probe);
    }
    require(&loaded.outcomes)?;
    Ok(replaced)
}

/// Whether this kernel has what a program is to be attached to. Of a function that is known when
/// it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    Present,
    Absent,
}

/// Programs that take longest to verify, the longest last (`verified` in `doctor --json`): more than half of
/// all instructions.
const LARGEST: [&str; 4] = ["task_newtask", "f_newtask", "sys_exit", "f_sys_exit"];

/// Has the kernel verify programs. Nearly all of a start's time goes there, and for those
/// who may load programs the verifier takes no lock (bpf_check in kernel/bpf/verifier.c, v6.1),
/// so every CPU verifies one, the largest first.
fn verify(
    ebpf: &mut Ebpf,
    types: &Btf,
    wanted: &[Wanted],
) -> BTreeMap<&'static str, Result<Hook, ProgramError>> {
    let mut programs: BTreeMap<String, &mut Program> = ebpf
        .programs_mut()
        .map(|(name, program)| (name.to_owned(), program))
        .collect();
    let mut wanted = wanted
        .iter()
        .filter_map(|wanted| Some((*wanted, programs.remove(wanted.program)?)))
        .collect::<Vec<_>>();
    // The last is taken first.
    wanted.sort_by_key(|(wanted, _)| LARGEST.contains(&wanted.program));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(wanted);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        let mut verified = Vec::new();
        while let Some((wanted, program)) = next() {
            verified.push((wanted.program, load_one(program, wanted, types)));
        }
        verified
    };
    thread::scope(|scope| {
        // Where there is room for fewer threads, fewer do the work.
        let other = || thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..workers).map_while(|_| other()).collect();
        let mut verified = work();
        for other in others {
            // A panic there has been shown; what it had not verified counts as absent.
            verified.extend(other.join().unwrap_or_default());
        }
        verified.into_iter().collect()
    })
}

fn load_one(program: &mut Program, wanted: Wanted, types: &Btf) -> Result<Hook, ProgramError> {
    if wanted.way == Way::Function {
        let program: &mut KProbe = program.try_into()?;
        return program.load().map(|()| Hook::Present);
    }
    let program: &mut BtfTracePoint = program.try_into()?;
    for hook in wanted.hook.split('|') {
        match program.load(hook, types) {
            Err(ProgramError::Btf(aya::BtfError::UnknownBtfTypeName { .. })) => {}
            loaded => return loaded.map(|()| Hook::Present),
        }
    }
    Ok(Hook::Absent)
}

fn attach_one(ebpf: &mut Ebpf, wanted: Wanted, hook: Hook) -> Result<Option<FdLink>, ProgramError> {
    let program = match hook {
        Hook::Absent => return Ok(None),
        Hook::Present => ebpf.program_mut(wanted.program),
    };
    let Some(program) = program else {
        return Ok(None);
    };
    if wanted.way == Way::Function {
        let program: &mut KProbe = program.try_into()?;
        let id = program.attach(wanted.hook, 0)?;
        let link = program.take_link(id)?;
        // The kernels that preempt programs have links for these (5.15).
        return Ok(FdLink::try_from(link).ok());
    }
    let program: &mut BtfTracePoint = program.try_into()?;
    let id = program.attach()?;
    let link = program.take_link(id)?;
    Ok(Some(link.into()))
}

/// An error and its causes, joined.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

/// What a refusal comes down to: the verifier's log ends with statistics, the complaint is the
/// line before them.
pub(super) fn short(text: &str) -> String {
    let line = match text.split_once("Verifier output:") {
        None => text.lines().next().unwrap_or(text),
        Some((error, log)) => log
            .lines()
            .map(str::trim)
            .take_while(|line| !line.starts_with("verification time"))
            .filter(|line| !line.is_empty())
            .last()
            .unwrap_or_else(|| error.trim_end().trim_end_matches('.')),
    };
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_verified_first_is_there() {
        let functions = PROBES.iter().filter_map(|probe| probe.function);
        let mut programs: Vec<&str> = functions.map(|function| function.program).collect();
        programs.extend(PROBES.iter().map(|probe| probe.program));
        assert!(LARGEST.iter().all(|program| programs.contains(program)));
    }

    #[test]
    fn a_refusal_is_told_by_the_verifiers_complaint() {
        let text = "the BPF_PROG_LOAD syscall returned Permission denied (os error 13). \
                    Verifier output: 1: (85) call x\ncombined stack size of 2 calls is 560. Too \
                    large\nverification time 4833 usec\nstack depth 232+0+320\n";
        assert_eq!(
            short(text),
            "combined stack size of 2 calls is 560. Too large"
        );
        assert_eq!(short("no such file"), "no such file");
        assert_eq!(
            short("not permitted (os error 1). Verifier output: \n"),
            "not permitted (os error 1)"
        );
    }
}
