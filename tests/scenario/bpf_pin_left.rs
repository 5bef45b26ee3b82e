//! LT121: a BPF object that a name keeps alive.

use std::path::PathBuf;
use std::process::Command;

use leaktrace_tests::Place;

use crate::check_sh;

/// A bpf file system; it goes with what is pinned in it.
struct Pins(PathBuf);

impl Pins {
    fn new(place: &Place) -> Self {
        let path = place.cwd().join("bpf");
        std::fs::create_dir(&path).expect("make a directory");
        let mounted = Command::new("mount")
            .args(["-t", "bpf", "none"])
            .arg(&path)
            .status();
        assert!(
            mounted.is_ok_and(|it| it.success()),
            "mount a bpf file system"
        );
        Self(path)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

const CREATE: &str = "bpftool map create bpf/pin type array key 4 value 4 entries 1 name pinned";

#[test]
fn a_pin_that_stays_is_an_error() {
    let place = Place::new();
    let pins = Pins::new(&place);
    let outcome = check_sh(CREATE).at(&place).end();
    let finding = outcome.only_error("LT121");
    assert_eq!(finding["name"], "bpf-pin-left");
    assert_eq!(finding["kind"], "bpf-pin");
    let path = pins.0.join("pin").display().to_string();
    assert_eq!(finding["resource"]["path"], path, "{outcome}");
}

#[test]
fn a_pin_that_is_removed_is_gone() {
    let place = Place::new();
    let _pins = Pins::new(&place);
    check_sh(&format!("{CREATE}; rm bpf/pin"))
        .at(&place)
        .end()
        .twin_clean("LT121");
}
