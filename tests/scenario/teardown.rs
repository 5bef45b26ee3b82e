//! Teardown: who asked, how long it took to obey, what was forced, what was still going on.

use leaktrace_tests::Outcome;
use serde_json::Value;

use crate::check_steps;

/// The teardown of the one process for which `is` holds.
fn only(outcome: &Outcome, is: impl Fn(&Value) -> bool) -> &Value {
    let all = outcome.processes("steps");
    let found: Vec<&Value> = all
        .into_iter()
        .map(|process| &process["teardown"])
        .filter(|teardown| is(teardown))
        .collect();
    assert_eq!(found.len(), 1, "{outcome}");
    found[0]
}

fn asked(teardown: &Value) -> bool {
    teardown["asked"].is_object()
}

#[test]
fn who_asked_and_how_long_it_took_to_obey() {
    let steps = [
        "fork c handle-term,await-handler,sleep 50",
        "sleep 300",
        "kill c 15",
        "wait c",
    ];
    let outcome = check_steps(&steps).end();
    let teardown = only(&outcome, asked);
    assert_eq!(teardown["asked"]["signal"], "SIGTERM", "{outcome}");
    assert_eq!(teardown["asked"]["by_comm"], "steps", "{outcome}");
    let obeyed = teardown["obeyed_ns"].as_u64().unwrap_or_default();
    assert!((50_000_000..5_000_000_000).contains(&obeyed), "{outcome}");
    assert!(teardown["escalation"].is_null(), "{outcome}");
}

#[test]
fn term_then_kill_is_an_escalation() {
    let steps = [
        "fork c ignore-term,sleep 20000",
        "sleep 300",
        "kill c 15",
        "sleep 250",
        "kill c 9",
        "wait c",
    ];
    let outcome = check_steps(&steps).end();
    let teardown = only(&outcome, asked);
    let escalation = &teardown["escalation"];
    assert_eq!(escalation["from"], "SIGTERM", "{outcome}");
    assert_eq!(escalation["to"], "SIGKILL", "{outcome}");
    let after = escalation["after_ns"].as_u64().unwrap_or_default();
    assert!((250_000_000..5_000_000_000).contains(&after), "{outcome}");
    assert!(teardown["obeyed_ns"].is_null(), "{outcome}");
}

#[test]
fn threads_children_and_requests_that_still_ran_are_counted() {
    let outcome = check_steps(&[
        "fork c sleep 300",
        "pipe r w",
        "ring q",
        "ring-read q r",
        "thread-sleep 5000",
        "sleep 30",
    ])
    .end();
    let teardown = only(&outcome, |teardown| teardown["threads"] == 1);
    assert_eq!(teardown["children"]["orphaned"], 1, "{outcome}");
    assert_eq!(teardown["abandoned"], 1, "{outcome}");
    assert!(teardown["asked"].is_null(), "{outcome}");
}

#[test]
fn verbose_text_says_it_in_the_process_s_line() {
    let steps = ["fork c sleep 20000", "sleep 200", "kill c 15", "wait c"];
    let outcome = check_steps(&steps).args(["-v"]).text().end();
    assert!(
        outcome.stderr.contains("; SIGTERM from"),
        "{}",
        outcome.stderr
    );
}
