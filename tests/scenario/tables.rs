//! `doctor --parity`: our tables are the kernel's, and it is noticed where they are not.

use leaktrace_tests::{Outcome, Run, steps};
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
