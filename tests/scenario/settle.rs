//! Waiting on evidence, with a deadline; nothing to wait for costs nothing.

use std::time::Duration;

use leaktrace_tests::{Alone, Outcome, Run, alone, at_own_speed};

use crate::check_sh;

/// How long `check` takes for a command that takes no time and leaves nothing.
fn startup(alone: &Alone) -> Duration {
    let runs = (0..5).map(|_| Run::check(["true"]).alone(alone).end().elapsed);
    runs.max().unwrap_or_default()
}

/// Runs `script`, which must end `from` to `to` milliseconds after its start.
#[track_caller]
fn between(from: u64, to: u64, run: Run<'_>) -> Outcome {
    at_own_speed();
    let alone = alone();
    let slack = startup(&alone) + Duration::from_millis(300);
    let outcome = run.alone(&alone).end();
    let range = Duration::from_millis(from)..=Duration::from_millis(to) + slack;
    assert!(range.contains(&outcome.elapsed), "{range:?}: {outcome}");
    outcome
}

#[test]
fn a_descendant_that_ends_within_the_deadline_is_waited_for_and_no_longer() {
    let outcome = between(1500, 1600, check_sh("sleep 1.5 & exit 0"));
    outcome.spotless();
    let settle = &outcome.report["settle"];
    let waited = settle["waited_ns"].as_u64().unwrap_or_default();
    assert!(
        (1_300_000_000..1_900_000_000).contains(&waited),
        "{outcome}"
    );
    assert!(
        settle["for"].as_array().is_some_and(|it| !it.is_empty()),
        "{outcome}"
    );
}

#[test]
fn the_deadline_is_kept() {
    let outcome = between(2000, 2100, check_sh("sleep 3 & exit 0"));
    outcome.only_error("LT101");
    std::thread::sleep(Duration::from_millis(1200));
}

#[test]
fn the_deadline_can_be_chosen() {
    let run = check_sh("sleep 1 & exit 0").args(["--settle", "300ms"]);
    let outcome = between(300, 400, run);
    outcome.only_error("LT101");
    std::thread::sleep(Duration::from_millis(900));
}

#[test]
fn nothing_to_wait_for_is_said() {
    let outcome = Run::check(["true"]).end();
    let waited = outcome.report["settle"]["for"].as_array();
    assert_eq!(waited.map(Vec::len), Some(0), "{outcome}");
}
