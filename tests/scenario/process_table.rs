//! A process table under churn: what some of very many processes forget is what is found.
//!
//! `LEAKTRACE_TABLE_CHILDREN`, `LEAKTRACE_TABLE_SEEDS` (how many) and `LEAKTRACE_TABLE_FIRST` (the
//! first of them) make it as long as one likes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leaktrace_tests::{Outcome, Place, Run};

/// (pid, rule) of one thing that was forgotten.
type Forgotten = BTreeSet<(i64, String)>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}"))
    })
}

fn build(place: &Place) -> PathBuf {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("program/process_table/process_table.c");
    let program = place.root().join("process_table");
    let status = Command::new("gcc")
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&program, &source])
        .status()
        .expect("start gcc");
    assert!(status.success(), "gcc: {status}");
    program
}

/// Processes that take all the time there is.
struct Load(Child);

impl Load {
    fn start() -> Self {
        let load = Command::new("stress-ng")
            .args(["--cpu", "4", "--quiet"])
            .stdout(Stdio::null())
            .spawn();
        Self(load.expect("start stress-ng"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        // SAFETY: a child of ours that is not reaped yet. It ends its own children on SIGTERM.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let _ = self.0.wait();
    }
}

fn manifest(path: &Path) -> Forgotten {
    let text = std::fs::read_to_string(path).expect("read the manifest");
    text.lines()
        .map(|line| {
            let (pid, rule) = line.split_once(' ').expect("PID RULE");
            (pid.parse().expect("a pid"), rule.to_owned())
        })
        .collect()
}

fn found(outcome: &Outcome) -> Forgotten {
    let mut all = Forgotten::new();
    for finding in outcome.errors() {
        let rule = finding["rule"].as_str().unwrap_or_default();
        for instance in finding["instances"].as_array().into_iter().flatten() {
            let pid = instance["pid"].as_i64().unwrap_or_default();
            assert!(all.insert((pid, rule.to_owned())), "twice: {pid} {rule}");
        }
    }
    all
}

fn forget(place: &Place, program: &Path, children: u64, every: u64, seed: u64) -> Outcome {
    // Outside of the roots that are judged.
    let manifest = place.root().join("manifest");
    std::fs::write(&manifest, "").expect("make the manifest");
    let arguments = [
        program.display().to_string(),
        children.to_string(),
        every.to_string(),
        seed.to_string(),
        manifest.display().to_string(),
    ];
    Run::check(arguments)
        .args(["--fail-on", "held"])
        .at(place)
        // With four processes that take all the time there is, as many as are asked for.
        .patient(Duration::from_millis(children * 60))
        .end()
}

/// Segments that a run has left on purpose.
fn remove_segments(outcome: &Outcome) {
    for finding in outcome.of_rule("LT103") {
        for instance in finding["instances"].as_array().into_iter().flatten() {
            let id = instance["resource"]["id"].as_i64().unwrap_or(-1);
            let id = i32::try_from(id).expect("an id");
            // SAFETY: IPC_RMID needs no buffer.
            unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "its figures, for who asks for long runs"
)]
#[test]
fn what_every_hundredth_child_forgets_is_what_is_found() {
    let children = number("LEAKTRACE_TABLE_CHILDREN", 1000);
    let seeds = number("LEAKTRACE_TABLE_SEEDS", 1);
    let _load = Load::start();
    let first = number("LEAKTRACE_TABLE_FIRST", 1);
    for seed in first..first + seeds {
        let place = Place::new();
        let program = build(&place);
        let outcome = forget(&place, &program, children, 100, seed);
        remove_segments(&outcome);
        let wanted = manifest(&place.root().join("manifest"));
        assert_eq!(wanted.len() as u64, children / 100);
        let found = found(&outcome);
        assert_eq!(outcome.report["events"]["lost"], 0, "{}", outcome.stderr);
        assert_eq!(found, wanted, "seed {seed}: {}", outcome.stderr);
        assert_eq!(outcome.code(), 100, "{}", outcome.stderr);
        println!(
            "seed {seed}: {} forgotten, {} found, {} processes, {} records, 0 lost",
            wanted.len(),
            found.len(),
            outcome.report["processes"].as_array().map_or(0, Vec::len),
            outcome.report["events"]["received"],
        );
    }
}

#[test]
fn a_thousand_children_that_forget_nothing_are_clean() {
    let place = Place::new();
    let program = build(&place);
    forget(&place, &program, 1000, 0, 1).clean();
}
