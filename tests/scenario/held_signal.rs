//! LT203: timers and pending signals at exit.

use crate::check_steps;

const ASKED: [&str; 2] = ["--fail-on", "signal"];

#[test]
fn a_timer_that_nobody_deletes_is_held() {
    let outcome = check_steps(&["timer t"]).args(ASKED).end();
    assert_eq!(
        outcome.only_error("LT203")["kind"],
        "posix-timer",
        "{outcome}"
    );
    let twin = check_steps(&["timer t", "timer-delete t"]);
    twin.args(ASKED).end().twin_clean("LT203");
}

#[test]
fn a_signal_that_is_blocked_to_the_end_is_pending() {
    let outcome = check_steps(&["block 10", "raise 10"]).args(ASKED).end();
    let error = outcome.only_error("LT203");
    assert_eq!(error["kind"], "pending-signal", "{outcome}");
    assert_eq!(error["resource"]["id"], 10, "{outcome}");
    let twin = check_steps(&["block 10", "raise 10", "unblock 10"]);
    twin.args(ASKED).end().twin_clean("LT203");
}

#[test]
fn an_alarm_that_has_not_rung_is_armed() {
    let outcome = check_steps(&["alarm 60"]).args(ASKED).end();
    assert_eq!(outcome.only_error("LT203")["kind"], "itimer", "{outcome}");
    let twin = check_steps(&["alarm 60", "alarm 0"]);
    twin.args(ASKED).end().twin_clean("LT203");
}

#[test]
fn without_being_asked_nothing_is_said() {
    check_steps(&["timer t", "alarm 60"]).end().spotless();
}
