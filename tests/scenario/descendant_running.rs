//! LT101: a process of the tree that still runs at the deadline.

use leaktrace_tests::{Outcome, Place, copy_program};

use crate::check_sh;

/// Ends a survivor, whatever becomes of the scenario: `sh` prints its pid.
struct Survivor(i32);

impl Survivor {
    fn of(outcome: &Outcome) -> Self {
        Self(outcome.stdout.trim().parse().expect("a pid"))
    }
}

impl Drop for Survivor {
    fn drop(&mut self) {
        // SAFETY: no memory is passed; the pid is a process that this scenario started and that
        // nobody but init can have reaped within the scenario.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

#[test]
fn a_background_process_is_an_error_with_its_own_name() {
    let outcome = check_sh("sleep 30 & echo $!; exit 0").end();
    let survivor = Survivor::of(&outcome);
    let finding = outcome.only_error("LT101");
    assert_eq!(finding["name"], "descendant-running");
    assert_eq!(finding["comm"], "sleep");
    assert_eq!(finding["pid"], survivor.0, "{outcome}");
    assert_eq!(finding["kind"], "process");
}

#[test]
fn a_background_process_that_is_waited_for_is_no_finding() {
    check_sh("sleep 0.1 & wait").end().twin_clean("LT101");
}

#[test]
fn a_process_that_left_its_session_is_found_too() {
    let script = "setsid sleep 30 </dev/null >/dev/null 2>&1 & echo $!; exit 0";
    let outcome = check_sh(script).args(["--settle", "300ms"]).end();
    let survivor = Survivor::of(&outcome);
    let finding = outcome.only_error("LT101");
    assert_eq!(finding["pid"], survivor.0, "{outcome}");
}

#[test]
fn what_a_survivor_left_is_listed_with_it_and_no_finding_of_its_own() {
    let script = "(echo x >$TMPDIR/scratch; exec sleep 30) & echo $!; exit 0";
    let outcome = check_sh(script).args(["--settle", "300ms"]).end();
    let _survivor = Survivor::of(&outcome);
    let finding = outcome.only_error("LT101");
    let caused = finding["caused"].as_array().cloned().unwrap_or_default();
    let path = |it: &serde_json::Value| it["path"].as_str().unwrap_or_default().to_owned();
    assert!(
        caused.iter().any(|it| path(it).ends_with("/scratch")),
        "{outcome}"
    );
}

/// A place with a program that passes for a daemon that tools leave running on purpose.
fn with_known_daemon() -> Place {
    let place = Place::new();
    copy_program("/bin/sleep", place.cwd().join("gpg-agent"));
    place
}

#[test]
fn a_known_daemon_may_stay() {
    let place = with_known_daemon();
    let script = "{ ./gpg-agent 30 </dev/null >/dev/null 2>&1 & } | true";
    let outcome = check_sh(script)
        .args(["--settle", "200ms"])
        .at(&place)
        .end();
    let pid = outcome.process("gpg-agent")["pid"]
        .as_i64()
        .unwrap_or_default();
    let _survivor = Survivor(pid as i32);
    outcome.twin_clean("LT101");
    assert_eq!(outcome.report["known"]["daemons"], 1, "{outcome}");
}

#[test]
fn a_known_daemon_that_keeps_a_pipe_of_the_run_is_an_error_again() {
    let place = with_known_daemon();
    let outcome = check_sh("{ ./gpg-agent 30 </dev/null & } | true")
        .args(["--settle", "200ms"])
        .at(&place)
        .end();
    let pid = outcome.process("gpg-agent")["pid"]
        .as_i64()
        .unwrap_or_default();
    let _survivor = Survivor(pid as i32);
    let finding = outcome.only_error("LT101");
    assert_eq!(finding["comm"], "gpg-agent", "{outcome}");
    assert_eq!(finding["caused"][0]["kind"], "pipe", "{outcome}");
}
