//! A user who cannot trace is told so, and by default nothing is run unwatched.

use leaktrace_tests::{NOBODY, Outcome, Place, Run};

fn as_nobody(place: &Place, options: &[&str]) -> Outcome {
    let binary = place.open_to_all();
    Run::check(["echo", "ran"])
        .at(place)
        .text()
        .binary(&binary)
        .through(NOBODY)
        .args(options)
        .end()
}

#[test]
fn without_privileges_the_command_is_not_run_and_the_status_is_77() {
    let outcome = as_nobody(&Place::new(), &[]);
    assert_eq!(outcome.code(), 77, "{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "one sentence: {outcome}");
    assert!(outcome.stderr.contains("CAP_BPF"), "{outcome}");
}

#[test]
fn it_can_be_made_a_failure() {
    let outcome = as_nobody(&Place::new(), &["--if-unavailable", "fail"]);
    assert_eq!(outcome.code(), 125, "{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
}

#[test]
fn it_can_be_made_a_run_without_a_verdict() {
    let outcome = as_nobody(&Place::new(), &["--if-unavailable", "run"]);
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(outcome.stdout, "ran\n", "{outcome}");
    assert!(outcome.stderr.contains("untraced"), "{outcome}");
}

#[test]
fn a_capture_needs_no_privileges_and_a_missing_one_is_said() {
    let place = Place::new();
    let binary = place.open_to_all();
    let outcome = Run::check::<&str>([])
        .at(&place)
        .text()
        .binary(&binary)
        .through(NOBODY)
        .args(["--from", "/no/such/capture"])
        .end();
    assert_ne!(outcome.code(), 0, "{outcome}");
    assert_ne!(outcome.code(), 77, "{outcome}");
    assert!(outcome.stderr.contains("/no/such/capture"), "{outcome}");
}

#[test]
fn the_command_runs_as_the_user_that_was_asked_for() {
    let place = Place::new();
    let outcome = Run::check(["id", "-u"])
        .at(&place)
        .args(["--user", "nobody"])
        .end();
    outcome.clean();
    assert_eq!(outcome.stdout, "65534\n", "{outcome}");
    assert_eq!(outcome.process("id")["uid"], 65534, "{outcome}");
}

#[test]
fn every_family_can_be_required() {
    Run::check(["true"])
        .args(["--require", "all"])
        .end()
        .spotless();
}
