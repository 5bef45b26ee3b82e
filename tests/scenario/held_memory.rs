//! LT208: locked memory at exit.

use crate::check_steps;

const ASKED: [&str; 2] = ["--fail-on", "memory"];

#[test]
fn locked_pages_are_held() {
    let outcome = check_steps(&["mmap m 8192", "mlock m"]).args(ASKED).end();
    let error = outcome.only_error("LT208");
    assert_eq!(error["kind"], "locked-memory", "{outcome}");
    assert_eq!(error["resource"]["bytes"], 8192, "{outcome}");
    let twin = check_steps(&["mmap m 8192", "mlock m", "munlock m", "munmap m"]);
    twin.args(ASKED).end().twin_clean("LT208");
}

#[test]
fn munmap_unlocks_too() {
    let twin = check_steps(&["mmap m 8192", "mlock m", "munmap m"]);
    twin.args(ASKED).end().twin_clean("LT208");
}
