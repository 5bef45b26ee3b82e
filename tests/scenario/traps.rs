//! What the kernel does to a tool that believes system calls: each of these is right, or declared
//! and without a finding.

use std::time::Duration;

use leaktrace_tests::{Outcome, Place, Run, is_emulated, linux, needs, write_arm32};
use serde_json::Value;

use crate::c::program;

const HELD: [&str; 2] = ["--fail-on", "held"];

fn trap<'a>(words: &[&str]) -> Run<'a> {
    let mut command = vec![program("traps")];
    command.extend(words.iter().map(|word| (*word).to_owned()));
    Run::check(command)
}

fn held(process: &Value) -> Vec<&Value> {
    let held = process["held"].as_array().expect("held");
    held.iter().filter(|it| it["inherited"] == false).collect()
}

/// Our tables were the kernel's.
#[track_caller]
fn agrees(outcome: &Outcome) {
    let check = &outcome.report["self_check"];
    assert_eq!(check["differed"], 0, "{outcome}");
    assert!(check["compared"].as_u64() > Some(0), "{outcome}");
    assert_eq!(outcome.report["events"]["lost"], 0, "{outcome}");
}

/// Rules of the errors, each once.
fn rules(outcome: &Outcome) -> Vec<&str> {
    let errors = outcome.errors();
    let mut rules: Vec<&str> = errors.iter().filter_map(|it| it["rule"].as_str()).collect();
    rules.sort_unstable();
    rules
}

#[test]
fn releases_that_fail_release_nothing() {
    let place = Place::new();
    let file = place.temp("stays");
    let outcome = trap(&["failed", &file])
        .at(&place)
        .args(["--fail-on", "LT201,LT207"])
        .end();
    agrees(&outcome);
    let found = rules(&outcome);
    for rule in ["LT109", "LT201", "LT207"] {
        assert!(found.contains(&rule), "{rule} {outcome}");
    }
    assert_eq!(outcome.of_rule("LT201").len(), 1, "{outcome}");
    let names: Vec<_> = held(outcome.process("traps"))
        .iter()
        .map(|it| it["kind"].as_str())
        .collect();
    assert_eq!(names, [Some("file"), Some("shared-mapping")], "{outcome}");
}

#[test]
fn success_that_seccomp_made_up_is_none() {
    let place = Place::new();
    let file = place.temp("stays");
    let outcome = trap(&["forged", &file]).at(&place).args(HELD).end();
    agrees(&outcome);
    assert_eq!(rules(&outcome), ["LT109", "LT201"], "{outcome}");
    assert_eq!(held(outcome.process("traps")).len(), 1, "{outcome}");
    assert_eq!(
        outcome.process("traps")["summary"]["errors"],
        0,
        "{outcome}"
    );
}

/// Two files are opened, at least one by a call of 32 bits, and its number is written: on arm64 by
/// a program that knows no others.
fn opened_by_32_bits(place: &Place) -> Outcome {
    if cfg!(target_arch = "aarch64") {
        let program = place.root().join("traps");
        write_arm32(&program);
        Run::check([program.display().to_string()]).end()
    } else {
        trap(&["compat"]).end()
    }
}

#[test]
fn calls_of_32_bits_are_declared_and_what_they_opened_is_held() {
    let outcome = opened_by_32_bits(&Place::new());
    assert!(outcome.errors().is_empty(), "{outcome}");
    assert_eq!(outcome.report["verdict"], "inconclusive", "{outcome}");
    let because = outcome.report["inconclusive_because"].to_string();
    assert!(because.contains("32-bit"), "{outcome}");
    assert_eq!(outcome.report["self_check"]["differed"], 0, "{outcome}");
    let opened: i64 = outcome.stdout.trim().parse().expect("a number");
    let held = held(outcome.process("traps"));
    let numbers: Vec<_> = held.iter().filter_map(|it| it["fd"].as_i64()).collect();
    assert!(numbers.contains(&opened) && numbers.len() == 2, "{outcome}");
}

#[test]
fn a_worker_that_ends_the_process_excuses_no_leak() {
    let outcome = trap(&["thread-exits"]).args(["--fail-on", "LT201"]).end();
    agrees(&outcome);
    assert_eq!(rules(&outcome), ["LT103", "LT201"], "{outcome}");
    assert_eq!(
        outcome.process("traps")["exit"]["signal"],
        Value::Null,
        "{outcome}"
    );
    remove_segment(&outcome);
}

#[test]
fn a_worker_that_executes_a_program_excuses_no_leak() {
    let outcome = trap(&["thread-executes"])
        .args(["--fail-on", "LT201"])
        .end();
    agrees(&outcome);
    assert_eq!(rules(&outcome), ["LT103"], "{outcome}");
    // The fd was close-on-exec; one process, whichever thread it was.
    assert!(held(outcome.process("true")).is_empty(), "{outcome}");
    remove_segment(&outcome);
}

