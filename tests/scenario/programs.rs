//! Programs that manage resources the way people do, each with its mistakes.
//!
//! `program/NAME/expected/VARIANT.toml` says how a variant is run and exactly which findings it
//! makes: no other, no fewer. Variants run in another order each time. `LEAKTRACE_PROGRAM_TABLE`
//! names a file to which a line for each is added, as in `leaktrace/docs/programs.md`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use leaktrace_tests::{Outcome, Place, Run};

/// One variant's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// What the program is told.
    arguments: Vec<String>,
    /// What leaktrace is told.
    #[serde(default)]
    options: Vec<String>,
    /// The policy, as in leaktrace.toml.
    policy: Option<String>,
    /// How leaktrace ends.
    status: i32,
    /// All that is found.
    #[serde(default)]
    finding: Vec<Found>,
}

/// Things of one rule, kind and role that are found, and how many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    level: String,
    rule: String,
    kind: String,
    /// The process' comm, which says what its role is.
    role: String,
    count: usize,
}

type Counts = BTreeMap<[String; 4], usize>;

impl Expected {
    fn counts(&self) -> Counts {
        self.finding
            .iter()
            .map(|it| {
                let key = [&it.level, &it.rule, &it.kind, &it.role].map(Clone::clone);
                (key, it.count)
            })
            .collect()
    }
}

fn found(outcome: &Outcome) -> Counts {
    let mut counts = Counts::new();
    let told = outcome.findings().into_iter();
    for finding in told.filter(|it| it["suppressed_by"].is_null()) {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        for instance in finding["instances"].as_array().into_iter().flatten() {
            let role = instance["comm"].as_str().unwrap_or_default().to_owned();
            *counts
                .entry([text("level"), text("rule"), text("kind"), role])
                .or_default() += 1;
        }
    }
    counts
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("program")
        .join(name)
}

/// The variants of a program, in an order of chance.
fn variants(name: &str) -> Vec<(String, Expected)> {
    let mut variants: Vec<_> = std::fs::read_dir(program(name).join("expected"))
        .expect("read the variants")
        .map(|entry| {
            let path = entry.expect("read a variant").path();
            let text = std::fs::read_to_string(&path).expect("read a variant");
            let expected =
                toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.file_stem().unwrap_or_default();
            (name.to_string_lossy().into_owned(), expected)
        })
        .collect();
    variants.sort_by(|a, b| a.0.cmp(&b.0));
    shuffle(&mut variants);
    variants
}

fn shuffle<T>(items: &mut [T]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut state = now.map_or(1, |it| u64::from(it.subsec_nanos())) | 1;
    for last in (1..items.len()).rev() {
        // xorshift64: any order will do, as long as it is another one each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let chosen = usize::try_from(state % (last as u64 + 1)).expect("an index");
        items.swap(last, chosen);
    }
}

/// `LT201 pipe of stream, 2 times (error)`, of everything.
fn in_words(counts: &Counts) -> String {
    let words = counts.iter().map(|([level, rule, kind, role], count)| {
        let times = match count {
            1 => String::new(),
            _ => format!(", {count} times"),
        };
        format!("{rule} {kind} of {role}{times} ({level})")
    });
    match counts.is_empty() {
        true => "nothing".to_owned(),
        false => words.collect::<Vec<_>>().join("; "),
    }
}

/// Adds a line to the table, if anybody collects one.
fn tabulate(name: &str, variant: &str, wanted: &Counts, seen: &Counts) {
    let Some(path) = std::env::var_os("LEAKTRACE_PROGRAM_TABLE") else {
        return;
    };
    let found = match wanted == seen {
        true => "the same".to_owned(),
        false => in_words(seen),
    };
    let line = format!("| {name} | {variant} | {} | {found} |\n", in_words(wanted));
    let mut options = std::fs::OpenOptions::new();
    let file = options.append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("add to the table");
}

/// Runs every variant of a program and compares what is found with what is expected.
fn judge(name: &str, command: &[&str]) {
    let mut wrong = Vec::new();
    let mut order = Vec::new();
    for (variant, expected) in variants(name) {
        let outcome = run(command, &expected);
        let (wanted, seen) = (expected.counts(), found(&outcome));
        order.push(variant.clone());
        tabulate(name, &variant, &wanted, &seen);
        if wanted != seen || outcome.code() != expected.status {
            wrong.push(format!(
                "{name} {variant}: wanted {} and {wanted:#?}, got {} and {seen:#?}\n{}",
                expected.status,
                outcome.code(),
                outcome.stderr,
            ));
        }
        assert_eq!(outcome.report["events"]["lost"], 0, "{outcome}");
    }
    assert!(!order.is_empty(), "{name} has no variants");
    assert!(
        wrong.is_empty(),
        "in the order {order:?}\n{}",
        wrong.join("\n")
    );
}

fn run(command: &[&str], expected: &Expected) -> Outcome {
    let place = Place::new();
    if let Some(policy) = &expected.policy {
        std::fs::write(place.cwd().join("leaktrace.toml"), policy).expect("write the policy");
    }
    let arguments = expected.arguments.iter().map(String::as_str);
    Run::check(command.iter().copied().chain(arguments))
        .args(&expected.options)
        .at(&place)
        .end()
}

#[test]
fn an_async_stream() {
    judge("stream", &[env!("CARGO_BIN_EXE_stream")]);
}

#[test]
fn guards_with_a_cleanup_queue() {
    judge("guards", &[env!("CARGO_BIN_EXE_guards")]);
}

#[test]
fn an_orchestrator() {
    judge("orchestrator", &[env!("CARGO_BIN_EXE_orchestrator")]);
}

/// The interpreter itself: what stands first on the path may be a script that looks for it.
fn interpreter() -> String {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("start python3");
    String::from_utf8_lossy(&asked.stdout).trim().to_owned()
}

#[test]
fn a_service() {
    let service = program("service").join("service.py");
    judge("service", &[&interpreter(), &service.display().to_string()]);
}
