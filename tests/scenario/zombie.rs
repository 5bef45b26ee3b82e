//! LT102: a child that ended and was never waited for.

use crate::check_steps;

#[test]
fn a_child_that_was_a_zombie_for_a_second_is_an_error() {
    let outcome = check_steps(&["fork k exit 0", "sleep 1300"]).end();
    let finding = outcome.only_error("LT102");
    assert_eq!(finding["name"], "zombie-left");
    assert_eq!(finding["kind"], "process");
    assert_eq!(finding["comm"], "steps");
    let child = outcome
        .processes("steps")
        .into_iter()
        .find(|it| it["pid"] == finding["pid"])
        .unwrap_or_else(|| panic!("the zombie is no process of the report\n{outcome}"));
    assert!(
        !child["parent"].is_null(),
        "the zombie is the child: {outcome}"
    );
}

#[test]
fn a_child_that_was_waited_for_is_no_finding() {
    check_steps(&["fork k exit 0", "sleep 1300", "wait k"])
        .end()
        .twin_clean("LT102");
}

#[test]
fn a_young_zombie_is_nothing() {
    check_steps(&["fork k exit 0", "sleep 100"])
        .end()
        .spotless();
}
