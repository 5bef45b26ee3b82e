//! LT102: a child that ended and was never waited for.

use leaktrace_tests::Run;

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

/// waitid(2) with no place for its answer tells nobody whom it took.
#[test]
fn a_wait_that_asks_for_no_answer_is_a_wait() {
    let script = "import ctypes, os, time\n\
                  if os.fork() == 0: os._exit(0)\n\
                  assert ctypes.CDLL(None).waitid(0, 0, None, 4) == 0\n\
                  time.sleep(1.3)";
    let outcome = Run::check(["python3", "-c", script]).end();
    outcome.clean();
    let waiter = outcome
        .processes("python3")
        .into_iter()
        .find(|it| it["parent"].is_null())
        .unwrap_or_else(|| panic!("no root\n{outcome}"));
    let children = &waiter["by_kind"]["child"];
    assert!(children["released"].as_u64() > Some(0), "{outcome}");
    assert_eq!(children["released"], children["acquired"], "{outcome}");
}