fn remove_segment(outcome: &Outcome) {
    let id = outcome.of_rule("LT103")[0]["resource"]["id"]
        .as_i64()
        .expect("an id");
    // SAFETY: no memory is passed; the id is of the run's own segment.
    unsafe { libc::shmctl(id as i32, libc::IPC_RMID, std::ptr::null_mut()) };
}

#[test]
fn a_leader_that_goes_first_leaves_the_process_to_its_threads() {
    let outcome = trap(&["leaderless"]).args(["--fail-on", "LT201"]).end();
    agrees(&outcome);
    assert_eq!(
        outcome.only_error("LT201")["resource"]["path"],
        "/etc/hosts",
        "{outcome}"
    );
    assert_eq!(outcome.process("traps")["exit"]["code"], 0, "{outcome}");
}

#[test]
fn a_signal_that_sigwait_takes_begins_the_teardown() {
    let outcome = trap(&["sigwait"]).args(["--fail-on", "order"]).end();
    agrees(&outcome);
    let finding = outcome.only_error("LT301");
    assert_eq!(finding["other"]["fd"], 4, "{outcome}");
    let teardown = finding["process"].as_str().and_then(|key| {
        let processes = outcome.report["processes"].as_array()?;
        let process = processes.iter().find(|it| it["key"] == key)?;
        process["timing_ns"]["teardown"].as_u64()
    });
    assert!(teardown > Some(0), "{outcome}");
}

#[test]
fn children_of_a_parent_that_ignores_sigchld_are_no_zombies() {
    let outcome = trap(&["sigchld-ignored"]).end();
    outcome.spotless();
    agrees(&outcome);
    assert_eq!(outcome.processes("traps").len(), 4, "{outcome}");
}

#[test]
fn a_process_of_an_inner_pid_namespace_has_both_numbers() {
    let traps = program("traps");
    let unshare = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        &traps,
        "leaderless",
    ];
    let outcome = Run::check(unshare).args(["--fail-on", "LT201"]).end();
    agrees(&outcome);
    let finding = outcome.only_error("LT201");
    let process = outcome.process("traps");
    assert_eq!(finding["pid"], process["pid"], "{outcome}");
    assert_eq!(process["ns_pid"], 1, "{outcome}");
    assert_ne!(process["pid"], 1, "{outcome}");
}

/// How long the race goes on: until enough has been opened, which takes longer where the machine
/// is emulated. A full run of the race is a minute.
fn race() -> String {
    let usual = if is_emulated() { "12" } else { "3" };
    std::env::var("LEAKTRACE_RACE_SECONDS").unwrap_or_else(|_| usual.to_owned())
}

#[test]
fn a_blind_closer_that_races_an_opener_confuses_nobody() {
    let outcome = trap(&["blind", &race()]).args(HELD).end();
    let opened: u64 = outcome.stdout.trim().parse().expect("a number");
    assert!(opened > 1000, "{outcome}");
    agrees(&outcome);
    // What a close found and what it found not is the program's own affair; that nothing is held
    // and that every open was closed once is ours.
    assert!(held(outcome.process("traps")).is_empty(), "{outcome}");
    assert_eq!(outcome.of_rule("LT201").len(), 0, "{outcome}");
    assert_eq!(outcome.of_rule("LT401").len(), 0, "{outcome}");
    assert_eq!(outcome.code(), 0, "{outcome}");
    // Which close took which open no record tells for certain, but all that came is gone.
    let summary = |name: &str| {
        let summary = &outcome.process("traps")["summary"];
        summary[name].as_u64().expect("a count")
    };
    let (acquired, released) = (summary("acquired"), summary("released"));
    assert_eq!(acquired, released, "{outcome}");
    // An open whose number is closed before the look at the table is told of by nobody.
    assert!(acquired > opened / 2, "{outcome}");
}

#[test]
fn of_names_that_several_make_rename_and_remove_at_once_those_that_are_left_are_told() {
    let mut left = 0;
    for _ in 0..10 {
        let place = Place::new();
        let directory = place.tmp();
        let outcome = trap(&["names", &directory.display().to_string()])
            .at(&place)
            .end();
        let there = std::fs::read_dir(&directory)
            .expect("the directory")
            .count() as u64;
        let findings = outcome.of_rule("LT109");
        let told = findings
            .iter()
            .filter_map(|it| it["count"].as_u64())
            .sum::<u64>();
        assert_eq!(told, there, "{outcome}");
        left += there;
    }
    assert!(left > 0);
}

