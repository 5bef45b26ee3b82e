//! `doctor --parity`: our tables are the kernel's, and it is noticed where they are not.

use leaktrace_tests::{Outcome, Run, is_emulated, needs, steps};
use serde_json::Value;

use crate::STEPS;

/// A shell with children, pipes, files and mappings that come and go.
const BUSY: &str = "exec 7</etc/hosts; for i in 1 2 3 4 5 6 7 8; do \
                    ls / | sort | tail -1 >/dev/null & sleep 0.1; done; wait";

fn parity<'a>(command: &[&'a str]) -> Run<'a> {
    let args = ["--parity", "--json", "--every", "50ms"];
    Run::of("doctor", command).args(args).text()
}

/// What it says on stdout, where CMD must be silent.
fn said(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"))
}

#[test]
fn a_tree_holds_what_proc_lists() {
    let outcome = parity(&["sh", "-c", BUSY]).end();
    let said = said(&outcome);
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(said["schema"], "leaktrace.parity/1");
    assert_eq!(said["differed"], 0, "{said:#}");
    assert_eq!(said["self_check"][1], 0, "{said:#}");
    assert_eq!(said["events"]["lost"], 0, "{said:#}");
    assert!(said["looks"].as_u64() >= Some(5), "{said:#}");
    assert!(said["compared"].as_u64() >= Some(100), "{said:#}");
}

#[test]
fn a_record_that_vanishes_is_noticed() {
    let outcome = parity(&["sh", "-c", BUSY])
        .env("LEAKTRACE_TEST_LOSS", "drop=20,silent")
        .end();
    let said = said(&outcome);
    assert_eq!(outcome.code(), 100, "{outcome}");
    let noticed =
        said["differed"].as_u64().unwrap_or(0) + said["self_check"][1].as_u64().unwrap_or(0);
    assert!(noticed > 0, "{said:#}");
}

#[test]
fn loss_on_purpose_that_is_not_understood_is_refused() {
    let outcome = Run::check(steps(STEPS, &[]))
        .env("LEAKTRACE_TEST_LOSS", "drop=often")
        .text()
        .end();
    assert_eq!(outcome.code(), 2, "{outcome}");
    assert!(
        outcome.stderr.contains("`drop=often` is not understood"),
        "{outcome}"
    );
}

/// Path of the fixture that does random things.
const TURMOIL: &str = env!("CARGO_BIN_EXE_turmoil");

#[test]
fn random_things_of_eight_processes_are_what_proc_lists() {
    let args = ["--parity", "--json", "--stops"];
    let outcome = Run::of("doctor", [TURMOIL, "7", "3000"])
        .args(args)
        .text()
        .end();
    let said = said(&outcome);
    assert_eq!(outcome.code(), 0, "{said:#}");
    // Emulated, three thousand things take most of the time there is.
    let stops = if is_emulated() { 1 } else { 3 };
    assert!(said["stops"].as_u64() >= Some(stops), "{said:#}");
    assert!(said["least"].as_u64() >= Some(100), "{said:#}");
}

/// A program that halts whenever a mremap failed after it had unmapped something.
const HALF_DONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/program/half_done.py");

#[test]
fn a_mremap_that_failed_halfway_leaves_what_proc_lists() {
    let outcome = Run::of("doctor", ["python3", HALF_DONE])
        .args(["--parity", "--json", "--stops"])
        .text()
        .end();
    let said = said(&outcome);
    assert_eq!(outcome.code(), 0, "{said:#}");
    let stops = said["stops"].as_u64();
    // Emulated, one of the three halts may be looked at twice.
    assert!(
        stops == Some(3) || is_emulated() && stops > Some(3),
        "{said:#}"
    );
}

/// A process that opens and closes all the time, and keeps a file now and then.
const STORM: &str = "import os, time\nkept = []\nfor n in range(3):\n    end = time.time() + 0.4\n    \
                     while time.time() < end:\n        for _ in range(100): os.close(os.dup(0))\n    \
                     kept.append(open('/etc/hosts'))\n    time.sleep(0.5)";

#[test]
fn after_a_loss_the_tables_are_right_again() {
    let outcome = parity(&["python3", "-c", STORM])
        .env("LEAKTRACE_TEST_LOSS", "ring=4096,sleep=50/100")
        .end();
    let said = said(&outcome);
    assert_eq!(outcome.code(), 0, "{said:#}");
    assert!(said["events"]["lost"].as_u64() > Some(0), "{said:#}");
    assert!(said["reread"].as_u64() > Some(0), "{said:#}");
    assert_eq!(said["events"]["vital_lost"], 0, "{said:#}");
}

#[test]
fn every_record_is_received_or_counted_as_lost() {
    needs("bpf_loop", (5, 17));
    let outcome = Run::check(["python3", "-c", STORM])
        .env("LEAKTRACE_TEST_LOSS", "ring=4096,sleep=50/100")
        .end();
    let events = &outcome.report["events"];
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
    assert!(count(events, "lost") > 0, "{outcome}");
    let cpus = events["by_cpu"].as_object().expect("counts by CPU");
    for of in cpus.values().chain([events]) {
        let sum = count(of, "received") + count(of, "lost");
        assert_eq!(count(of, "produced"), sum, "{events:#}");
    }
    // What outlives a process does not rest on the lost records.
    let because = outcome.report["inconclusive_because"].to_string();
    assert!(!because.contains("residue"), "{because}");
}
