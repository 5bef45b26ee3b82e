//! `kill -9` of leaktrace: the kernel takes everything back, and the command does not notice.

use std::time::{Duration, Instant};

use leaktrace_tests::{Objects, Place, patience};

use crate::check_sh;

#[test]
fn killing_leaktrace_leaves_nothing_and_does_not_touch_the_command() {
    let place = Place::new();
    let script = ": >ready; sleep 3; echo $? >status.tmp; mv status.tmp status";
    let mut child = check_sh(script).spawn(&place);
    until(&place, "ready");
    let ours = Objects::of(child.id());
    child.kill().expect("kill leaktrace");
    child.wait().expect("reap leaktrace");
    ours.are_gone();
    until(&place, "status");
    let status = std::fs::read_to_string(place.cwd().join("status"));
    assert_eq!(status.expect("a status"), "0\n");
}

#[track_caller]
fn until(place: &Place, file: &str) {
    let started = Instant::now();
    while !place.cwd().join(file).exists() {
        assert!(
            started.elapsed() < patience(Duration::from_secs(90)),
            "never {file}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
