//! LT3xx: last in, first out. Off unless asked for; counted always.

use serde_json::Value;

use leaktrace_tests::Outcome;

use crate::check_steps;

const ABC: [&str; 3] = [
    "open a /etc/hosts",
    "open b /etc/passwd",
    "open c /etc/group",
];
const ORDER: [&str; 2] = ["--fail-on", "order"];

fn run(releases: &[&str], options: &[&str]) -> Outcome {
    check_steps(&[&ABC, releases].concat()).args(options).end()
}

/// (path released, path of the later one that was still open), of every breach.
fn pairs(outcome: &Outcome) -> Vec<(String, String)> {
    let path = |resource: &Value| resource["path"].as_str().unwrap_or_default().to_owned();
    outcome
        .of_rule("LT301")
        .iter()
        .map(|finding| (path(&finding["resource"]), path(&finding["other"])))
        .collect()
}

fn breaches(outcome: &Outcome) -> &Value {
    &outcome.process("steps")["order"]["breaches"]
}

#[test]
fn first_in_first_out_is_two_breaches() {
    let outcome = run(&["close a", "close b", "close c"], &[]);
    outcome.spotless();
    let order = &outcome.process("steps")["order"];
    assert_eq!(order["mode"], "instance", "{outcome}");
    assert_eq!(order["checked"], 3, "{outcome}");
    assert_eq!(order["breaches"], 2, "{outcome}");
    assert!(
        order["score"]
            .as_f64()
            .is_some_and(|score| (score - 1.0 / 3.0).abs() < 1e-9)
    );
}

#[test]
fn ipc_objects_take_part_by_their_removal() {
    let made = ["shmget a 4096", "shmget b 4096", "semget c"];
    let run = |removed: &[&str]| check_steps(&[&made, removed].concat()).end();
    let outcome = run(&["shmrm a", "shmrm b", "semrm c"]);
    outcome.spotless();
    let process = outcome.process("steps");
    assert_eq!(process["order"]["checked"], 3, "{outcome}");
    assert_eq!(process["order"]["breaches"], 2, "{outcome}");
    let ipc = &process["by_class"]["ipc"];
    assert_eq!(ipc["released"], 3, "{outcome}");
    assert!(ipc["release_ns"].as_u64() > Some(0), "{outcome}");
    let outcome = run(&["semrm c", "shmrm b", "shmrm a"]);
    assert_eq!(breaches(&outcome), 0, "{outcome}");
    // What somebody else removes is no release of its maker's, and stands in nobody's way.
    let outcome = run(&["fork k semrm c", "wait k", "shmrm b", "shmrm a"]);
    let order = &outcome.processes("steps")[0]["order"];
    assert_eq!(order["checked"], 2, "{outcome}");
    assert_eq!(order["breaches"], 0, "{outcome}");
}

#[test]
fn each_breach_names_what_should_have_gone_first() {
    let outcome = run(&["close a", "close b", "close c"], &ORDER);
    assert_eq!(outcome.code(), 100, "{outcome}");
    assert_eq!(breaches(&outcome), 2, "{outcome}");
    let count: u64 = outcome
        .of_rule("LT301")
        .iter()
        .filter_map(|it| it["count"].as_u64())
        .sum();
    assert_eq!(count, 2, "{outcome}");
    let first = ("/etc/hosts".to_owned(), "/etc/passwd".to_owned());
    assert!(pairs(&outcome).contains(&first), "{outcome}");
    outcome.fired("LT301");
}

#[test]
fn a_scratch_file_in_between_changes_nothing() {
    let releases = [
        "close a",
        "open s /etc/shells",
        "close s",
        "close b",
        "close c",
    ];
    let outcome = run(&releases, &[]);
    assert_eq!(breaches(&outcome), 2, "{outcome}");
}

#[test]
fn last_in_first_out_is_none() {
    let outcome = run(&["close c", "close b", "close a"], &ORDER);
    outcome.twin_clean("LT301");
    let order = &outcome.process("steps")["order"];
    assert_eq!(
        (&order["checked"], &order["breaches"]),
        (&3.into(), &0.into()),
        "{outcome}"
    );
    assert_eq!(order["score"], 1.0, "{outcome}");
}

#[test]
fn a_leak_is_held_and_not_also_a_breach() {
    let outcome = run(&["close c", "close a"], &ORDER);
    outcome.clean();
    assert_eq!(breaches(&outcome), 0, "{outcome}");
    assert_eq!(outcome.process("steps")["summary"]["held"], 1, "{outcome}");
    let outcome = run(&["close c", "close a"], &["--fail-on", "held"]);
    assert_eq!(
        outcome.only_error("LT201")["resource"]["path"],
        "/etc/passwd",
        "{outcome}"
    );
}

#[test]
fn the_loaders_files_are_not_judged() {
    let outcome = leaktrace_tests::Run::check(["true"]).end();
    let order = &outcome.process("true")["order"];
    assert_eq!(order["checked"], 0, "{outcome}");
    assert!(order["score"].is_null(), "{outcome}");
}

#[test]
fn what_a_fatal_signal_ended_is_not_judged() {
    let outcome = run(&["close a", "close b", "raise 15"], &ORDER);
    assert!(outcome.errors().is_empty(), "{outcome}");
    let order = &outcome.process("steps")["order"];
    assert_eq!(order["checked"], 0, "{outcome}");
    assert_eq!(order["breaches"], 0, "{outcome}");
    assert!(order["score"].is_null(), "{outcome}");
}

#[test]
fn releases_after_a_signal_taken_by_sigwait_are_judged() {
    let steps = [
        "fork k open a /etc/hosts, open b /etc/passwd, sigwait-term, close a, close b",
        "sleep 100",
        "kill k 15",
        "wait k",
    ];
    let outcome = check_steps(&steps).end();
    outcome.clean();
    let child = outcome
        .processes("steps")
        .into_iter()
        .find(|it| !it["parent"].is_null())
        .unwrap_or_else(|| panic!("no child\n{outcome}"));
    assert_eq!(child["order"]["checked"], 2, "{outcome}");
    assert_eq!(child["order"]["breaches"], 1, "{outcome}");
    let teardown = child["timing_ns"]["teardown"].as_u64().unwrap_or_default();
    assert!(teardown > 0, "{outcome}");
}

#[test]
fn classes_in_the_wrong_order_are_breaches_when_asked_for() {
    let taken = ["udp s", "open a /etc/hosts"];
    let options = ["--order", "class:fds-first", "--fail-on", "order"];
    let run = |releases: [&str; 2]| {
        let steps = [&taken[..], &releases].concat();
        check_steps(&steps).args(options).end()
    };
    let outcome = run(["close s", "close a"]);
    let finding = outcome.fired("LT302");
    assert_eq!(finding["kind"], "udp", "{outcome}");
    assert_eq!(finding["other"]["path"], "/etc/hosts", "{outcome}");
    run(["close a", "close s"]).twin_clean("LT302");
}

#[test]
fn anything_but_the_reverse_is_a_breach_when_asked_for() {
    let taken = ["udp s", "open a /etc/hosts"];
    let options = ["--order", "global", "--fail-on", "order"];
    let run = |releases: [&str; 2]| {
        let steps = [&taken[..], &releases].concat();
        check_steps(&steps).args(options).end()
    };
    let outcome = run(["close s", "close a"]);
    assert_eq!(outcome.fired("LT303")["kind"], "udp", "{outcome}");
    run(["close a", "close s"]).twin_clean("LT303");
}
