//! Whether this machine can run the scenarios: without it nothing here means anything.

use std::process::Command;

use leaktrace_tests::{Outcome, Run, linux, needs};

use crate::check_sh;

#[test]
fn environment_can_run_the_others() {
    // SAFETY: no memory is passed.
    let uid = unsafe { libc::geteuid() };
    assert_eq!(
        uid, 0,
        "the scenarios need root: `cargo xtask test` sees to it"
    );
    for program in [
        "python3", "make", "gcc", "ipcmk", "ipcrm", "ipcs", "tmux", "stty", "setpriv", "setsid",
        "bpftool", "mkfifo", "flock", "env", "setcap", "sudo",
    ] {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .output()
            .expect("run sh");
        assert!(found.status.success(), "`{program}` is not installed");
    }
}

#[test]
fn doctor_says_that_everything_is_ready() {
    let doctor = Command::new(leaktrace_tests::leaktrace())
        .arg("doctor")
        .output()
        .expect("run doctor");
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success(), "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("ready: "), "{text}");
    for what in ["top", "hist", "check"] {
        assert!(last.contains(what), "{text}");
    }
}

/// What a start takes of time, and of kernel memory while it lasts, follows what the verifier has
/// to go through: from Linux 7.1 on 200,000 instructions were hundreds of megabytes. 6.18 goes
/// through 72,000 and 6.1, which finds fewer states alike, through 139,000, 5.19 through 140,441.
#[test]
fn the_verifier_has_little_to_do() {
    needs("verified_insns of bpf_prog_info", (5, 16));
    let doctor = Command::new(leaktrace_tests::leaktrace())
        .args(["doctor", "--json"])
        .output()
        .expect("run doctor");
    let told: serde_json::Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    let verified: Vec<(String, u64)> = told["facts"]["attempt"]["probes"]
        .as_array()
        .expect("probes")
        .iter()
        .filter_map(|probe| Some((probe["name"].to_string(), probe["verified"].as_u64()?)))
        .collect();
    let all: u64 = verified.iter().map(|(_, count)| count).sum();
    assert!(verified.len() >= 12, "{verified:?}");
    assert!(all > 10_000, "{verified:?}");
    let most = if linux() < (6, 0) { 145_000 } else { 140_000 };
    assert!(all <= most, "{all}: {verified:?}");
    // The kernels that find fewer states alike do so in each program.
    let most = if all > 100_000 { 50_000 } else { 34_000 };
    for (name, count) in &verified {
        assert!(*count <= most, "{name} has {count}: {verified:?}");
    }
}

#[test]
fn every_family_that_scenarios_rest_on_is_covered() {
    needs("bpf_loop", (5, 17));
    let outcome = Run::check(["true"]).end();
    outcome.clean();
    for family in [
        "file", "socket", "ipc", "name", "task", "exit", "signal", "mapping",
    ] {
        // The end of unmapping has a tracepoint since then.
        let is_untimed = family == "exit" && linux() < (6, 1);
        let can_miss = calls_can_be_missed() && !["exit", "task"].contains(&family);
        let status = match is_untimed || can_miss {
            true => "partial",
            false => "full",
        };
        assert_eq!(coverage(&outcome, family).0, status, "{family}: {outcome}");
    }
}

/// A distribution's verifier may refuse what Linux's of that version takes, as Ubuntu's 6.8 did.
#[test]
fn where_the_kernel_refuses_the_programs_those_for_older_kernels_run() {
    let refused = |script| check_sh(script).env("LEAKTRACE_TEST_LOSS", "refuse");
    let outcome = refused("d=$(mktemp -d); touch $d/one").end();
    // From 7.0 on the older programs can be skipped, which is counted.
    let is_whole = linux() < (7, 0);
    match is_whole {
        true => outcome.only_error("LT110"),
        false => outcome.fired("LT110"),
    };
    let (status, why) = coverage(&outcome, "task");
    assert_eq!(status, "partial", "{outcome}");
    if linux() >= (5, 17) {
        let told =
            "programs for older kernels run: sched_process_free refused: LEAKTRACE_TEST_LOSS";
        assert!(why.contains(told), "{outcome}");
        let (_, why) = coverage(&outcome, "file");
        let told = "is one of those that the kernel refuses";
        assert!(why.contains(told), "{outcome}");
    }
    if is_whole {
        refused("d=$(mktemp -d); rmdir $d").end().clean();
    }
}

/// A compiler may have put a function into those who call it: a program there never runs.
#[test]
fn where_functions_are_never_called_tracepoints_are_taken_and_that_is_told() {
    let uncalled = |script| check_sh(script).env("LEAKTRACE_TEST_LOSS", "uncalled");
    let outcome = uncalled("d=$(mktemp -d); touch $d/one").end();
    let clean = uncalled("d=$(mktemp -d); rmdir $d").end();
    // Before 7.0 there is no program at a function.
    if linux() < (7, 0) {
        outcome.only_error("LT110");
        clean.clean();
        let told = "is never called here";
        assert!(
            !outcome.report["coverage"].to_string().contains(told),
            "{outcome}"
        );
        return;
    }
    outcome.fired("LT110");
    // What is skipped is counted.
    assert!(clean.errors().is_empty(), "{clean}");
    for (family, function) in [
        ("file", "trace_syscall_exit"),
        ("task", "uprobe_copy_process"),
        ("exit", "perf_event_exit_task"),
        ("ring", "io_issue_sqe"),
    ] {
        let function = match (cfg!(target_arch = "aarch64"), function) {
            (true, "trace_syscall_exit") => "syscall_trace_exit",
            (_, function) => function,
        };
        let (status, why) = coverage(&outcome, family);
        assert_eq!(status, "partial", "{family}: {outcome}");
        let told = format!("the function {function} is never called here");
        assert!(why.contains(&told), "{family}: {outcome}");
    }
}

/// Newer kernels can skip programs on tracepoints, and arm64 has no function in the place of
/// sys_enter (seen on 7.2).
pub fn calls_can_be_missed() -> bool {
    cfg!(target_arch = "aarch64") && linux() >= (7, 2)
}

/// Status and reason of a family, as reported.
pub fn coverage(outcome: &Outcome, family: &str) -> (String, String) {
    let all = outcome.report["coverage"].as_array().expect("coverage");
    let it = all.iter().find(|it| it["family"] == family);
    let text = |name: &str| it.and_then(|it| it[name].as_str()).unwrap_or_default();
    (text("status").to_owned(), text("reason").to_owned())
}
