//! A suite with known leaks stays green, and one more leak makes it fail on that one alone.

use std::fs;

use leaktrace_tests::{Outcome, Place, Run};

/// Twenty tests that leak, by programs of several kinds and with names of several kinds.
const SUITE: [&str; 20] = [
    "mktemp",
    "mktemp",
    "mktemp -d",
    "mktemp ${TMPDIR}/job-XXXXXX",
    ": >$TMPDIR/log.$$",
    ": >$TMPDIR/log.$$",
    "mkdir $TMPDIR/work.$$; : >$TMPDIR/work.$$/x",
    ": >$TMPDIR/result",
    ": >$TMPDIR/report.txt",
    "mkfifo $TMPDIR/fifo.$$",
    "ipcmk -M 4096",
    "ipcmk -M 8192",
    "ipcmk -S 1",
    "ipcmk -Q",
    "python3 -c 'import tempfile; tempfile.mkstemp()'",
    "python3 -c 'import tempfile; tempfile.mkstemp(prefix=\"data-\")'",
    "python3 -c 'import tempfile; tempfile.mkdtemp()'",
    "python3 -c 'import socket,os; socket.socket(socket.AF_UNIX).bind(os.environ[\"TMPDIR\"]+\"/s.%d\" % os.getpid())'",
    "perl -e 'open(F, \">\", \"$ENV{TMPDIR}/perl.$$\")'",
    ": >/dev/shm/leaktrace-baseline.$$",
];

/// A checkout of the suite in the working directory: one script a test, and one that runs them in
/// the order given.
fn check_out(place: &Place, order: &[usize]) {
    let tests = place.cwd().join("tests");
    let _ = fs::remove_dir_all(&tests);
    fs::create_dir_all(&tests).expect("make a checkout");
    let mut all = String::new();
    for (line, &test) in order.iter().enumerate() {
        let script = format!(
            "{}{}\n",
            "# moves the lines\n".repeat(line % 3),
            SUITE[test]
        );
        fs::write(tests.join(format!("test_{test}.sh")), script).expect("write a test");
        all.push_str(&format!("sh ./tests/test_{test}.sh >/dev/null\n"));
    }
    fs::write(place.cwd().join("run.sh"), all).expect("write the suite");
}

/// One more test, run before the fourth.
fn add_test(place: &Place, script: &str) {
    let (tests, all) = (place.cwd().join("tests"), place.cwd().join("run.sh"));
    fs::write(tests.join("test_new.sh"), format!("{script}\n")).expect("write it");
    let text = fs::read_to_string(&all).expect("read the suite");
    let before = "sh ./tests/test_3.sh";
    let text = text.replacen(
        before,
        &format!("sh ./tests/test_new.sh >/dev/null\n{before}"),
        1,
    );
    fs::write(all, text).expect("write the suite");
}

fn in_turn() -> Vec<usize> {
    (0..SUITE.len()).collect()
}

/// Runs the suite.
fn suite(place: &Place, options: &[&str]) -> Outcome {
    let outcome = Run::check(["sh", "./run.sh"]).at(place).args(options).end();
    remove(place, &outcome);
    outcome
}

/// Removes what the report names as left.
fn remove(place: &Place, outcome: &Outcome) {
    for finding in outcome.findings() {
        for instance in finding["instances"].as_array().into_iter().flatten() {
            let resource = &instance["resource"];
            let kind = resource["kind"].as_str().unwrap_or_default();
            if let Some(id) = resource["id"].as_i64() {
                let option = match kind {
                    "sysv-shm" => "-m",
                    "sysv-sem" => "-s",
                    _ => "-q",
                };
                let removed = std::process::Command::new("ipcrm")
                    .args([option, &id.to_string()])
                    .status();
                assert!(removed.is_ok_and(|status| status.success()), "{outcome}");
            } else if let Some(path) = resource["path"].as_str() {
                let ours = path.starts_with(&place.root().display().to_string())
                    || path.starts_with("/dev/shm/leaktrace-baseline.");
                assert!(
                    ours,
                    "{path} is not ours ({})\n{outcome}",
                    place.root().display()
                );
                match kind {
                    "directory" => drop(fs::remove_dir_all(path)),
                    _ => drop(fs::remove_file(path)),
                }
            }
        }
    }
}

