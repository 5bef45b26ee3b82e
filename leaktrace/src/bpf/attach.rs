//! Which program hangs on what, its verification, and the links.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, KProbe, Program, ProgramError, links::FdLink},
};

use super::{
    health::{Outcome, Preemption, Way},
    object::Object,
    probe::{PROBES, Probe, WAYS},
};

/// By program name.
pub(super) type Links = BTreeMap<&'static str, FdLink>;

/// Links, and what became of every probe.
pub(super) type Attached = (Links, Vec<(Probe, Outcome)>);

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

/// Has the kernel verify every program that it has something for, and attaches them in the order of the table.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    which: Object,
    types: &Btf,
    preemption: Preemption,
) -> Attached {
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
            outcome = attach_late(ebpf, &mut links, probe, types);
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

/// Has the kernel verify the program on a probe's tracepoint as well, and attaches it.
pub(super) fn attach_late(
    ebpf: &mut Ebpf,
    links: &mut Links,
    probe: &Probe,
    types: &Btf,
) -> Outcome {
    let wanted = Wanted::by_tracepoint(probe);
    let loaded = ebpf
        .program_mut(wanted.program)
        .map_or(Ok(Hook::Absent), |program| load_one(program, wanted, types));
    attach_to(ebpf, links, wanted, loaded)
}

/// Takes links out of the kernel, those at functions all at once: for each of them the kernel waits several
/// times until every CPU has been somewhere else, only some of it under a lock (`perf_kprobe_destroy` in
/// kernel/trace/trace_event_perf.c and `unregister_kprobes` in kernel/kprobes.c, v6.1; one by one nine
/// take 0.73 s on an emulated 7.3).
pub(super) fn close(links: &mut Links) {
    let functions = PROBES.iter().filter_map(|probe| probe.function);
    let slow: Vec<FdLink> = functions
        .filter_map(|function| links.remove(function.program))
        .collect();
    thread::scope(|scope| {
        for link in slow {
            // Where no thread can be had the link goes with what was to be run.
            drop(thread::Builder::new().spawn_scoped(scope, move || drop(link)));
        }
    });
    links.clear();
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
