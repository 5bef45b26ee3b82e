//! Stacks of what findings are about: which are to be found out, and what they say.

use std::collections::{BTreeMap, BTreeSet};

use leaktrace_common::abi::Op;

use crate::{
    audit::{ask::Scope, case::Case, evidence::Evidence, finding},
    census::{Answer, Found, Question},
    id::{KtimeNs, Tid},
    model::{
        facts::Facts,
        stack::{Module, Sample, Stacks, Word},
    },
    policy::Policy,
    report::{Finding, Level, Resource},
    source::{End, Start},
};

/// Stacks that are asked for in one run.
const AT_MOST: usize = 1_000;

/// Files whose functions are nobody's own: what they do is asked for by their callers.
const RUNTIME_FILES: [&str; 8] = [
    "libc.so",
    "libc-",
    "ld-linux",
    "ld-musl",
    "libpthread",
    "libstdc++",
    "libgcc_s",
    "librt",
];

/// The same of languages whose runtime is linked into the program.
const RUNTIME_NAMES: [&str; 15] = [
    "_start",
    "__libc_start",
    "__rust_",
    "std::",
    "core::",
    "alloc::",
    "<std::",
    "<core::",
    "<alloc::",
    "tokio::",
    "mio::",
    "<tokio::",
    "<mio::",
    "runtime.",
    "syscall.",
];

/// Which stacks must be known: those of findings, and for a capture, which may be judged by
/// another policy later, those of what is off as well.
pub fn questions(
    facts: &Facts,
    answers: &[Answer],
    start: &Start,
    policy: &Policy,
    scope: Scope,
) -> Vec<Question> {
    if facts.stacks.is_empty() {
        return Vec::new();
    }
    let end = End::default();
    let case = Case::new(facts, answers, start, &end, policy);
    let findings = finding::collect(&case);
    let off = match scope {
        Scope::Judged => &[][..],
        Scope::Everything => &findings.off[..],
    };
    let all = findings.shown.iter().chain(off);
    let resources = all.flat_map(resources);
    let samples = resources.filter_map(|resource| of(&facts.stacks, resource));
    let questions: BTreeSet<Question> = samples
        .map(|sample| question(&facts.stacks, sample))
        .collect();
    questions.into_iter().take(AT_MOST).collect()
}

fn resources(finding: &Finding) -> impl Iterator<Item = &Resource> {
    let instances = finding.instances.iter();
    instances.flat_map(|it| std::iter::once(&it.resource).chain(&it.other))
}

fn of<'a>(stacks: &'a Stacks, resource: &Resource) -> Option<&'a Sample> {
    let at = KtimeNs(resource.acquired_ns?);
    stacks.of(resource.tid.map(Tid), at).map(|sample| &**sample)
}

/// What is asked about a stack: it names the files that it has something to do with, and no
/// others.
fn question(stacks: &Stacks, sample: &Sample) -> Question {
    let mut modules: Vec<Module> = Vec::new();
    let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
    let mut own = |word: Word| match word {
        Word::Code(module, place) => match stacks.module(module) {
            Some(known) => {
                let number = *numbers.entry(module).or_insert_with(|| {
                    modules.push(known.clone());
                    modules.len() as u32 - 1
                });
                Word::Code(number, place)
            }
            None => Word::Other,
        },
        Word::Stack(_) | Word::Other => word,
    };
    let sample = Sample {
        registers: sample.registers.map(|word| word.map(&mut own)),
        chain: sample.chain.iter().map(|word| own(*word)).collect(),
        taken: sample.taken,
        words: sample
            .words
            .iter()
            .map(|(at, word)| (*at, own(*word)))
            .collect(),
    };
    Question::Stack { modules, sample }
}

/// Gives a resource the stack of its acquisition.
pub(crate) fn put(facts: &Facts, evidence: &Evidence<'_>, resource: &mut Resource) {
    let Some(sample) = of(&facts.stacks, resource) else {
        return;
    };
    let answer = evidence.about(&question(&facts.stacks, sample));
    if let Some(Found::Frames { frames }) = answer.map(|answer| &answer.found) {
        resource.stack.clone_from(frames);
    }
}

/// Gives everything that an observation at this level is about its stack.
pub(crate) fn is_wanted(facts: &Facts, level: Level) -> bool {
    !facts.stacks.is_empty() && level != Level::Off
}

