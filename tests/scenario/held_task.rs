//! LT205: threads and children that run when their process ends.

use crate::check_steps;

const ASKED: [&str; 2] = ["--fail-on", "LT205"];

#[test]
fn a_thread_that_nobody_joins_is_held() {
    let outcome = check_steps(&["thread-sleep 3000", "sleep 20"])
        .args(ASKED)
        .end();
    let error = outcome.only_error("LT205");
    assert_eq!(error["kind"], "thread", "{outcome}");
    assert_eq!(error["resource"]["users"], 1, "{outcome}");
    let twin = check_steps(&["thread-join 20"]);
    twin.args(ASKED).end().twin_clean("LT205");
}

#[test]
fn a_child_that_ends_later_is_held() {
    let outcome = check_steps(&["fork c sleep 400"]).args(ASKED).end();
    assert_eq!(outcome.only_error("LT205")["kind"], "process", "{outcome}");
    let twin = check_steps(&["fork c sleep 50", "wait c"]);
    twin.args(ASKED).end().twin_clean("LT205");
}

#[test]
fn a_child_that_stays_is_told_once_as_a_survivor() {
    let outcome = check_steps(&["fork c sleep 6000"])
        .args(["--fail-on", "LT205", "--settle", "300ms"])
        .end();
    outcome.only_error("LT101");
}
