//! Rules with a threshold, a budget or ranks of the policy: LT304, LT501, LT505, LT506, LT507.

use leaktrace_tests::{Outcome, Place, Run, needs};

use crate::{STEPS, check_steps};

/// A run with this policy.
fn judged(policy: &str, steps: &[&str], options: &[&str]) -> Outcome {
    let place = Place::new();
    let file = place.root().join("policy.toml");
    std::fs::write(&file, policy).expect("write a policy");
    let file = file.display().to_string();
    Run::check(leaktrace_tests::steps(STEPS, steps))
        .args(["--policy", &file])
        .args(options)
        .at(&place)
        .end()
}

#[test]
fn ranks_say_what_goes_first() {
    let policy = "[[order.rank]]\nmatch = { path = \"/etc/hosts\" }\nrank = 1\n\
                  [[order.rank]]\nmatch = { path = \"/etc/passwd\" }\nrank = 2\n";
    let asked = ["--fail-on", "order-rank"];
    let open = ["open a /etc/hosts", "open b /etc/passwd"];
    let wrong = [&open[..], &["close b", "close a"]].concat();
    let outcome = judged(policy, &wrong, &asked);
    let error = outcome.only_error("LT304");
    assert_eq!(error["resource"]["path"], "/etc/passwd", "{outcome}");
    assert_eq!(error["other"]["path"], "/etc/hosts", "{outcome}");
    let right = [&open[..], &["close a", "close b"]].concat();
    judged(policy, &right, &asked).twin_clean("LT304");
}

#[test]
fn ten_repeats_give_one_answer() {
    let steps = [
        "open a /etc/hosts",
        "open b /etc/passwd",
        "tcp c",
        "open d /etc/group",
        "close b",
        "close a",
        "close c",
        "close d",
    ];
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let outcome = check_steps(&steps).args(["--fail-on", "order"]).end();
        let order = &outcome.process("steps")["order"];
        let pairs: Vec<String> = outcome
            .of_rule("LT301")
            .iter()
            .map(|it| format!("{} {}", it["resource"]["path"], it["other"]["path"]))
            .collect();
        answers.insert(format!("{order} {pairs:?}"));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn a_teardown_that_takes_longer_than_the_policy_says_is_slow() {
    let policy = "[thresholds]\nslow-teardown = \"100ms\"\n";
    let steps = |ms: &str| {
        [
            "fork c handle-term,await-handler,sleep ".to_owned() + ms,
            "sleep 300".to_owned(),
            "kill c 15".to_owned(),
            "wait c".to_owned(),
        ]
    };
    let slow = steps("400");
    let slow: Vec<&str> = slow.iter().map(String::as_str).collect();
    let outcome = judged(policy, &slow, &[]);
    outcome.clean();
    outcome.fired("LT501");
    // The default is 5 s.
    check_steps(&slow).end().twin_clean("LT501");
}

#[test]
fn an_acquisition_that_passes_a_budget_is_named() {
    let policy = "[max]\nfd = 2\n";
    let open = ["open a /etc/hosts", "open b /etc/passwd"];
    let over = [
        &open[..],
        &["open c /etc/group", "close c", "close b", "close a"],
    ]
    .concat();
    let outcome = judged(policy, &over, &[]);
    outcome.clean();
    let note = outcome.fired("LT506");
    assert_eq!(note["resource"]["path"], "/etc/group", "{outcome}");
    let within = [&open[..], &["close b", "close a"]].concat();
    judged(policy, &within, &[]).twin_clean("LT506");
}

#[test]
fn an_accept_that_nobody_answers_and_a_lock_that_nobody_gives_back_are_stale() {
    let policy = "[thresholds]\nstale-operation = \"1s\"\n";
    let accept = ["tcp s", "listen s", "accept-timeout s 1600", "close s"];
    let outcome = judged(policy, &accept, &[]);
    outcome.clean();
    assert_eq!(
        outcome.fired("LT507")["resource"]["syscall"],
        "accept",
        "{outcome}"
    );
    let brief = ["tcp s", "listen s", "accept-timeout s 100", "close s"];
    judged(policy, &brief, &[]).twin_clean("LT507");
    let lock = [
        "create f lock",
        "flock f",
        "fork c open g lock,flock g",
        "sleep 1800",
        "unlock f",
        "wait c",
        "unlink lock",
    ];
    let outcome = judged(policy, &lock, &[]);
    let calls: Vec<_> = outcome
        .of_rule("LT507")
        .iter()
        .map(|it| it["resource"]["syscall"].clone())
        .collect();
    assert_eq!(calls, ["flock"], "{outcome}");
}

#[test]
fn a_request_of_aio_that_does_not_complete_is_stale() {
    needs("bpf_loop", (5, 17));
    let policy = "[thresholds]\nstale-operation = \"1500ms\"\n";
    let begin = ["pipe r w", "aio a", "aio-poll a r"];
    let end = ["write w 1", "aio-await a", "aio-destroy a"];
    let steps = |between: &[&'static str]| [&begin[..], between, &end[..]].concat();
    let outcome = judged(policy, &steps(&["sleep 8000"]), &[]);
    outcome.clean();
    let note = outcome.fired("LT507");
    assert_eq!(note["resource"]["syscall"], "aio request", "{outcome}");
    assert_eq!(note["kind"], "aio", "{outcome}");
    let message = note["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("aio request on aio context"),
        "{outcome}"
    );
    // It completes, and nobody has taken its event yet.
    let done = steps(&["write w 1", "sleep 8000"]);
    judged(policy, &done, &[]).twin_clean("LT507");
}

#[test]
fn a_number_that_only_rises_grows() {
    let policy = "[thresholds]\ngrowth-window = \"6s\"\ngrowth-rise = 20\n";
    let outcome = judged(policy, &["drip /etc/hosts 100 120"], &[]);
    outcome.clean();
    let message = outcome.fired("LT505")["message"]
        .as_str()
        .unwrap_or_default();
    assert!(message.contains("fds more each second"), "{outcome}");
    let steady = [&["open a /etc/hosts", "close a", "sleep 900"][..]; 10].concat();
    judged(policy, &steady, &[]).twin_clean("LT505");
}
