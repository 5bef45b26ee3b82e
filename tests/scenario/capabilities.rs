//! A plain user with file capabilities, with some of them, and with none.

use std::path::{Path, PathBuf};
use std::process::Command;

use leaktrace_tests::{NOBODY, Outcome, Place, Run, linux, pristine};

/// What it takes to trace.
fn all() -> String {
    // Maps are locked memory before Linux 5.11, and the limit has to be raised for them.
    let more = if linux() < (5, 11) {
        ",cap_sys_resource"
    } else {
        ""
    };
    format!("cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search{more}=ep")
}

/// A copy of the binary with these capabilities.
fn capable(place: &Place, capabilities: &str) -> PathBuf {
    let binary = place.open_to_all();
    leaktrace_tests::open_events();
    let set = Command::new("setcap")
        .arg(capabilities)
        .arg(&binary)
        .status();
    assert!(set.is_ok_and(|status| status.success()), "setcap failed");
    binary
}

pub(crate) fn as_nobody<'a>(place: &'a Place, binary: &Path, command: &[&str]) -> Run<'a> {
    Run::check(command)
        .at(place)
        .text()
        .binary(binary)
        .through(NOBODY)
}

/// What a process has of its own; the environment with what the C library takes out of that of a
/// program with capabilities.
pub(crate) const SHOW: &str = "id; env | grep -v '^_='; ulimit -a; cat /proc/$$/cgroup; umask; \
    grep -E '^(Cap|NoNewPrivs|Groups|TracerPid)' /proc/self/status; \
    for fd in /proc/$$/fd/*; do echo ${fd##*/}; done";

pub(crate) fn shown(outcome: &Outcome) -> &str {
    assert_eq!(outcome.code(), 0, "{outcome}");
    &outcome.stdout
}

#[test]
fn with_file_capabilities_a_plain_user_traces_and_the_command_is_the_users_own() {
    let place = Place::new();
    let binary = capable(&place, &all());
    let traced = as_nobody(&place, &binary, &["sh", "-c", SHOW])
        .env("LD_LIBRARY_PATH", "/no/such")
        .env("MALLOC_ARENA_MAX", "1")
        .end();
    assert!(traced.stderr.contains("clean"), "{traced}");
    let [program, arguments @ ..] = NOBODY;
    let alone = pristine(&mut Command::new(program))
        .args(arguments)
        .args(["sh", "-c", SHOW])
        .current_dir(place.cwd())
        .env("TMPDIR", place.tmp())
        .env("LD_LIBRARY_PATH", "/no/such")
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("run it alone");
    assert_eq!(shown(&traced), String::from_utf8_lossy(&alone.stdout));
}

#[test]
fn with_file_capabilities_a_leak_is_found() {
    let place = Place::new();
    let binary = capable(&place, &all());
    let script = "mktemp; ipcmk -M 4096; setsid sleep 20 & ipcrm -m $(ipcs -m | awk '/nobody/ \
                  { print $2 }' | tail -1)";
    let outcome = as_nobody(&place, &binary, &["sh", "-c", script])
        .args(["--settle", "300ms"])
        .end();
    assert_eq!(outcome.code(), 100, "{outcome}");
    for rule in ["LT109", "LT101"] {
        assert!(outcome.stderr.contains(rule), "{rule}: {outcome}");
    }
}

#[test]
fn files_that_the_user_names_are_opened_with_the_users_own_rights() {
    let place = Place::new();
    let binary = capable(&place, &all());
    let secret = place.root().join("secret");
    std::fs::write(&secret, "fail-on = [\"held\"]\n").expect("write a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).expect("close it");
    let secret = secret.display().to_string();
    for option in ["--policy", "--suppressions", "--baseline", "--capture"] {
        let outcome = as_nobody(&place, &binary, &["true"])
            .args([option, &secret])
            .end();
        assert!(matches!(outcome.code(), 2 | 125), "{option}: {outcome}");
        assert!(outcome.stderr.contains("ermission denied"), "{outcome}");
    }
}

#[test]
fn what_others_do_is_not_shown_to_whom_only_the_file_gives_rights() {
    let place = Place::new();
    let binary = capable(&place, &all());
    let pid = std::process::id().to_string();
    for (verb, options) in [
        ("check", vec!["-p", &pid]),
        ("hist", vec!["--duration", "1s"]),
        ("record", vec!["-o", "capture", "--duration", "1s"]),
    ] {
        let outcome = Run::of::<&str>(verb, [])
            .at(&place)
            .text()
            .binary(&binary)
            .through(NOBODY)
            .args(options)
            .end();
        assert_eq!(outcome.code(), 77, "{verb}: {outcome}");
        assert!(outcome.stderr.contains("sudo"), "{verb}: {outcome}");
    }
}

#[test]
fn doctor_says_which_capability_is_missing() {
    let place = Place::new();
    for (capabilities, missing) in [
        ("cap_perfmon=ep", "CAP_BPF missing"),
        ("cap_bpf=ep", "CAP_PERFMON missing"),
        ("cap_bpf,cap_perfmon=ep", "CAP_SYS_PTRACE missing"),
    ] {
        let binary = capable(&place, capabilities);
        let [program, arguments @ ..] = NOBODY;
        let doctor = Command::new(program)
            .args(arguments)
            .arg(&binary)
            .arg("doctor")
            .output()
            .expect("run doctor");
        let text = String::from_utf8_lossy(&doctor.stdout);
        assert!(text.contains(missing), "{capabilities}: {text}");
    }
    let binary = capable(&place, "cap_perfmon=ep");
    let outcome = as_nobody(&place, &binary, &["true"]).end();
    assert_eq!(outcome.code(), 77, "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
}
