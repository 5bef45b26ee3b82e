//! LT604: a mapping of a file that was written and not synced.

use crate::check_steps;

const ASKED: [&str; 2] = ["--fail-on", "no-msync"];

fn steps<'a>(sync: &[&'a str]) -> Vec<&'a str> {
    let before = ["create f out", "mmap-shared m f 4096", "touch m"];
    let after = ["munmap m", "close f", "unlink out"];
    [&before[..], sync, &after].concat()
}

#[test]
fn a_written_mapping_goes_without_msync() {
    let outcome = check_steps(&steps(&[])).args(ASKED).end();
    let error = outcome.only_error("LT604");
    let path = error["resource"]["path"].as_str().unwrap_or_default();
    assert!(path.ends_with("/out"), "{outcome}");
    check_steps(&steps(&["msync m"]))
        .args(ASKED)
        .end()
        .twin_clean("LT604");
    check_steps(&steps(&["fsync f"]))
        .args(ASKED)
        .end()
        .twin_clean("LT604");
}

#[test]
fn memory_has_no_disk_behind_it() {
    let steps = [
        "memfd f",
        "mmap-shared m f 4096",
        "touch m",
        "munmap m",
        "close f",
    ];
    check_steps(&steps).args(ASKED).end().twin_clean("LT604");
}
