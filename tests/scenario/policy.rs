//! leaktrace.toml, suppressions, and who may stay.

use std::fs;
use std::path::Path;

use leaktrace_tests::{Outcome, Place, Run, copy_program, leaktrace};

use crate::check_sh;

fn write(place: &Place, text: &str) {
    fs::write(place.cwd().join("leaktrace.toml"), text).expect("write the policy");
}

/// Ends the survivors that a script has written to stdout, whatever becomes of the scenario.
struct Survivors(Vec<i32>);

impl Survivors {
    fn of(outcome: &Outcome) -> Self {
        let words = outcome.stdout.split_whitespace();
        Self(words.filter_map(|word| word.parse().ok()).collect())
    }
}

impl Drop for Survivors {
    fn drop(&mut self) {
        for pid in &self.0 {
            // SAFETY: no memory is passed; the pid is a process that this scenario started and
            // that nobody but init can have reaped within the scenario.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
    }
}

const LEAK: &str = "mkdir -p sub; cd sub; mktemp";

#[test]
fn a_policy_is_found_upwards_and_named_in_the_report() {
    let place = Place::new();
    write(
        &place,
        "[[allow]]\nrule = \"LT109\"\ncomm = \"mktemp\"\nreason = \"known\"\n",
    );
    fs::create_dir_all(place.cwd().join("sub")).expect("make it");
    let outcome = check_sh(LEAK).at(&place).end();
    outcome.clean();
    let policy = &outcome.report["policy"];
    assert_eq!(policy["path"], "leaktrace.toml", "{outcome}");
    assert_eq!(
        policy["sha256"].as_str().map(str::len),
        Some(64),
        "{outcome}"
    );
    assert_eq!(policy["suppressions"][0]["used"], 1, "{outcome}");
    assert_eq!(policy["suppressions"][0]["reason"], "known", "{outcome}");
    assert_eq!(
        policy["suppressions"][0]["source"], "leaktrace.toml:1",
        "{outcome}"
    );
    assert_eq!(outcome.report["known"]["suppressed"], 1, "{outcome}");
    let script = format!(
        "cd sub && exec {} check -- sh -c mktemp",
        leaktrace().display()
    );
    let below = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(place.cwd())
        .env("TMPDIR", place.tmp())
        .output()
        .expect("run it below");
    assert_eq!(below.status.code(), Some(0), "{below:?}");
    fs::remove_file(place.cwd().join("leaktrace.toml")).expect("remove it");
    check_sh(LEAK).at(&place).end().only_error("LT109");
}

#[test]
fn levels_are_different_for_some_programs() {
    let place = Place::new();
    write(
        &place,
        "[levels]\nresidue = \"note\"\n[[program]]\nexe = \"*/mktemp\"\n[program.levels]\nLT109 = \"error\"\n",
    );
    let outcome = check_sh("mktemp; : >$TMPDIR/by-sh").at(&place).end();
    assert_eq!(outcome.only_error("LT109")["comm"], "mktemp");
    assert_eq!(
        outcome.of_rule("LT109").len(),
        2,
        "the other is a note\n{outcome}"
    );
}

#[test]
fn more_temp_roots_can_be_named() {
    let place = Place::new();
    let script = "mkdir -p scratch; : >scratch/file";
    check_sh(script).at(&place).end().spotless();
    fs::remove_dir_all(place.cwd().join("scratch")).expect("it was output");
    fs::create_dir(place.cwd().join("scratch")).expect("make it");
    write(&place, "[temp]\nroots = [\"scratch\"]\n");
    let outcome = check_sh(script).at(&place).end();
    let path = place.cwd().join("scratch/file").display().to_string();
    assert_eq!(outcome.only_error("LT109")["resource"]["path"], path);
}

#[test]
fn a_suppression_counts_to_its_last_day_and_strictness_wants_it_used() {
    let place = Place::new();
    let allow = |rest: &str| format!("[[allow]]\nrule = \"LT109\"\nreason = \"r\"\n{rest}\n");
    write(&place, &allow("expires = 2001-01-01"));
    let outcome = check_sh("mktemp").at(&place).end();
    outcome.only_error("LT109");
    assert_eq!(
        outcome.report["policy"]["suppressions"][0]["expired"], true,
        "{outcome}"
    );
    check_sh("true").at(&place).end().clean();
    let strict = check_sh("true")
        .at(&place)
        .args(["--strict-suppressions"])
        .text()
        .end();
    assert_eq!(strict.code(), 100, "{strict}");
    assert!(strict.stderr.contains("expired on 2001-01-01"), "{strict}");

    write(&place, &allow("path = \"*/nowhere\""));
    check_sh("true").at(&place).end().clean();
    let strict = check_sh("true")
        .at(&place)
        .args(["--strict-suppressions"])
        .end();
    assert_eq!(strict.code(), 100, "{strict}");
    let complaints = strict.report["policy"]["complaints"]
        .as_array()
        .map(Vec::len);
    assert_eq!(complaints, Some(1), "{strict}");

    write(&place, &allow("expires = 9999-12-31"));
    let outcome = check_sh("mktemp")
        .at(&place)
        .args(["--strict-suppressions"])
        .end();
    outcome.clean();
}

#[test]
fn generated_suppressions_are_ready_to_use() {
    let place = Place::new();
    let script = "mktemp; mktemp -d; mkfifo $TMPDIR/fifo; ipcmk -M 4096";
    let file = place.root().join("known.toml").display().to_string();
    let generate = format!("--gen-suppressions={file}");
    let first = check_sh(script).at(&place).args([&generate]).end();
    assert_eq!(first.code(), 100, "{first}");
    assert_eq!(first.errors().len(), 4, "{first}");
    remove_segments(&first);
    fs::remove_file(place.tmp().join("fifo")).expect("it was left");
    let strict = ["--suppressions", &file, "--strict-suppressions"];
    let second = check_sh(script).at(&place).args(strict).end();
    remove_segments(&second);
    second.clean();
    assert_eq!(second.report["known"]["suppressed"], 4, "{second}");
    check_sh("touch $TMPDIR/other")
        .at(&place)
        .args(["--suppressions", &file])
        .end()
        .only_error("LT109");
}

fn remove_segments(outcome: &Outcome) {
    for finding in outcome.of_rule("LT103") {
        let id = finding["resource"]["id"].to_string();
        let removed = std::process::Command::new("ipcrm")
            .args(["-m", &id])
            .status();
        assert!(removed.is_ok_and(|status| status.success()), "{outcome}");
    }
}

#[test]
fn wrong_files_are_told_in_one_sentence_before_anything_runs() {
    let place = Place::new();
    for (text, told) in [
        (
            "\nlvels = 1\n",
            "leaktrace.toml:2: unknown key `lvels`; did you mean `levels`?",
        ),
        (
            "[[allow]]\nrule = \"LT109\"\n",
            "leaktrace.toml:1: missing field `reason`",
        ),
        (
            "[order]\nmode = \"lifo\"\n",
            "leaktrace.toml:2: unknown order mode `lifo`",
        ),
        ("\u{1b}]0;x\u{7}", "leaktrace.toml:1: "),
    ] {
        write(&place, text);
        let outcome = check_sh("echo ran").at(&place).text().end();
        assert_eq!(outcome.code(), 2, "{outcome}");
        assert_eq!(outcome.stdout, "", "{outcome}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
        assert!(outcome.stderr.contains(told), "{outcome}");
        assert!(!outcome.stderr.contains('\u{1b}'), "{outcome}");
        let check = Run::of("policy", [""; 0])
            .args(["check"])
            .at(&place)
            .text()
            .end();
        assert_eq!(check.code(), 2, "{check}");
        assert!(check.stderr.contains(told), "{check}");
    }
    write(&place, "[max]\nfd = 10\n");
    let check = Run::of("policy", [""; 0])
        .args(["check"])
        .at(&place)
        .text()
        .end();
    assert_eq!(check.code(), 0, "{check}");
    assert!(
        check.stdout.starts_with("leaktrace.toml: right: "),
        "{check}"
    );
}

#[test]
fn an_expected_daemon_may_stay() {
    let place = Place::new();
    copy_program("/bin/sleep", place.cwd().join("my-daemon"));
    // Until it is executed it has the shell's name, and is no daemon that anybody expects.
    let script = "./my-daemon 30 </dev/null >/dev/null 2>&1 & echo $!; \
        until read -r name </proc/$!/comm && [ $name = my-daemon ]; do sleep 0.05; done";
    let outcome = check_sh(script)
        .at(&place)
        .args(["--settle", "200ms"])
        .end();
    let _survivors = Survivors::of(&outcome);
    outcome.only_error("LT101");
    write(
        &place,
        "[[expect]]\ncomm = \"my-daemon\"\nreason = \"serves the next run\"\n",
    );
    let outcome = check_sh(script)
        .at(&place)
        .args(["--settle", "200ms"])
        .end();
    let _survivors = Survivors::of(&outcome);
    outcome.clean();
    assert_eq!(outcome.report["known"]["daemons"], 1, "{outcome}");
    let expected = &outcome.report["policy"]["suppressions"][0];
    assert_eq!(expected["form"], "expect:comm=my-daemon", "{outcome}");
    assert_eq!(expected["used"], 1, "{outcome}");
}

/// How each daemon of the shipped table shows itself: comm, and argv behind it. All are copies of
/// a program that sleeps; what is looked at is names.
const DAEMONS: [(&str, &str); 16] = [
    ("gpg-agent", "gpg-agent --homedir /h --daemon"),
    ("dirmngr", "dirmngr --daemon"),
    ("keyboxd", "keyboxd --daemon"),
    ("sccache", "sccache"),
    (
        "java",
        "java org.gradle.launcher.daemon.bootstrap.GradleDaemon 8.5",
    ),
    (
        "java",
        "java org.jetbrains.kotlin.daemon.KotlinCompileDaemon",
    ),
    ("java", "bazel(ws) -jar A-server.jar"),
    (
        "node",
        "node /ws/node_modules/nx/src/daemon/server/start.js",
    ),
    ("watchman", "watchman --foreground"),
    ("adb", "adb -L tcp:5037 fork-server server --reply-fd 4"),
    ("dotnet", "dotnet exec /sdk/VBCSCompiler.dll"),
    ("tmux: server", "tmux new -d"),
    ("git", "git maintenance run --auto --quiet --detach"),
    ("git", "git gc --auto --quiet"),
    ("ssh", "ssh host true"),
    ("unknown", "unknown --daemon"),
];

/// A Python program that takes a name and arguments, tells its pid, and sleeps.
const PRETEND: &str = r#"
import ctypes, os, socket, sys, time
name, socket_path = sys.argv[1], sys.argv[2]
if socket_path: socket.socket(socket.AF_UNIX).bind(socket_path)
ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
open(os.path.join(os.path.dirname(sys.argv[0]), "ready"), "w").close()
time.sleep(60)
"#;

fn pretend(place: &Place, (comm, argv): (&str, &str), redirect: &str) -> Outcome {
    let program = place.cwd().join("pretend.py");
    fs::write(&program, PRETEND).expect("write it");
    let python = real_python();
    let socket = match comm {
        "ssh" => place.cwd().join("mux.sock").display().to_string(),
        _ => String::new(),
    };
    // exec -a gives argv[0]; the words behind the two are only to be read.
    let script = format!(
        "(exec -a '{argv}' {python} {} '{comm}' '{socket}' {argv_quoted}) {redirect} & echo $!; until [ -e ready ]; do sleep 0.05; done",
        program.display(),
        argv_quoted = shell_words(argv),
    );
    let outcome = Run::check(["bash", "-c", &script])
        .at(place)
        .args(["--settle", "300ms"])
        .end();
    let _ = fs::remove_file(place.cwd().join("mux.sock"));
    let _ = fs::remove_file(place.cwd().join("ready"));
    outcome
}

fn shell_words(argv: &str) -> String {
    let words = argv.split(' ').map(|word| format!("'{word}'"));
    words.collect::<Vec<_>>().join(" ")
}

/// Not a shim that runs other programs first.
fn real_python() -> String {
    let output = std::process::Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .expect("run python3");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

const AWAY: &str = "</dev/null >/dev/null 2>&1";

#[test]
fn every_known_daemon_may_stay_and_nobody_else() {
    for daemon in DAEMONS {
        let place = Place::new();
        let outcome = pretend(&place, daemon, AWAY);
        let _survivors = Survivors::of(&outcome);
        if daemon.0 == "unknown" {
            outcome.only_error("LT101");
        } else {
            outcome.clean();
            assert_eq!(
                outcome.report["known"]["daemons"], 1,
                "{daemon:?}\n{outcome}"
            );
        }
    }
}

#[test]
fn a_known_daemon_that_keeps_something_of_the_run_is_an_error_again() {
    // Its output goes into a pipe of the run, whose reader waits for its end.
    let pipe = "</dev/null 2>/dev/null | (sleep 0.2; exec 0<&-)";
    // An fd of a jobserver.
    let jobserver = "8<>$TMPDIR/../jobs </dev/null >/dev/null 2>&1";
    // A file of the run, in use.
    let file = "</dev/null >$TMPDIR/log 2>&1";
    for (what, redirect, told) in [
        ("pipe", pipe, "pipe) of the run open"),
        ("jobserver", jobserver, "of the run open"),
        ("file", file, "/log of the run"),
    ] {
        let place = Place::new();
        let jobs = place.root().join("jobs").display().to_string();
        if what == "jobserver" {
            let made = std::process::Command::new("mkfifo").arg(&jobs).status();
            assert!(made.is_ok_and(|status| status.success()));
        }
        let outcome = pretend(&place, DAEMONS[0], redirect);
        let _survivors = Survivors::of(&outcome);
        let errors = outcome.of_rule("LT101");
        assert!(!errors.is_empty(), "{what}\n{outcome}");
        let message = errors[0]["message"].as_str().unwrap_or_default();
        assert!(message.contains(told), "{what}\n{outcome}");
        assert_eq!(outcome.code(), 100, "{what}\n{outcome}");
    }
}

#[test]
fn every_known_cache_is_counted_and_no_finding() {
    let place = Place::new();
    for (n, script) in [
        "mkdir -p $TMPDIR/pytest-of-ci/pytest-0 && : >$TMPDIR/pytest-of-ci/pytest-0/f",
        "mkdir $TMPDIR/jest_rs && : >$TMPDIR/jest_rs/map",
        "mkdir $TMPDIR/node-compile-cache",
        "mkdir $TMPDIR/v8-compile-cache-1000",
        "mkdir $TMPDIR/hsperfdata_root && : >$TMPDIR/hsperfdata_root/1",
        ": >$TMPDIR/perf-4711.map",
        "mkdir $TMPDIR/tmux-1000",
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = check_sh(script).at(&place).end();
        outcome.spotless();
        assert_eq!(outcome.report["known"]["caches"], 1, "{n}\n{outcome}");
    }
    check_sh("mkdir $TMPDIR/my-cache")
        .at(&place)
        .end()
        .only_error("LT110");
}

#[test]
fn the_shipped_table_is_covered_by_these() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../leaktrace/src/policy/defaults.toml");
    let table = fs::read_to_string(table).expect("read the table");
    let entries = |header: &str| table.lines().filter(|line| *line == header).count();
    assert_eq!(entries("[[cache]]"), 7);
    assert_eq!(entries("[[daemon]]"), DAEMONS.len() - 1);
}
