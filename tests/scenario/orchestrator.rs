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

/// Classes whose every release call is timed.
const TIMED: [&str; 5] = ["socket", "ring", "ipc", "mapping", "memory"];

fn agree(order: &str) {
    let outcome = run("correct", order);
    outcome.clean();
    let workers = printed(&outcome);
    assert_eq!(workers.len(), 2, "{outcome}");
    for (pid, figures) in workers {
        let process = process(&outcome, pid);
        for (class, [count, bytes, errors, ns]) in figures {
            let seen = &process["by_class"][&class];
            let seen = |field: &str| seen[field].as_u64().unwrap_or_default();
            // musl's allocator gives back by munmap too.
            if class == "memory" && cfg!(target_env = "musl") {
                assert!(seen("released") >= count && seen("bytes_released") >= bytes);
                continue;
            }
            // The memfds behind the mappings are closed at once, by the manager of mappings.
            let own = if class == "fd" { count + 2 } else { count };
            assert_eq!(seen("released"), own, "{class} of {pid}\n{outcome}");
            assert_eq!(seen("bytes_released"), bytes, "{class} of {pid}\n{outcome}");
            assert_eq!(seen("errors"), errors, "{class} of {pid}\n{outcome}");
            if TIMED.contains(&class.as_str()) {
                // The program's clock starts before the call and stops after it.
                let seen = seen("release_ns");
                assert!(
                    seen > 0 && seen <= ns,
                    "{class}: {seen} of {ns} ns\n{outcome}"
                );
            }
        }
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
            assert_eq!(
                process(&outcome, pid)["summary"]["errors"],
                errors,
                "{outcome}"
            );
        }
    }
}
