//! How long the parts of exit take, where the kernel lets programs into its functions; and that nothing
//! else of a report changes for it.

use std::process::Command;

use leaktrace_tests::{Outcome, Place, Run, alone, leaktrace};
use serde_json::{Value, json};

use crate::{check_sh, check_steps};

const PARTS: [&str; 3] = ["in_exit_mmap", "in_exit_files", "last_references"];

/// Why this kernel lets no program in, if it does not.
fn refusal() -> Option<String> {
    let doctor = Command::new(leaktrace())
        .args(["doctor", "--json"])
        .output()
        .expect("run doctor");
    let doctor: Value = serde_json::from_slice(&doctor.stdout).expect("doctor's JSON");
    let functions = &doctor["facts"]["attempt"]["functions"];
    assert_eq!(functions.as_array().map(Vec::len), Some(5), "{functions}");
    let first = &functions[0];
    match first["outcome"].as_str() {
        Some("attaches") => None,
        _ => Some(first["reason"].as_str().expect("a reason").to_owned()),
    }
}

/// What must not depend on whether exit is timed: all of the verdict, and every process's table.
fn what_counts(outcome: &Outcome) -> Value {
    let findings: Vec<Value> = outcome
        .findings()
        .iter()
        .map(|one| {
            json!([
                one["rule"],
                one["level"],
                one["comm"],
                one["resource"]["kind"]
            ])
        })
        .collect();
    let all = outcome.report["processes"].as_array().expect("processes");
    let processes: Vec<Value> = all
        .iter()
        .map(|one| {
            json!([
                one["comm"],
                one["by_kind"],
                one["held"].as_array().map(Vec::len)
            ])
        })
        .collect();
    json!([
        outcome.code(),
        outcome.report["verdict"],
        findings,
        processes
    ])
}

#[test]
fn the_parts_of_exit_lie_within_what_is_seen_without_them() {
    let refusal = refusal();
    let timed = check_sh("exec 5</etc/passwd; cat /etc/group /etc/passwd >/dev/null; true")
        .args(["--exit-times"])
        .end();
    timed.clean();
    let processes = timed.report["processes"].as_array().expect("processes");
    assert!(processes.len() >= 2, "{timed}");
    let told = timed.stderr.contains("the parts of exit are not timed: ");
    assert_eq!(told, refusal.is_some(), "{timed}");
    for process in processes {
        let phases = &process["timing_ns"]["kernel_phases"];
        let of = |name: &str| phases[name].as_u64();
        if refusal.is_some() {
            assert_eq!(PARTS.map(of), [None; 3], "{phases}");
            continue;
        }
        let [Some(unmap), Some(files), Some(references)] = PARTS.map(of) else {
            panic!("a part is missing: {phases}\n{timed}");
        };
        // One after the other, between the last that was seen before them and the signal to the parent.
        let seen = of("files").expect("the end of exit");
        assert!(files + references <= seen, "{phases}");
        // From Linux 6.16 on unmapping comes after sched_process_exit, below it before. The
        // tracepoint is within the function: it ends a little later.
        match of("exit_mmap") {
            Some(seen) => assert!(unmap <= seen + seen / 2 + 5_000_000, "{phases}"),
            None => assert!(unmap <= of("stop").expect("a beginning"), "{phases}"),
        }
    }
}

#[test]
fn a_verdict_is_the_same_with_and_without_the_parts_of_exit() {
    let script = "mkdir $TMPDIR/left; exec 7<$TMPDIR; cat /etc/group /etc/passwd >/dev/null; \
                  for i in 1 2 3; do (exec 8>$TMPDIR/left/$i; exit $i); done; echo";
    let run = |args: &[&str]| {
        let place = Place::new();
        let outcome = check_sh(script).args(args).at(&place).end();
        outcome.only_error("LT110");
        std::fs::remove_dir_all(place.temp("left")).expect("it was left");
        what_counts(&outcome)
    };
    assert_eq!(run(&["--exit-times"]), run(&[]));
}

#[test]
fn what_the_last_references_take_is_told_apart() {
    if refusal().is_some() {
        // Nothing to tell apart: see the first of these.
        return the_parts_of_exit_lie_within_what_is_seen_without_them();
    }
    let alone = alone();
    let parts = |steps: &[&str]| {
        let outcome = check_steps(steps)
            .args(["--exit-times"])
            .alone(&alone)
            .end();
        let phases = outcome.process("steps")["timing_ns"]["kernel_phases"].clone();
        PARTS.map(|name| {
            phases[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {phases}\n{outcome}"))
        })
    };
    let little = parts(&["exit 0"]);
    // Its pages are freed with the last reference to the file, not where they are unmapped.
    let memory = ["memfd f", "mmap-shared m f 134217728", "touch m", "exit 0"];
    let memory = parts(&memory);
    assert!(memory[2] > 5.0 * little[2], "{little:?} {memory:?}");
    assert!(memory[2] > 5.0 * memory[1], "{memory:?}");
}

#[test]
fn histograms_have_the_parts_of_exit_where_they_can_be_had() {
    let refused = refusal().is_some();
    let place = Place::new();
    let file = place.temp("hist.json");
    let output = format!("json:{file}");
    let script = "for i in 1 2 3; do cat /etc/passwd >/dev/null; done";
    let outcome = Run::of("hist", ["sh", "-c", script])
        .args(["-f", output.as_str(), "--by", "comm"])
        .text()
        .at(&place)
        .end();
    assert_eq!(outcome.code(), 0, "{outcome}");
    let report = std::fs::read(&file).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let cats = report["groups"]
        .as_array()
        .and_then(|groups| groups.iter().find(|group| group["comm"] == "cat"))
        .unwrap_or_else(|| panic!("no cat: {report}"));
    assert_eq!(cats["samples"]["kernel"]["n"], 3, "{cats}");
    for name in ["exit_mmap", "exit_files", "last_references"] {
        let samples = cats["samples"][name]["n"].as_u64();
        assert_eq!(samples, (!refused).then_some(3), "{name}: {cats}");
    }
}
