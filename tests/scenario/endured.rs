//! What a run lives through: it is stopped, its terminal changes, others watch as well, its clocks
//! are others'.

use std::path::Path;
use std::time::Duration;

use leaktrace_tests::{Outcome, Place, Run, Terminal, leaktrace};

use crate::check_sh;

/// A command that stops leaktrace, its parent, for a time, and meanwhile makes more records than
/// the ring holds; then it leaves a file behind.
const STOPPER: &str = "import os, signal, sys, tempfile, time\n\
    os.kill(os.getppid(), signal.SIGSTOP)\n\
    end = time.monotonic() + float(sys.argv[1])\n\
    while time.monotonic() < end:\n\
    \x20   for _ in range(1000): os.close(os.dup(0))\n\
    os.kill(os.getppid(), signal.SIGCONT)\n\
    time.sleep(0.3)\n\
    tempfile.mkstemp()\n\
    sys.exit(4)";

#[test]
fn a_suspended_leaktrace_counts_what_it_missed_and_finds_what_is_left() {
    let place = Place::new();
    // A small ring, so that seconds do what would take a minute.
    let outcome = Run::check(["python3", "-c", STOPPER, "3"])
        .at(&place)
        .env("LEAKTRACE_TEST_LOSS", "ring=262144")
        .end();
    let events = &outcome.report["events"];
    let lost = events["lost"].as_u64().unwrap_or(0);
    assert!(lost > 0, "nothing was lost\n{outcome}");
    let received = events["received"].as_u64().unwrap_or(0);
    assert_eq!(events["produced"], received + lost, "{outcome}");
    assert_eq!(outcome.report["self_check"]["differed"], 0, "{outcome}");
    assert_eq!(outcome.code(), 4, "{outcome}");
    let errors = outcome.errors();
    assert_eq!(errors.len(), 1, "{outcome}");
    assert_eq!(errors[0]["rule"], "LT109", "{outcome}");
}

#[test]
fn a_leaktrace_that_was_suspended_and_lost_nothing_says_so() {
    let place = Place::new();
    let script = "kill -STOP $PPID; (sleep 1; kill -CONT $PPID) & for i in 1 2 3; do \
                  : </etc/hosts; done; wait";
    check_sh(script).at(&place).end().spotless();
}

/// Runs top in a terminal whose size changes, and wants the terminal as it was.
fn resized(sizes: &[(u16, u16)], shown: &str) {
    let place = Place::new();
    let script = format!(
        "stty -a | sed 's/rows.*columns [0-9]*//' >before; {} top; stty -a | \
         sed 's/rows.*columns [0-9]*//' >after.tmp; mv after.tmp after; echo ended; sleep 60",
        leaktrace().display()
    );
    let terminal = Terminal::new((100, 30), &place.cwd(), &script);
    terminal.until("the live screen", |screen| screen.contains("FD/s"));
    for size in sizes {
        terminal.resize(*size);
    }
    terminal.until(shown, |screen| screen.contains(shown));
    terminal.key("q");
    terminal.until("the end", |screen| screen.contains("ended"));
    let read = |name: &str| std::fs::read_to_string(place.cwd().join(name)).expect("stty");
    assert_eq!(read("after"), read("before"));
}

#[test]
fn a_terminal_of_20_by_5_is_too_small_and_nothing_breaks() {
    resized(&[(20, 5)], "60x10");
}

#[test]
fn a_terminal_of_400_by_100_shows_more() {
    resized(&[(400, 100)], "FD/s");
}

#[test]
fn a_terminal_that_is_resized_all_the_time() {
    let sizes = [(20, 5), (400, 100), (80, 24), (61, 11), (1, 1), (200, 50)];
    let all: Vec<_> = (0..60).map(|n| sizes[n % sizes.len()]).collect();
    resized(&all, "FD/s");
}

#[test]
fn two_at_once_watch_their_own_command_each() {
    let places = [Place::new(), Place::new()];
    let script = "mktemp $TMPDIR/left.XXXXXX; sleep 0.5; ls >/dev/null";
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let whole = scope.spawn(|| Run::of::<&str>("hist", []).args(["--duration", "1s"]).end());
        let runs = places
            .each_ref()
            .map(|place| scope.spawn(|| check_sh(script).at(place).end()));
        let outcomes = runs.map(|run| run.join().expect("a run"));
        let whole = whole.join().expect("a run");
        assert_eq!(whole.code(), 0, "{whole}");
        outcomes.into_iter().collect()
    });
    for (outcome, place) in outcomes.iter().zip(&places) {
        let finding = outcome.only_error("LT109");
        let path = finding["resource"]["path"].as_str().unwrap_or_default();
        assert!(Path::new(path).starts_with(place.tmp()), "{outcome}");
        assert_eq!(finding["count"], 1, "{outcome}");
        let processes = outcome.report["processes"].as_array().map(Vec::len);
        assert_eq!(processes, Some(4), "{outcome}");
    }
}

#[test]
fn in_a_time_namespace_what_runs_on_is_found_and_times_are_right() {
    for offset in ["100000", "-50"] {
        let place = Place::new();
        // Before exec enters it (after Linux 6.1) only a child is in it.
        let unshare = ["unshare", "--time", "--fork", "--boottime", offset];
        let outcome = check_sh("setsid sleep 20 & sleep 0.1")
            .at(&place)
            .through(unshare)
            .args(["--settle", "300ms"])
            .end();
        let finding = outcome.only_error("LT101");
        let survivor = finding["pid"].as_i64().expect("a pid");
        // SAFETY: no memory is passed; the survivor is this scenario's own.
        unsafe { libc::kill(survivor as i32, libc::SIGKILL) };
        let reap = outcome.process("sh")["timing_ns"]["reap"].as_u64();
        let limit = Duration::from_secs(30).as_nanos() as u64;
        assert!(reap.is_some_and(|ns| ns < limit), "{outcome}");
    }
}

#[test]
fn a_command_in_a_time_namespace_is_judged_like_any_other() {
    let place = Place::new();
    let unshare = ["unshare", "--time", "--boottime", "100000", "mktemp"];
    Run::check(unshare).at(&place).end().only_error("LT109");
}
