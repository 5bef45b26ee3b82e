//! What looks like a leak to a naive eye and is none.

use leaktrace_tests::{Place, Run};

use crate::{STEPS, check_sh, check_steps};

#[test]
fn a_connection_in_time_wait() {
    check_steps(&["connection s c", "close s", "close c"])
        .end()
        .spotless();
}

#[test]
fn a_zombie_left_to_init() {
    // The grandchild ends after its parent: whether pid 1 reaps it is not the program's doing.
    let outcome = check_sh("(sleep 0.2 & exit 0)").end();
    outcome.clean();
    assert!(
        outcome
            .of_rule("LT102")
            .iter()
            .all(|it| it["level"] == "note"),
        "{outcome}"
    );
}

#[test]
fn an_orphan_whose_reaper_does_not_reap_is_told_of_the_environment() {
    // leaktrace is made the one that orphans are left to, and it reaps none but its own child.
    let reaper = "import ctypes, os, sys\n\
                  PR_SET_CHILD_SUBREAPER = 36\n\
                  ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)\n\
                  os.execv(sys.argv[1], sys.argv[1:])";
    let outcome = check_sh("(sleep 0.1 & exit 0); sleep 0.8")
        .through(["python3", "-c", reaper])
        .end();
    outcome.spotless();
    let notes = outcome.report["environment"].to_string();
    assert!(notes.contains("does not reap: 1 process"), "{outcome}");
}

#[test]
fn a_sweep_over_unused_numbers() {
    let outcome = check_steps(&["sweep 3 1024"]).end();
    outcome.spotless();
    assert_eq!(
        outcome.process("steps")["summary"]["errors"],
        0,
        "{outcome}"
    );
}

#[test]
fn a_descriptor_passed_to_somebody_outside() {
    let place = Place::new();
    let path = place.temp("outside");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind a socket");
    let connect = format!("connect-unix s {path}");
    let steps = [
        "unix s",
        &connect,
        "open a /etc/hosts",
        "send-fd s a",
        "close a",
        "close s",
    ];
    let outcome = check_steps(&steps).at(&place).end();
    outcome.clean();
    drop(listener);
}

#[test]
fn what_somebody_else_made_meanwhile() {
    let place = Place::new();
    let other = place.temp("other");
    let made = other.clone();
    let maker = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(150));
        let id = std::process::Command::new(STEPS)
            .args([&format!("create a {made}"), "shmget m 4096", "shmrm m"])
            .status();
        assert!(id.is_ok_and(|status| status.success()));
    });
    let outcome = Run::check(["sleep", "0.5"]).at(&place).end();
    maker.join().expect("the other process worked");
    assert!(std::path::Path::new(&other).exists());
    outcome.spotless();
}

#[test]
fn a_parent_that_ignores_sigchld() {
    check_sh("trap '' CHLD; (exit 0) & sleep 1.3")
        .end()
        .spotless();
}

#[test]
fn memory_and_private_mappings_at_exit() {
    let outcome = check_steps(&["mmap m 1048576", "touch m"])
        .args(["--fail-on", "held"])
        .end();
    outcome.spotless();
}

#[test]
fn ordinary_programs() {
    for command in [
        vec!["ls", "-la", "/"],
        vec!["sort", "/etc/passwd"],
        vec!["sh", "-c", "cat /etc/passwd | sort | uniq | wc -l"],
        vec![
            "python3",
            "-c",
            "import json, subprocess; subprocess.run(['true'])",
        ],
        vec!["tar", "-cf", "/dev/null", "/etc/passwd"],
        vec!["gcc", "--version"],
        vec!["git", "--version"],
    ] {
        Run::check(command).end().clean();
    }
}

#[test]
fn a_compilation() {
    let place = Place::new();
    std::fs::write(place.cwd().join("a.c"), "int main(void) { return 0; }").expect("write a.c");
    Run::check(["gcc", "-pipe", "-o", "a", "a.c"])
        .at(&place)
        .end()
        .clean();
    Run::check(["gcc", "-o", "a", "a.c"])
        .at(&place)
        .end()
        .clean();
}
