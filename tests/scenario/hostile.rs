//! What targets do: they are stopped, traced, filtered, renamed, deleted, privileged, many. Each
//! leaves something behind, which has to be found.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use leaktrace_tests::{Outcome, Place, Run, copy_program};

use crate::check_sh;

/// The one file that was left is found, and nothing else.
#[track_caller]
fn left<'a>(outcome: &'a Outcome, place: &Place) -> &'a serde_json::Value {
    let finding = outcome.only_error("LT109");
    let path = finding["resource"]["path"].as_str().unwrap_or_default();
    assert!(Path::new(path).starts_with(place.tmp()), "{outcome}");
    assert_eq!(finding["count"], 1, "{outcome}");
    finding
}

#[test]
fn a_target_that_is_stopped_and_continued() {
    let place = Place::new();
    let script =
        "for i in 1 2 3; do (sleep 0.1; kill -CONT $$) & kill -STOP $$; wait; done; mktemp";
    left(&check_sh(script).at(&place).end(), &place);
    check_sh("(sleep 0.1; kill -CONT $$) & kill -STOP $$; wait")
        .end()
        .spotless();
}

#[test]
fn a_target_that_strace_traces() {
    let place = Place::new();
    let strace = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "sh",
        "-c",
        "mktemp; (:)|(:)",
    ];
    let outcome = Run::check(strace).at(&place).end();
    let finding = left(&outcome, &place);
    assert_eq!(finding["comm"], "mktemp", "{outcome}");
}

#[test]
fn a_target_that_gdb_runs() {
    let place = Place::new();
    let options = ["-q", "-nx", "-batch", "-iex", "set debuginfod enabled off"];
    let run = ["-ex", "run", "--args", "mktemp"];
    let gdb = ["gdb"].iter().chain(&options).chain(&run);
    let outcome = Run::check(gdb).at(&place).end();
    let finding = left(&outcome, &place);
    assert_eq!(finding["comm"], "mktemp", "{outcome}");
}

#[test]
fn leaktrace_itself_under_strace() {
    let place = Place::new();
    let outcome = check_sh("mktemp; exit 0")
        .at(&place)
        .through(["strace", "-f", "-o", "/dev/null"])
        .end();
    left(&outcome, &place);
}

#[test]
fn a_target_that_seccomp_ends() {
    let place = Place::new();
    // Strict mode: anything but read, write and exit ends the process.
    let script = "import ctypes, os, tempfile\n\
                  tempfile.mkstemp()\n\
                  ctypes.CDLL(None).prctl(22, 1, 0, 0, 0)\n\
                  os.getppid()";
    let outcome = Run::check(["python3", "-c", script]).at(&place).end();
    assert_eq!(outcome.code(), 128 + 9, "{outcome}");
    assert_eq!(outcome.report["verdict"], "findings", "{outcome}");
    assert_eq!(outcome.of_rule("LT109").len(), 1, "{outcome}");
}

#[test]
fn a_target_that_loads_programs_of_its_own_into_the_kernel() {
    let place = Place::new();
    let inner = leaktrace_tests::leaktrace().display().to_string();
    let script = format!("{inner} check -q -- ls >/dev/null; bpftool prog list >/dev/null; mktemp");
    left(&check_sh(&script).at(&place).end(), &place);
}

/// A shell in a root directory of its own, with the libraries that it needs.
fn root(place: &Place) -> String {
    let root = place.root().join("root").display().to_string();
    let script = format!(
        "set -e; shell=$(readlink -f /bin/sh); mkdir -p {root}/tmp {root}/bin; cp $shell {root}/bin/sh; \
         for library in $(ldd $shell | grep -o '/[^ ]*'); do \
         mkdir -p {root}$(dirname $library); cp $library {root}$library; done"
    );
    let made = std::process::Command::new("sh")
        .args(["-c", &script])
        .status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "no root was made"
    );
    root
}