#[track_caller]
fn passes(outcome: &Outcome) {
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert!(outcome.errors().is_empty(), "{outcome}");
    assert_eq!(
        outcome.report["policy"]["baseline"]["again"], 20,
        "{outcome}"
    );
}

/// A checkout, and the baseline of its suite, written by a run that it makes pass.
fn written() -> (Place, String) {
    let place = Place::new();
    check_out(&place, &in_turn());
    let baseline = place.root().join("baseline.json").display().to_string();
    passes(&suite(&place, &["--write-baseline", &baseline]));
    (place, baseline)
}

#[test]
fn a_suite_with_twenty_known_leaks_passes_and_without_the_baseline_does_not() {
    let (place, baseline) = written();
    passes(&suite(&place, &["--baseline", &baseline]));
    let outcome = suite(&place, &[]);
    assert_eq!(outcome.code(), 100, "{outcome}");
    let counts = outcome
        .errors()
        .into_iter()
        .filter_map(|it| it["count"].as_u64());
    assert_eq!(counts.sum::<u64>(), 20, "{outcome}");
}

#[test]
fn one_new_leak_of_a_known_rule_and_program_is_the_only_error_ten_times_of_ten() {
    let (_first, baseline) = written();
    let new = [
        // (the new test, its rule, its program)
        ("mktemp", "LT109", "mktemp"),
        (": >$TMPDIR/log.$$", "LT109", "sh"),
        ("ipcmk -M 4096", "LT103", "ipcmk"),
        (
            "python3 -c 'import tempfile; tempfile.mkdtemp()'",
            "LT110",
            "python3",
        ),
        ("ipcmk -Q", "LT105", "ipcmk"),
    ];
    for round in 0..10 {
        let (script, rule, comm) = new[round % new.len()];
        // Another checkout, another order, and the new one somewhere in between.
        let place = Place::new();
        let mut order = in_turn();
        order.rotate_left(round * 3 % SUITE.len());
        if round % 2 == 1 {
            order.reverse();
        }
        check_out(&place, &order);
        passes(&suite(&place, &["--baseline", &baseline]));
        add_test(&place, script);
        let outcome = suite(&place, &["--baseline", &baseline]);
        let finding = outcome.only_error(rule);
        assert_eq!(finding["count"], 1, "{outcome}");
        assert_eq!(finding["comm"], comm, "{outcome}");
        assert!(by_new_test(&outcome, &finding["process"]), "{outcome}");
        assert_eq!(
            outcome.report["policy"]["baseline"]["again"], 20,
            "{outcome}"
        );
    }
}

/// Whether a process or one of its ancestors is the new test.
fn by_new_test(outcome: &Outcome, key: &serde_json::Value) -> bool {
    let processes = outcome.report["processes"].as_array().expect("processes");
    let mut key = key.clone();
    while let Some(process) = processes.iter().find(|it| it["key"] == key) {
        let argv = process["argv"].as_array().into_iter().flatten();
        if argv
            .filter_map(|word| word.as_str())
            .any(|word| word.ends_with("test_new.sh"))
        {
            return true;
        }
        key = process["parent"].clone();
    }
    false
}

#[test]
fn a_second_leak_of_a_known_test_is_new_too() {
    let (place, baseline) = written();
    let script = place.cwd().join("tests/test_0.sh");
    fs::write(script, "\n\nmktemp; mktemp\n").expect("write it");
    let outcome = suite(&place, &["--baseline", &baseline]);
    let finding = outcome.only_error("LT109");
    assert_eq!(finding["count"], 1, "{outcome}");
    assert_eq!(finding["comm"], "mktemp", "{outcome}");
}

#[test]
fn a_baseline_that_cannot_be_used_is_told_before_anything_runs() {
    let place = Place::new();
    let file = place.root().join("b.json");
    let text = file.display().to_string();
    for content in [
        "",
        "[]",
        "{\"schema\": \"other/1\", \"findings\": []}",
        "\u{1b}[31m",
    ] {
        fs::write(&file, content).expect("write it");
        let outcome = Run::check(["sh", "-c", "echo ran"])
            .at(&place)
            .args(["--baseline", &text])
            .text()
            .end();
        assert_eq!(outcome.code(), 2, "{outcome}");
        assert_eq!(outcome.stdout, "", "{outcome}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
        assert!(outcome.stderr.contains("is no baseline: "), "{outcome}");
    }
}
