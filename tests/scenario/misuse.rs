//! LT401 to LT403: releases that could not work.

use leaktrace_tests::Run;

use crate::check_steps;

#[test]
fn a_close_of_what_was_never_open_is_a_bad_close() {
    let outcome = check_steps(&["close-number 77"]).end();
    outcome.clean();
    assert_eq!(outcome.fired("LT401")["resource"]["fd"], 77, "{outcome}");
    assert!(outcome.of_rule("LT403").is_empty(), "{outcome}");
    check_steps(&["open a /etc/hosts", "close a"])
        .end()
        .twin_clean("LT401");
}

#[test]
fn a_second_close_is_a_double_release() {
    let twice = [
        "open a /etc/hosts",
        "dup2 b a 50",
        "close a",
        "close b",
        "close-number 50",
    ];
    let outcome = check_steps(&twice).end();
    outcome.clean();
    assert_eq!(outcome.fired("LT403")["resource"]["fd"], 50, "{outcome}");
    assert!(
        outcome.of_rule("LT401").is_empty(),
        "one cause, one note\n{outcome}"
    );
    check_steps(&twice[..4]).end().twin_clean("LT403");
}

#[test]
fn what_bash_does_by_itself_is_no_note_about_a_script() {
    let script = "x=$(echo a | cat); y=$(cat <(echo b)); test \"$x$y\" = ab";
    Run::check(["bash", "-c", script]).end().spotless();
}

#[test]
fn a_number_that_is_open_again_is_closed_once_each_time() {
    let steps = [
        "open a /etc/hosts",
        "close a",
        "open b /etc/hosts",
        "close b",
    ];
    check_steps(&steps).end().twin_clean("LT403");
}

#[test]
fn a_refused_munmap_is_a_failed_release() {
    let outcome = check_steps(&["munmap-bad"]).end();
    outcome.clean();
    assert_eq!(
        outcome.fired("LT402")["resource"]["syscall"],
        "munmap",
        "{outcome}"
    );
    check_steps(&["mmap m 4096", "munmap m"])
        .end()
        .twin_clean("LT402");
}