#[test]
fn a_target_that_changes_its_root() {
    let place = Place::new();
    let root = root(&place);
    let outcome = Run::check(["chroot", &root, "/bin/sh", "-c", ": >/tmp/left"]).end();
    let finding = outcome.only_error("LT109");
    let path = finding["resource"]["path"].as_str().unwrap_or_default();
    assert_eq!(path, format!("{root}/tmp/left"), "{outcome}");
    std::fs::remove_file(path).expect("it is there");
    let tidy = ": >/tmp/x; exec 3</tmp/x; exec 3<&-";
    let remove = format!("chroot {root} /bin/sh -c '{tidy}'; rm {root}/tmp/x");
    check_sh(&remove).end().twin_clean("LT109");
}

#[test]
fn a_target_whose_program_is_deleted_while_it_runs() {
    let place = Place::new();
    let copy = place.cwd().join("mine").display().to_string();
    let script = format!(
        "cp $(command -v sleep) {copy}; {copy} 20 & \
         until [ \"$(readlink /proc/$!/exe)\" = {copy} ]; do sleep 0.01; done; rm {copy}; exit 0"
    );
    let outcome = check_sh(&script)
        .at(&place)
        .args(["--settle", "300ms"])
        .end();
    let finding = outcome.only_error("LT101");
    let survivor = finding["pid"].as_i64().expect("a pid");
    // SAFETY: no memory is passed; the survivor is this scenario's own.
    unsafe { libc::kill(survivor as i32, libc::SIGKILL) };
    assert_eq!(finding["comm"], "mine", "{outcome}");
    let exe = outcome.process("mine")["exe"].as_str().unwrap_or_default();
    assert!(exe.starts_with(&copy), "{outcome}");
}

#[test]
fn a_target_that_calls_itself_otherwise_all_the_time() {
    let place = Place::new();
    let script = "for name in a 'b) R 1 (' 'c\nd' last; do printf %s \"$name\" >/proc/self/comm; \
                  done; : >$TMPDIR/left";
    // The shell's own comm: `printf` is built in.
    let outcome = check_sh(script).at(&place).end();
    assert_eq!(left(&outcome, &place)["comm"], "last", "{outcome}");
}

#[test]
fn a_target_that_becomes_another_user() {
    let place = Place::new();
    drop(place.open_to_all());
    let copy = place.root().join("touch");
    copy_program("/bin/touch", &copy);
    std::os::unix::fs::chown(&copy, Some(1), Some(1)).expect("give it away");
    let mode = std::fs::Permissions::from_mode(0o6755);
    std::fs::set_permissions(&copy, mode).expect("set its mode");
    let file = place.temp("left");
    let outcome = Run::check([&copy.display().to_string(), &file])
        .at(&place)
        .args(["--user", "nobody"])
        .end();
    left(&outcome, &place);
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(&file).expect("it is there").uid(), 1);
}

#[test]
fn a_storm_of_zombies() {
    let storm = |reap: &str| {
        format!(
            "import os, time\n\
             for _ in range(1000):\n\
             \x20   if os.fork() == 0: os._exit(0)\n\
             time.sleep(1.5)\n\
             {reap}"
        )
    };
    let outcome = Run::check(["python3", "-c", &storm("")]).end();
    let finding = outcome.only_error("LT102");
    assert_eq!(finding["count"], 1000, "{}", outcome.stderr);
    Run::check(["python3", "-c", &storm("for _ in range(1000): os.wait()")])
        .end()
        .twin_clean("LT102");
}

#[test]
fn targets_in_namespaces_of_every_kind() {
    let place = Place::new();
    let all = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
        "--net",
        "--cgroup",
        "--time",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        "mktemp; ipcmk -M 4096; :",
    ];
    let outcome = Run::check(all).at(&place).end();
    // The segment is gone with its namespace; the file is not.
    assert_eq!(left(&outcome, &place)["comm"], "mktemp", "{outcome}");
}
