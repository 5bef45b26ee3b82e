//! LT503 and LT504: the limit on fds comes near, and is there.

use crate::check_steps;

#[test]
fn most_of_the_limit_is_near_it() {
    let mut steps = vec!["limit-fds 20"];
    let opens: Vec<String> = (0..14).map(|n| format!("open f{n} /etc/hosts")).collect();
    let closes: Vec<String> = (0..14).rev().map(|n| format!("close f{n}")).collect();
    steps.extend(opens.iter().chain(&closes).map(String::as_str));
    let outcome = check_steps(&steps).end();
    outcome.clean();
    let message = outcome.fired("LT503")["message"]
        .as_str()
        .unwrap_or_default();
    assert!(message.contains("of 20 fds"), "{outcome}");
    steps[0] = "limit-fds 40";
    check_steps(&steps).end().twin_clean("LT503");
}

#[test]
fn an_open_that_finds_no_number_names_the_call() {
    let outcome = check_steps(&["limit-fds 12", "open-till-full /etc/hosts"]).end();
    outcome.clean();
    let note = outcome.fired("LT504");
    // Which of the two is the C library's choice.
    let call = note["resource"]["syscall"].as_str();
    assert!(matches!(call, Some("open" | "openat")), "{outcome}");
    let message = note["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("EMFILE") && message.contains("12"),
        "{outcome}"
    );
    check_steps(&["limit-fds 12", "open f /etc/hosts", "close f"])
        .end()
        .twin_clean("LT504");
}
