//! fds that io_uring makes and closes: by the submitting thread, by workers, by the thread that
//! polls the submission queue.

use std::process::Command;

use leaktrace_tests::{Outcome, Run};
use serde_json::Value;

use crate::c::program;

/// After so many steps of the program: fds of io_uring's making in the table, and files in the
/// ring's own.
const AFTER: [(usize, Option<u64>); 12] = [
    (1, None),    // openat
    (2, None),    // openat2
    (3, None),    // socket
    (4, None),    // accept
    (4, None),    // pipe
    (4, Some(3)), // three direct descriptors
    (4, Some(3)), // one of them installed
    (3, Some(3)), // close
    (3, Some(3)), // close and open in one go, the number is used again
    (5, Some(3)), // accept twice by one request
    (5, Some(2)), // close of a direct descriptor
    (4, Some(2)), // close(2) of what io_uring made
];

/// What steps make where the kernel has the operation: from which step on, and how many fds.
/// Elsewhere the program leaves them out.
const NEWER: [(u32, usize, usize); 2] = [
    (62, 5, 2), // IORING_OP_PIPE, Linux 6.16
    (54, 7, 1), // IORING_OP_FIXED_FD_INSTALL, Linux 6.8
];

/// Whether the kernel has an operation of io_uring.
fn has(operation: u32) -> bool {
    let probed = Command::new(program("uring"))
        .args(["probe", &operation.to_string()])
        .status()
        .expect("run the program");
    assert!(matches!(probed.code(), Some(0 | 1)), "{probed}");
    probed.success()
}

/// Ends a scenario of an operation that the kernel does not have.
pub fn needs(operation: u32, name: &str, since: &str) {
    assert!(has(operation), "not run: needs {name}, Linux {since}");
}

/// Every step in a process of its own, which ends there, under one run.
fn stops(mode: &str, steps: std::ops::RangeInclusive<usize>) -> Outcome {
    let uring = program("uring");
    let stops: Vec<String> = steps
        .map(|step| format!("echo step; {uring} {mode} {step} || exit 3"))
        .collect();
    Run::check(["sh", "-c", &stops.join("; ")]).end()
}

fn fds(process: &Value) -> Vec<&Value> {
    let held = process["held"].as_array().expect("held");
    held.iter().filter(|it| it["fd"].is_i64()).collect()
}

fn right_at_each_step(mode: &str) {
    // Without it there is nobody to accept.
    needs(45, "IORING_OP_SOCKET", "5.19");
    let newer = NEWER.map(|(operation, from, fds)| (from, if has(operation) { fds } else { 0 }));
    let outcome = stops(mode, 1..=AFTER.len());
    outcome.clean();
    let check = &outcome.report["self_check"];
    assert_eq!(check["differed"], 0, "{outcome}");
    assert!(
        check["compared"].as_u64() > Some(AFTER.len() as u64),
        "{outcome}"
    );
    let listed: Vec<Vec<i64>> = outcome
        .stdout
        .split("step\n")
        .skip(1)
        .map(|part| part.lines().filter_map(|line| line.parse().ok()).collect())
        .collect();
    let mut processes = outcome.processes("uring");
    processes.sort_by_key(|it| it["start_ns"].as_u64());
    assert_eq!(processes.len(), AFTER.len(), "{outcome}");
    assert_eq!(listed.len(), AFTER.len(), "{outcome}");
    for (step, process) in processes.iter().enumerate() {
        let at = format!("step {}: {process:#}", step + 1);
        let held = fds(process);
        let numbers: Vec<i64> = held.iter().filter_map(|it| it["fd"].as_i64()).collect();
        assert_eq!(numbers, listed[step], "{at}");
        let unknown = held
            .iter()
            .filter(|it| it["inherited"] == false && !it["syscall"].is_string());
        assert_eq!(unknown.count(), 0, "{at}");
        let made = held.iter().filter(|it| it["how"] == "made by io_uring");
        let more = newer.iter().filter(|(from, _)| *from <= step + 1);
        let more: usize = more.map(|(_, fds)| fds).sum();
        assert_eq!(made.count(), AFTER[step].0 + more, "{at}");
        let ring = held.iter().find(|it| it["kind"] == "io_uring");
        let ring = ring.unwrap_or_else(|| panic!("no ring, {at}"));
        assert_eq!(
            ring["direct"].as_u64().unwrap_or(0),
            AFTER[step].1.unwrap_or(0),
            "{at}"
        );
        let summary = |name: &str| process["summary"][name].as_u64().expect("a count");
        assert_eq!(
            summary("acquired") - summary("released"),
            summary("held"),
            "{at}"
        );
    }
}

#[test]
fn the_submitting_thread_makes_and_closes() {
    right_at_each_step("plain");
}

#[test]
fn workers_make_and_close() {
    right_at_each_step("async");
}

#[test]
fn the_polling_thread_makes_and_closes() {
    right_at_each_step("sqpoll");
}

#[test]
fn a_request_that_tells_no_completion_is_declared() {
    // Without it there is nobody to accept.
    needs(45, "IORING_OP_SOCKET", "5.19");
    for mode in ["plain", "async", "sqpoll"] {
        let outcome = stops(mode, 13..=13);
        // The table is read again, live and at the end. Of the listener it is not known whether
        // somebody else has got it.
        assert_eq!(outcome.code(), 75, "{outcome}");
        let why = outcome.report["inconclusive_because"].to_string();
        assert!(
            why.contains("io_uring requests that tell no completion"),
            "{outcome}"
        );
        let process = outcome.process("uring");
        let listed: Vec<i64> = outcome
            .stdout
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect();
        let numbers: Vec<i64> = fds(process)
            .iter()
            .filter_map(|it| it["fd"].as_i64())
            .collect();
        assert_eq!(numbers, listed, "{outcome}");
        assert_eq!(outcome.report["self_check"]["differed"], 0, "{outcome}");
    }
}
