//! LT2xx: what the program never gave back itself. Off unless asked for.

use crate::{check_sh, check_steps};

const HELD: [&str; 2] = ["--fail-on", "held"];

#[test]
fn what_is_held_at_exit_is_no_finding_by_default() {
    let outcome = check_steps(&["open a /etc/hosts"]).end();
    outcome.spotless();
    let process = outcome.process("steps");
    assert_eq!(process["summary"]["held"], 1, "{outcome}");
    // The loader's files count as well; it closes what it opens.
    let count = |name: &str| process["summary"][name].as_u64().unwrap_or_default();
    assert_eq!(count("acquired"), count("released") + 1, "{outcome}");
}

#[test]
fn a_file_held_at_exit_is_an_error_when_asked_for() {
    let outcome = check_steps(&["open a /etc/hosts"]).args(HELD).end();
    let finding = outcome.only_error("LT201");
    assert_eq!(finding["comm"], "steps");
    assert_eq!(finding["resource"]["path"], "/etc/hosts", "{outcome}");
    assert_eq!(finding["resource"]["class"], "fd");
    check_steps(&["open a /etc/hosts", "close a"])
        .args(HELD)
        .end()
        .twin_clean("LT201");
}

#[test]
fn a_socket_held_at_exit_is_an_error_when_asked_for() {
    let outcome = check_steps(&["udp s"]).args(HELD).end();
    let finding = outcome.only_error("LT202");
    assert_eq!(finding["kind"], "udp", "{outcome}");
    check_steps(&["udp s", "close s"])
        .args(HELD)
        .end()
        .twin_clean("LT202");
}

#[test]
fn a_ring_held_at_exit_is_an_error_when_asked_for() {
    let outcome = check_steps(&["io_uring r"]).args(HELD).end();
    let finding = outcome.only_error("LT204");
    assert_eq!(finding["kind"], "io_uring", "{outcome}");
    check_steps(&["io_uring r", "close r"])
        .args(HELD)
        .end()
        .twin_clean("LT204");
}

#[test]
fn an_attached_segment_held_at_exit_is_an_error_when_asked_for() {
    let outcome = check_steps(&["shmget a 4096", "shmat a", "shmrm a"])
        .args(HELD)
        .end();
    let finding = outcome.only_error("LT207");
    assert_eq!(finding["resource"]["class"], "mapping", "{outcome}");
    assert!(finding["resource"]["id"].is_i64(), "{outcome}");
    let twin = ["shmget a 4096", "shmat a", "shmdt a", "shmrm a"];
    check_steps(&twin).args(HELD).end().twin_clean("LT207");
}

#[test]
fn a_shared_mapping_held_at_exit_is_an_error_when_asked_for() {
    let steps = ["memfd f", "mmap-shared m f 65536", "close f"];
    let outcome = check_steps(&steps).args(HELD).end();
    let finding = outcome.only_error("LT207");
    assert_eq!(finding["resource"]["bytes"], 65536, "{outcome}");
    let twin = ["memfd f", "mmap-shared m f 65536", "munmap m", "close f"];
    check_steps(&twin).args(HELD).end().twin_clean("LT207");
}

#[test]
fn standard_and_inherited_fds_are_nobodys_leak() {
    check_sh("exec 5</etc/hosts; /bin/true; exec 5<&-")
        .args(HELD)
        .end()
        .spotless();
}

#[test]
fn a_dup_is_a_slot_of_its_own_and_close_frees_only_its_slot() {
    let steps = ["open a /etc/hosts", "dup b a", "close a"];
    let outcome = check_steps(&steps).args(HELD).end();
    assert_eq!(
        outcome.only_error("LT201")["resource"]["fd"],
        4,
        "{outcome}"
    );
    check_steps(&["open a /etc/hosts", "dup b a", "close-range 3"])
        .args(HELD)
        .end()
        .spotless();
}

#[test]
fn a_release_that_the_kernel_refused_releases_nothing() {
    // dup2(-1, 1) fails and must not be taken for the release of fd 1, nor for one that fails.
    let outcome = check_steps(&["open a /etc/hosts", "dup2-bad", "close a"])
        .args(HELD)
        .end();
    outcome.spotless();
    let held = outcome.process("steps")["held"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(
        held.iter()
            .any(|it| it["fd"] == 1 && it["inherited"] == true),
        "{outcome}"
    );
}

#[test]
fn dup2_over_an_open_fd_releases_what_was_there() {
    let steps = [
        "open a /etc/hosts",
        "open b /etc/passwd",
        "dup2 b a 4",
        "close a",
    ];
    let outcome = check_steps(&steps).args(HELD).end();
    let finding = outcome.only_error("LT201");
    assert_eq!(finding["resource"]["path"], "/etc/hosts", "{outcome}");
}

#[test]
fn exec_closes_what_is_marked_so_and_keeps_the_rest() {
    let script = "exec 7</etc/hosts; exec /bin/true";
    let outcome = check_sh(script).args(HELD).end();
    outcome.clean();
    let held = outcome.process("true")["held"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(
        held.iter()
            .any(|it| it["fd"] == 7 && it["inherited"] == true),
        "{outcome}"
    );
}

#[test]
fn after_a_fatal_signal_nothing_is_judged_but_residue() {
    let outcome = check_steps(&["open a /etc/hosts", "raise 15"])
        .args(HELD)
        .end();
    assert!(outcome.errors().is_empty(), "{outcome}");
    assert_eq!(outcome.process("steps")["summary"]["held"], 1, "{outcome}");
    assert_eq!(outcome.report["child"]["signal"], 15, "{outcome}");
}

#[test]
fn a_queue_descriptor_held_at_exit_is_an_error_when_asked_for() {
    let name = format!("/steps-held-{}", std::process::id());
    let (open, unlink) = (format!("mq_open q {name}"), format!("mq_unlink {name}"));
    let outcome = check_steps(&[&open, &unlink]).args(HELD).end();
    assert_eq!(outcome.fired("LT206")["kind"], "posix-mq", "{outcome}");
    check_steps(&[&open, "close q", &unlink])
        .args(HELD)
        .end()
        .twin_clean("LT206");
}
