//! LT113: a file that names a process which is gone. Never by its name, never one that was locked.

use leaktrace_tests::Place;

use crate::check_sh;

#[test]
fn a_pid_file_of_a_dead_process_is_an_error() {
    let place = Place::new();
    let outcome = check_sh("echo $$ >daemon").at(&place).end();
    let finding = outcome.only_error("LT113");
    assert_eq!(finding["name"], "stale-lock-left");
    let path = place.cwd().join("daemon").display().to_string();
    assert_eq!(finding["resource"]["path"], path, "{outcome}");
    assert_eq!(finding["resource"]["id"], finding["pid"], "{outcome}");
}

#[test]
fn a_lock_made_by_an_exclusive_open_for_a_child_is_an_error() {
    let place = Place::new();
    let script = "sleep 0.1 & (set -C; echo $! >lock); wait";
    let outcome = check_sh(script).at(&place).end();
    let finding = outcome.only_error("LT113");
    assert!(
        finding["resource"]["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("/lock")),
        "{outcome}"
    );
}

#[test]
fn a_lock_that_says_more_than_a_pid_is_an_error_and_a_log_is_none() {
    let more = "printf '%s\\n/some/where\\n1795279717\\n5432\\n' $$";
    let place = Place::new();
    let outcome = check_sh(&format!("set -C; {more} >lock")).at(&place).end();
    let finding = outcome.only_error("LT113");
    assert_eq!(finding["resource"]["id"], finding["pid"], "{outcome}");
    check_sh(&format!("{more} >log")).end().twin_clean("LT113");
}

#[test]
fn a_pid_file_that_is_removed_is_gone() {
    check_sh("echo $$ >daemon; rm daemon")
        .end()
        .twin_clean("LT113");
}

#[test]
fn a_pid_file_that_was_locked_may_stay() {
    // The lock went with the process, whatever the file says.
    check_sh("exec 9>daemon; flock 9; echo $$ >&9")
        .end()
        .twin_clean("LT113");
}

#[test]
fn a_number_that_is_nobodys_pid_is_a_result() {
    check_sh("echo 4000000 >count; echo 1 >flag; echo 0 >Cargo.lock")
        .end()
        .spotless();
}

#[test]
fn a_pid_file_of_a_survivor_is_part_of_it() {
    let place = Place::new();
    let script = "sleep 30 </dev/null >/dev/null 2>&1 & echo $! >daemon";
    let outcome = check_sh(script)
        .args(["--settle", "100ms"])
        .at(&place)
        .end();
    let pid = outcome.only_error("LT101")["pid"]
        .as_i64()
        .unwrap_or_default();
    // SAFETY: no memory is passed; the survivor of this scenario.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    assert!(outcome.of_rule("LT113").is_empty(), "{outcome}");
}
