//! Exit codes are an API: CMD's own status first, then findings, and who it was is said.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use leaktrace_tests::{Place, Run, alone};

use crate::{check_sh, check_steps};

#[test]
fn a_clean_command_gives_0() {
    let outcome = Run::check(["true"]).end();
    outcome.spotless();
    assert_eq!(outcome.report["exit"]["because"], "clean", "{outcome}");
    assert_eq!(outcome.report["child"]["exit_code"], 0, "{outcome}");
    assert_eq!(outcome.report["schema"], "leaktrace.report/1");
}

#[test]
fn clean_is_one_line_of_text() {
    let outcome = Run::check(["true"]).text().end();
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{outcome}");
    assert!(
        lines[0].starts_with("leaktrace: clean: 1 process, "),
        "{outcome}"
    );
    assert!(lines[0].ends_with(", 0 lost, exit 0"), "{outcome}");
    assert_eq!(outcome.stdout, "", "{outcome}");
}

#[test]
fn the_commands_own_failure_is_forwarded() {
    for code in [1, 3, 75, 100, 255] {
        let outcome = check_sh(&format!("exit {code}")).end();
        assert_eq!(outcome.code(), code, "{outcome}");
        assert_eq!(outcome.report["exit"]["because"], "child", "{outcome}");
        assert_eq!(outcome.report["child"]["exit_code"], code, "{outcome}");
        assert_eq!(outcome.report["verdict"], "clean", "{outcome}");
    }
}

#[test]
fn a_fatal_signal_ends_leaktrace_too() {
    for (name, number) in [("SEGV", 11), ("TERM", 15), ("KILL", 9)] {
        let outcome = check_sh(&format!("kill -{name} $$")).end();
        assert_eq!(outcome.status.signal(), Some(number), "{outcome}");
        assert!(!outcome.status.core_dumped(), "{outcome}");
        assert_eq!(outcome.report["child"]["signal"], number, "{outcome}");
        assert_eq!(outcome.report["exit"]["code"], 128 + number, "{outcome}");
    }
}

#[test]
fn a_missing_command_is_127_and_one_that_cannot_run_126() {
    let place = Place::new();
    let missing = Run::check(["/no/such"]).at(&place).end();
    assert_eq!(missing.code(), 127, "{missing}");
    assert!(missing.stderr.contains("/no/such"), "{missing}");
    let directory = Run::check(["/etc"]).at(&place).end();
    assert_eq!(directory.code(), 126, "{directory}");
}

#[test]
fn a_wrong_command_line_is_2() {
    let unknown = Run::check(["true"]).args(["--no-such-option"]).text().end();
    assert_eq!(unknown.code(), 2, "{unknown}");
    let twice = Run::check(["true"])
        .text()
        .args(["-f", "json", "-f", "text"])
        .end();
    assert_eq!(twice.code(), 2, "two reports without a path: {twice}");
}

#[test]
fn an_output_path_that_cannot_be_written_is_found_before_the_command_runs() {
    let place = Place::new();
    let mark = place.temp("mark");
    let outcome = Run::check(["touch", &mark])
        .at(&place)
        .text()
        .args(["-f", "json:/no/such/directory/report"])
        .end();
    assert_ne!(outcome.code(), 0, "{outcome}");
    assert!(
        !place.tmp().join("mark").exists(),
        "the command was run: {outcome}"
    );
    assert!(
        outcome.stderr.contains("/no/such/directory/report"),
        "{outcome}"
    );
}

#[test]
fn the_commands_status_wins_over_findings_unless_asked_otherwise() {
    let place = Place::new();
    let leak_and_fail = "mktemp >/dev/null; exit 3";
    let outcome = check_sh(leak_and_fail).at(&place).end();
    assert_eq!(outcome.code(), 3, "{outcome}");
    assert_eq!(outcome.report["verdict"], "findings", "{outcome}");
    assert_eq!(outcome.report["exit"]["because"], "child", "{outcome}");
    let outcome = check_sh(leak_and_fail)
        .at(&place)
        .args(["--error-exitcode", "42"])
        .end();
    assert_eq!(outcome.code(), 42, "{outcome}");
    assert_eq!(outcome.report["exit"]["because"], "findings", "{outcome}");
}

#[test]
fn run_observes_and_never_fails_by_itself() {
    let place = Place::new();
    let outcome = Run::of("run", ["cat"])
        .at(&place)
        .stdin(b"hi\n")
        .text()
        .end();
    assert_eq!(outcome.stdout, "hi\n", "{outcome}");
    assert_eq!(outcome.code(), 0, "{outcome}");
    let outcome = Run::of("run", ["mktemp"]).at(&place).end();
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(outcome.of_rule("LT109").len(), 1, "{outcome}");
}

#[test]
fn allowed_findings_are_shown_as_suppressed_and_do_not_fail() {
    let place = Place::new();
    let file = place.temp("left");
    let outcome = check_steps(&[&format!("create a {file}"), "close a"])
        .at(&place)
        .args(["--allow", "LT109:comm=st*"])
        .end();
    outcome.clean();
    let findings = outcome.of_rule("LT109");
    assert_eq!(findings.len(), 1, "{outcome}");
    assert_eq!(findings[0]["level"], "error", "{outcome}");
    assert!(findings[0]["suppressed_by"].is_string(), "{outcome}");
    assert_eq!(outcome.report["known"]["suppressed"], 1, "{outcome}");
}

#[test]
fn a_signal_sent_to_leaktrace_reaches_the_command_once() {
    let place = Place::new();
    let script = "trap 'echo got >>caught; exit 7' TERM; : >ready; while :; do sleep 0.01; done";
    let mut child = check_sh(script).spawn(&place);
    while !place.cwd().join("ready").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: no memory is passed; the pid is our own child's.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
    let status = child.wait().expect("wait for leaktrace");
    assert_eq!(status.code(), Some(7));
    let caught = std::fs::read_to_string(place.cwd().join("caught")).expect("the trap ran");
    assert_eq!(caught, "got\n");
}

#[test]
fn starting_and_stopping_costs_little() {
    leaktrace_tests::at_own_speed();
    let alone = alone();
    let place = Place::new();
    let mut times: Vec<Duration> = (0..20)
        .map(|_| Run::check(["true"]).at(&place).alone(&alone).end().elapsed)
        .collect();
    times.sort();
    // Detaching one tracepoint after the other takes seconds: that is what must not happen. How
    // fast a start is to the millisecond is told by the benchmark; a test would only tell how
    // busy this machine is.
    let quarter = times[5];
    let limit = Duration::from_millis(1500);
    assert!(
        quarter <= limit,
        "three quarters took more than {quarter:?}: {times:?}"
    );
}