#[test]
fn fds_passed_over_a_socket_are_held_by_who_got_them() {
    let outcome = trap(&["passed", "400"]).args(HELD).end();
    agrees(&outcome);
    assert!(outcome.elapsed > Duration::from_millis(400), "{outcome}");
    let receiver = outcome.process("receiver");
    let got: Vec<_> = held(receiver)
        .iter()
        .map(|it| {
            (
                it["kind"].as_str().unwrap_or(""),
                it["how"].as_str().unwrap_or(""),
            )
        })
        .collect();
    let how = "passed over a socket";
    assert_eq!(
        got,
        [("file", how), ("memfd", how), ("pipe", how), ("pipe", how)],
        "{outcome}"
    );
    assert_eq!(held(receiver)[0]["path"], "/etc/hosts", "{outcome}");
    assert_eq!(held(receiver)[0]["syscall"], "recvmsg", "{outcome}");
    // Its own end of the socket it has by fork: that is nobody's leak.
    let of_receiver = outcome
        .findings()
        .into_iter()
        .filter(|it| it["comm"] == "receiver");
    let count: u64 = of_receiver.filter_map(|it| it["count"].as_u64()).sum();
    assert_eq!(count, 4, "{outcome}");
    // The sender was gone by then.
    let end = |comm: &str| outcome.process(comm)["start_ns"].as_u64();
    assert!(end("receiver") > end("traps"), "{outcome}");
}

#[test]
fn names_that_io_uring_makes_are_declared() {
    needs("IORING_OP_MKDIRAT", (5, 15));
    let place = Place::new();
    let outcome = trap(&["ring-mkdir", &place.temp("made")]).at(&place).end();
    // The directory is left, and nothing of the run says so by name: that is no clean run.
    assert!(place.tmp().join("made").is_dir(), "{outcome}");
    assert_eq!(outcome.report["verdict"], "inconclusive", "{outcome}");
    let because = outcome.report["inconclusive_because"].to_string();
    assert!(because.contains("io_uring"), "{outcome}");
    assert_eq!(outcome.report["self_check"]["differed"], 0, "{outcome}");
}

#[test]
fn a_file_that_io_uring_makes_and_closes_at_once_is_not_missed() {
    let place = Place::new();
    let outcome = trap(&["ring-create", &place.temp("made")]).at(&place).end();
    assert!(place.tmp().join("made").is_file(), "{outcome}");
    if linux() >= (5, 17) {
        outcome.only_error("LT109");
    } else {
        // Completions are not followed there: that names were made is all that is known.
        assert_eq!(outcome.report["verdict"], "inconclusive", "{outcome}");
        let because = outcome.report["inconclusive_because"].to_string();
        assert!(because.contains("io_uring"), "{outcome}");
    }
    assert_eq!(outcome.report["self_check"]["differed"], 0, "{outcome}");
}

#[test]
fn a_socket_that_is_held_has_its_state() {
    let held = held(trap(&["sockets"]).end().process("traps"))
        .iter()
        .map(|it| it["state"].as_str().map(str::to_owned))
        .collect::<Vec<_>>();
    let state = |text: &str| Some(text.to_owned());
    assert_eq!(
        held,
        [
            state("listening"),
            state("connected"),
            state("closing"),
            state("not connected"),
            None
        ]
    );
}

#[test]
fn an_fd_that_ioctl_returned_is_held_like_any_other() {
    let outcome = trap(&["terminal"]).args(HELD).end();
    agrees(&outcome);
    let held = held(outcome.process("traps"));
    assert_eq!(held.len(), 2, "{outcome}");
    assert_eq!(held[1]["syscall"], "ioctl", "{outcome}");
    let path = held[1]["path"].as_str().unwrap_or_default();
    assert!(path.starts_with("/dev/pts/"), "{outcome}");
}

#[test]
fn an_fd_that_a_supervisor_added_is_held_by_who_got_it() {
    let outcome = trap(&["supervised"]).args(HELD).end();
    agrees(&outcome);
    let held = held(outcome.process("supervised"));
    let added = held.iter().find(|it| it["syscall"] == "seccomp addfd");
    let added = added.unwrap_or_else(|| panic!("{outcome}"));
    assert_eq!(added["path"], "/etc/hosts", "{outcome}");
    assert_eq!(
        added["how"], "put there by a seccomp supervisor",
        "{outcome}"
    );
    assert!(
        held.iter().any(|it| it["syscall"] == "seccomp"),
        "{outcome}"
    );
    let supervisor = crate::traps::held(outcome.process("traps"));
    let taken = supervisor.iter().find(|it| it["syscall"] == "pidfd_getfd");
    assert_eq!(
        taken.map(|it| &it["how"]),
        Some(&"taken by pidfd_getfd".into()),
        "{outcome}"
    );
}

#[test]
fn a_table_of_two_processes_is_released_with_the_second() {
    let outcome = trap(&["shared"]).args(HELD).end();
    agrees(&outcome);
    let finding = outcome.only_error("LT201");
    assert_eq!(
        (&finding["comm"], &finding["count"]),
        (&"traps".into(), &1.into()),
        "{outcome}"
    );
}

#[test]
fn threads_that_end_at_once_and_a_table_of_many_parts() {
    let outcome = trap(&["together", "1000"])
        .args(["--fail-on", "LT201"])
        .end();
    agrees(&outcome);
    assert_eq!(outcome.only_error("LT201")["count"], 1000, "{outcome}");
    assert_eq!(
        outcome.process("traps")["summary"]["held"],
        1000,
        "{outcome}"
    );
}
