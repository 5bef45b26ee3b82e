//! Loading: from what is known of the kernel to programs that run.

use std::{fs, thread};

use aya::{Btf, Ebpf, EbpfLoader};
use leaktrace_common::{
    ABI_VERSION,
    abi::{self, Config, Offsets, TARGET_BUCKETS},
    record::FAMILY_SLOTS,
};
use zerocopy::IntoBytes;

use crate::{
    census::{Further, host, memory},
    deputy::{self, Started},
    launch::{has_room_for, privilege},
};

use super::{
    attach::{Links, attach, attach_late, chain},
    btf, called, diagnostics,
    engine::Found,
    events,
    health::{self, Outcome, Preemption},
    inside,
    local::Local,
    loss::Loss,
    mapped,
    object::{self, Because, Object},
    options::{Diagnostics, ExitTimes, LoadOptions, Scope, Stacks},
    probe::Probe,
    programs::Programs,
    selftest, syscalls,
    unavailable::Unavailable,
};

pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Files that are opened from here on: 19 maps, up to 14 programs and their links, an iterator at a time,
/// and what the census looks at. Where functions are used there are two programs more that make the
/// kernel go that way, with a link each.
const FILES: u32 = 50;
const FILES_BY_FUNCTIONS: u32 = 56;

/// What the kernel takes while it verifies the programs, on as many CPUs as there are: 128 MiB
/// were seen on two, of which 40 MiB remain, the most of that the ring.
pub(super) const MEMORY: u64 = 152 << 20;

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
        // Together they take a seventh of a start's time.
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
        *outcome = attach_late(&mut loaded.ebpf, &mut loaded.links, probe, types);
        loaded.links.remove(function.program);
        replaced.push(*probe);
    }
    require(&loaded.outcomes)?;
    Ok(replaced)
}