/// The function of a frame: `open_cache` of `open_cache at /repo/cache.c:12`.
pub(crate) fn function(frame: &str) -> &str {
    crate::policy::allow::function(frame)
}

/// The innermost function that is the program's own: one whose source is known, as that of a C
/// library within the program is not; of a stack without one the innermost.
pub(crate) fn site(stack: &[String]) -> Option<&str> {
    let mut own = stack.iter().filter(|frame| !is_runtime(frame));
    let first = own.next();
    let known = |frame: &&String| frame.contains(" at /");
    let known = first.into_iter().chain(own).find(known);
    known
        .or(first)
        .or(stack.first())
        .map(|frame| function(frame))
}

/// The call itself, and what of the rest is the program's own.
pub(crate) fn essence(stack: &[String]) -> impl Iterator<Item = &String> {
    let own = stack.iter().enumerate();
    let own = own.filter(|(place, frame)| *place == 0 || !is_runtime(frame));
    own.map(|(_, frame)| frame)
}

fn is_runtime(frame: &str) -> bool {
    let name = function(frame);
    let of_file = frame.rsplit_once(" in ").is_some_and(|(_, path)| {
        let file = path.rsplit('/').next().unwrap_or(path);
        RUNTIME_FILES.iter().any(|begin| file.starts_with(begin)) || name.starts_with("0x")
    });
    of_file
        || is_call(name)
        || RUNTIME_NAMES.iter().any(|begin| name.starts_with(begin))
        || frame.contains(" at /rustc/")
}

/// Whether a function is a system call itself, as a C library has it that is linked into the
/// program: `open`, `__openat64`, or musl's way to all that may wait (src/thread/__syscall_cp.c).
fn is_call(name: &str) -> bool {
    let bare = name.trim_start_matches('_');
    let bare = bare.strip_suffix("64").unwrap_or(bare);
    bare == "sccp"
        || bare.starts_with("syscall_cp")
        || Op::ALL.iter().any(|(_, call)| *call == bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &[&str]) -> Vec<String> {
        text.iter().map(|frame| (*frame).to_owned()).collect()
    }

    #[test]
    fn the_site_is_the_programs_own_function() {
        let stack = frames(&[
            "open64 in /lib/x86_64-linux-gnu/libc.so.6",
            "std::fs::OpenOptions::_open in /repo/target/debug/app",
            "<std::fs::File>::open at /rustc/1/library/std/src/fs.rs:9",
            "app::cache::open at /repo/src/cache.rs:12",
            "main at /repo/src/main.rs:3",
        ]);
        assert_eq!(site(&stack), Some("app::cache::open"));
        assert_eq!(site(&stack[..2]), Some("open64"));
        assert_eq!(site(&[]), None);
        assert_eq!(function("<A as B>::c at /x/y at/z.rs:1"), "<A as B>::c");
        assert_eq!(function("main"), "main");
    }

    #[test]
    fn calls_of_a_library_within_the_program_are_not_its_own() {
        let of = |names: &[&str]| {
            frames(names)
                .iter()
                .map(|it| format!("{it} in /app"))
                .collect()
        };
        let site_of = |names: &[&str]| {
            let stack: Vec<String> = of(names);
            site(&stack).map(str::to_owned)
        };
        let own = |name: &str| Some(name.to_owned());
        assert_eq!(
            site_of(&["sccp", "open", "app::fd::step", "main"]),
            own("app::fd::step")
        );
        assert_eq!(
            site_of(&["__syscall_cp_c", "__openat64", "load", "main"]),
            own("load")
        );
        assert_eq!(site_of(&["open_cache", "main"]), own("open_cache"));
        assert_eq!(site_of(&["sccp", "open"]), own("sccp"));
    }

    #[test]
    fn a_question_names_only_the_files_that_it_needs() {
        let sample = Sample {
            registers: [None; 3],
            chain: vec![Word::Code(7, 16), Word::Other],
            taken: 0,
            words: Vec::new(),
        };
        let Question::Stack { modules, sample } = question(&Stacks::default(), &sample) else {
            panic!("another question");
        };
        assert!(modules.is_empty());
        assert_eq!(sample.chain, [Word::Other, Word::Other]);
    }
}
