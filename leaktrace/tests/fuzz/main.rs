//! Hostile input: every decoder of what others may have written, on mutated files.
//!
//! Each test takes the files of `tests/fuzz/NAME`, mutates them at random and feeds them to a
//! decoder and to what works with its values. A decoder may refuse; it may not panic, nor take
//! more than a bounded time and memory, and its error is one short sentence. What breaks that is
//! written to a file, which belongs into the corpus once it is mended: the corpus itself is tried
//! first.
//!
//! LEAKTRACE_FUZZ_SECONDS is the CPU time each (2), LEAKTRACE_FUZZ_SEED makes other mutations.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stdout, reason = "how much was tried")]

mod decoder;
mod mutate;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Once,
};

use decoder::Decoder;
use mutate::Mutator;

/// Most CPU time of one input, ns, in a build without optimisation.
const TIME: u64 = 20_000_000_000;
/// Most memory that one input may take, bytes; others are tried at the same time.
const MEMORY: u64 = 1 << 30;
/// An error is no longer, bytes: it is meant to be read.
const ERROR: usize = 2_000;
/// Inputs that gave an outcome of their own, kept to be mutated further.
const KEPT: usize = 2_000;
/// None is longer, bytes: mutating it would do no more than a short one does.
const KEPT_LONG: usize = 64 << 10;

#[test]
fn capture() {
    fuzz("capture", decoder::capture);
}

#[test]
fn records() {
    fuzz("records", decoder::records);
}

#[test]
fn policy() {
    fuzz("policy", decoder::policy);
}

#[test]
fn suppressions() {
    fuzz("suppressions", decoder::suppressions);
}

#[test]
fn baseline() {
    fuzz("baseline", decoder::baseline);
}

#[test]
fn report() {
    fuzz("report", decoder::report);
}

#[test]
fn deputy() {
    fuzz("deputy", decoder::deputy);
}

#[test]
fn words() {
    fuzz("words", decoder::words);
}

fn fuzz(name: &str, decoder: Decoder) {
    note_panics();
    let number = |variable, default| {
        let text = std::env::var(variable).ok();
        text.map_or(default, |text| text.parse::<u64>().unwrap())
    };
    let time = number("LEAKTRACE_FUZZ_SECONDS", 2) * 1_000_000_000;
    let mut corpus = corpus(name);
    assert!(!corpus.is_empty(), "no corpus for {name}");
    let mut run = Run {
        name,
        decoder,
        outcomes: BTreeSet::new(),
        broken: BTreeMap::new(),
    };
    for input in &corpus {
        run.attempt(input);
    }
    let mut mutator = Mutator::new(number("LEAKTRACE_FUZZ_SEED", 1));
    let (begin, mut cases) = (cpu_ns(), corpus.len());
    while cpu_ns() - begin < time {
        let input = mutator.mutate(&corpus);
        cases += 1;
        if run.attempt(&input) && corpus.len() < KEPT && input.len() <= KEPT_LONG {
            corpus.push(input);
        }
    }
    let spent = (cpu_ns() - begin) / 1_000_000_000;
    println!(
        "fuzz {name}: {cases} inputs in {spent} s of CPU time, {} kinds of outcome",
        run.outcomes.len()
    );
    assert!(run.broken.is_empty(), "{name}: {:#?}", run.broken);
}

struct Run<'a> {
    name: &'a str,
    decoder: Decoder,
    outcomes: BTreeSet<String>,
    /// Each complaint, with the first input that gave it.
    broken: BTreeMap<String, PathBuf>,
}

impl Run<'_> {
    /// Tries one input. Whether its outcome is of a new kind: numbers and quoted parts are left
    /// out.
    fn attempt(&mut self, input: &[u8]) -> bool {
        // Begins the peak anew (proc_pid_clear_refs(5)).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let (begin, before) = (cpu_ns(), peak());
        let tried = catch_unwind(AssertUnwindSafe(|| (self.decoder)(input)));
        let spent = cpu_ns() - begin;
        let complaint = match &tried {
            Err(_) => Some(PANIC.take()),
            Ok(Err(error)) if error.is_empty() => Some("its error is empty".to_owned()),
            Ok(Err(error)) if error.len() > ERROR => Some("its error is long".to_owned()),
            Ok(_) if spent > TIME => Some("it takes long".to_owned()),
            Ok(_) => (peak() > before + MEMORY).then(|| "it takes much memory".to_owned()),
        };
        if let Some(complaint) = complaint {
            let name = self.name;
            self.broken
                .entry(complaint)
                .or_insert_with(|| keep(name, input));
            return false;
        }
        let kind = match tried {
            Ok(Ok(kind)) => format!("ok {kind}"),
            Ok(Err(error)) => error
                .split(['"', '`', '\''])
                .step_by(2)
                .flat_map(str::chars)
                .filter(|c| !c.is_ascii_digit())
                .take(120)
                .collect(),
            Err(_) => return false,
        };
        self.outcomes.insert(kind)
    }
}

thread_local! {
    /// Where and why this thread panicked last.
    static PANIC: Cell<String> = const { Cell::new(String::new()) };
}

/// A panic is noted instead of printed: thousands of inputs may lead to the same one.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic
                .location()
                .is_some_and(|at| at.file().ends_with("fuzz/main.rs"))
            {
                return previous(panic);
            }
            PANIC.set(panic.to_string());
        }));
    });
}

/// Writes an input where it can be found.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{hash:016x}"));
    fs::write(&path, input).unwrap();
    path
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
    let mut files: Vec<PathBuf> = fs::read_dir(root.join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // The same order everywhere.
    files.sort();
    let read = |path| match name {
        "capture" => decoder::current(fs::read(path).unwrap()),
        _ => fs::read(path).unwrap(),
    };
    files.iter().map(read).collect()
}

/// CPU time of this thread (Documentation/scheduler/sched-stats.rst): however busy the machine is.
fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The most memory that this process has had since that was begun, bytes (proc_pid_status(5)).
fn peak() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}
