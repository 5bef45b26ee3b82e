//! LT502: asked to end, did not, was killed.

use crate::check_steps;

#[test]
fn a_child_that_ignores_term_is_killed() {
    let steps = [
        "fork c ignore-term,sleep 20000",
        "sleep 200",
        "kill c 15",
        "sleep 300",
        "kill c 9",
        "wait c",
    ];
    let outcome = check_steps(&steps).end();
    outcome.clean();
    let note = outcome.fired("LT502");
    let message = note["message"].as_str().unwrap_or_default();
    assert!(message.contains("ignored SIGTERM"), "{outcome}");
}

#[test]
fn one_that_obeys_is_not() {
    let steps = [
        "fork c sleep 20000",
        "sleep 100",
        "kill c 15",
        "sleep 200",
        "wait c",
    ];
    check_steps(&steps).end().twin_clean("LT502");
}
