//! A capture judged again, by somebody without privileges, gives what the live run gave.

use std::os::unix::fs::PermissionsExt as _;

use leaktrace_tests::{Outcome, Place, Run, steps};

use crate::STEPS;

fn live_and_again(place: &Place, command: &[&str], options: &[&str]) -> (Outcome, Outcome) {
    let binary = place.open_to_all();
    let capture = place.root().join("capture.ltr");
    let _ = std::fs::remove_file(&capture);
    let live = Run::check(command)
        .at(place)
        .args([std::ffi::OsStr::new("--capture"), capture.as_os_str()])
        .args(options)
        .end();
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&capture, readable).expect("a capture was written");
    // The report of the live run is not the second one's to overwrite.
    std::fs::remove_file(place.root().join("report.json")).expect("a report was written");
    let mut again = Run::check::<&str>([]);
    again = again
        .at(place)
        .binary(&binary)
        .through(leaktrace_tests::NOBODY)
        .args([std::ffi::OsStr::new("--from"), capture.as_os_str()])
        .args(options);
    let again = again.end();
    (live, again)
}

#[track_caller]
fn equal(live: &Outcome, again: &Outcome) {
    assert_eq!(again.code(), live.code(), "{live}\n{again}");
    for field in [
        "schema",
        "findings",
        "verdict",
        "child",
        "exit",
        "known",
        "processes",
        "events",
        "settle",
        "not_judged",
        "inconclusive_because",
        "self_check",
        "coverage",
        "command",
        "clock",
    ] {
        assert_eq!(
            again.report[field], live.report[field],
            "field `{field}`\n{live}\n{again}"
        );
    }
}

#[test]
fn twenty_runs_are_judged_alike_from_their_captures() {
    let place = Place::new();
    let temp = |name: &str| place.temp(name);
    let leaking = [
        vec![format!("create a {}", temp("a"))],
        vec![format!("mkdir {}", temp("b"))],
        vec!["unix s".into(), format!("bind-unix s {}", temp("c"))],
        vec![format!("mkfifo {}", temp("d"))],
        vec!["fork k exit 0".into(), "sleep 1200".into()],
        vec![
            format!("create a {}", temp("e")),
            format!("rename {} {}", temp("e"), temp("f")),
        ],
        vec![
            "open a /etc/hosts".into(),
            format!("create b {}", temp("g")),
            "close a".into(),
        ],
        vec![
            format!("create a {}", temp("h")),
            format!("link {} {}", temp("h"), temp("i")),
        ],
        vec![
            format!("symlink /etc/hosts {}", temp("j")),
            format!("create k {}", temp("k")),
        ],
        vec![
            format!("mkdir {}", temp("l")),
            format!("create m {}", temp("l/m")),
        ],
    ];
    for steps_of in &leaking {
        let all: Vec<&str> = steps_of.iter().map(String::as_str).collect();
        let (live, again) = live_and_again(&place, &steps(STEPS, &all), &[]);
        assert_eq!(live.code(), 100, "{live}");
        equal(&live, &again);
    }
    let clean: [&[&str]; 10] = [
        &[],
        &["open a /etc/hosts", "close a"],
        &["open a /etc/hosts"],
        &["pipe r w", "close w", "close r"],
        &[
            "open a /etc/hosts",
            "open b /etc/passwd",
            "close a",
            "close b",
        ],
        &["connection s c", "close s", "close c"],
        &["fork k open a /etc/hosts, close a", "wait k"],
        &["mmap m 1048576", "munmap m"],
        &["epoll e", "eventfd v", "timerfd t"],
        &["shmget a 4096", "shmat a", "shmdt a", "shmrm a"],
    ];
    for all in clean {
        let (live, again) = live_and_again(&place, &steps(STEPS, all), &[]);
        assert_eq!(live.code(), 0, "{live}");
        equal(&live, &again);
    }
}

#[test]
fn options_of_judging_are_the_second_runs() {
    let place = Place::new();
    let command = steps(STEPS, &["open a /etc/hosts"]);
    let (live, again) = live_and_again(&place, &command, &["--fail-on", "held"]);
    assert_eq!(live.code(), 100, "{live}");
    equal(&live, &again);
}

/// A file system with room for very little, gone when dropped.
struct Tiny(std::path::PathBuf);

impl Tiny {
    fn new(place: &Place) -> Self {
        let root = place.root().join("tiny");
        std::fs::create_dir(&root).expect("make a directory");
        let tiny = Tiny(root);
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&tiny.0)
            .status();
        assert!(status.expect("run mount").success(), "mount a tmpfs");
        tiny
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "unmount");
    }
}

#[test]
fn a_full_disk_costs_the_capture_and_not_the_report() {
    let place = Place::new();
    let tiny = Tiny::new(&place);
    let capture = tiny.0.join("capture.ltr");
    let script = "for i in $(seq 60); do ls >/dev/null; done; mktemp >/dev/null";
    let outcome = Run::check(["sh", "-c", script])
        .at(&place)
        .args([std::ffi::OsStr::new("--capture"), capture.as_os_str()])
        .end();
    assert_eq!(outcome.code(), 125, "{outcome}");
    assert!(
        outcome.stderr.contains("cannot write the capture"),
        "{outcome}"
    );
    assert_eq!(outcome.of_rule("LT109").len(), 1, "{outcome}");
    assert_eq!(outcome.processes("ls").len(), 60, "{outcome}");
}
