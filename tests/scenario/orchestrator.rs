//! The report's figures are those of a program that counts and times its own releases.

use std::collections::BTreeMap;

use serde_json::Value;

use leaktrace_tests::{Outcome, Run};

/// By class: releases, bytes, refused releases, time in nanoseconds.
type Figures = BTreeMap<String, [u64; 4]>;

fn run(variant: &str, order: &str) -> Outcome {
    Run::check([env!("CARGO_BIN_EXE_orchestrator"), variant, order])
        .args(["--order", &format!("class:{order}")])
        .end()
}

/// What each worker printed.
fn printed(outcome: &Outcome) -> Vec<(i64, Figures)> {
    outcome
        .stdout
        .lines()
        .map(|line| {
            let said: Value = serde_json::from_str(line).expect("a line of JSON");
            let mut figures = Figures::new();
            for class in said["classes"].as_array().into_iter().flatten() {
                let name = class["class"].as_str().unwrap_or_default().to_owned();
                let sums = figures.entry(name).or_default();
                for (sum, field) in sums.iter_mut().zip(["count", "bytes", "errors", "ns"]) {
                    *sum += class[field].as_u64().unwrap_or_default();
                }
            }
            (said["pid"].as_i64().unwrap_or_default(), figures)
        })
        .collect()
}

fn process(outcome: &Outcome, pid: i64) -> &Value {
    outcome.report["processes"]
        .as_array()
        .and_then(|all| all.iter().find(|it| it["pid"] == pid))
        .unwrap_or_else(|| panic!("no process {pid}\n{outcome}"))
}

/// Kinds whose releases a class' manager counts; each worker is a fork, so no loader adds to them.
const KINDS: [(&str, &[&str]); 6] = [
    ("fd", &["file", "eventfd", "memfd", "pipe"]),
    ("socket", &["udp", "tcp", "unix"]),
    ("ring", &["io_uring"]),
    ("ipc", &["sysv-shm", "sysv-sem"]),
    ("mapping", &["shared-mapping"]),
    ("signal", &["posix-timer"]),
];

fn released(process: &Value, kinds: &[&str]) -> u64 {
    kinds
        .iter()
        .filter_map(|kind| process["by_kind"][kind]["released"].as_u64())
        .sum()
}

fn agree(order: &str) {
    let outcome = run("correct", order);
    outcome.clean();
    let workers = printed(&outcome);
    assert_eq!(workers.len(), 2, "{outcome}");
    for (pid, figures) in workers {
        let process = process(&outcome, pid);
        for (class, kinds) in KINDS {
            let [count, _, _, ns] = figures[class];
            // The memfds behind the mappings are closed at once, by the manager of mappings.
            let own = if class == "fd" { count + 2 } else { count };
            assert_eq!(released(process, kinds), own, "{class} of {pid}\n{outcome}");
            let seen = process["timing_ns"]["by_class"][class].as_u64();
            let seen = seen.unwrap_or_else(|| panic!("no time of {class}\n{outcome}"));
            assert!(seen > 0 && seen <= ns, "{class}: {seen} of {ns} ns\n{outcome}");
        }
        let bytes = figures["mapping"][1] + figures["ipc"][1];
        assert_eq!(process["summary"]["bytes_released"], bytes, "{outcome}");
        assert_eq!(process["summary"]["errors"], 0, "{outcome}");
        let children = outcome.report["processes"].as_array().into_iter().flatten();
        let children = children.filter(|it| it["ppid"] == pid).count() as u64;
        assert_eq!(children, figures["task"][0], "{outcome}");
    }
}

#[test]
fn counts_bytes_errors_and_times_agree_fds_first() {
    agree("fds-first");
}

#[test]
fn counts_bytes_errors_and_times_agree_mappings_first() {
    agree("mappings-first");
}

#[test]
fn refused_releases_are_counted_as_the_program_counts_them() {
    for variant in ["cleaned-twice", "release-fails"] {
        let outcome = run(variant, "fds-first");
        for (pid, figures) in printed(&outcome) {
            let errors: u64 = figures.values().map(|it| it[2]).sum();
            assert!(errors > 0, "{outcome}");
            assert_eq!(process(&outcome, pid)["summary"]["errors"], errors, "{outcome}");
        }
    }
}
