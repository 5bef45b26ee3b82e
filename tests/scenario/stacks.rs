//! `-k`: which function acquired what a finding is about.

use std::path::{Path, PathBuf};
use std::process::Command;

use leaktrace_tests::{Outcome, Place, Run, needs};
use serde_json::Value;

use crate::{STEPS, check_steps};

/// `tests/program/named.c`, compiled where the run works, so that its source is in the
/// repository.
fn program(place: &Place, options: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("program/named.c");
    let text = std::fs::read_to_string(source).expect("read the source");
    compile(place, &text, options)
}

fn compile(place: &Place, text: &str, options: &[&str]) -> PathBuf {
    let source = place.cwd().join("named.c");
    std::fs::write(&source, text).expect("write the source");
    let program = place.cwd().join("named");
    let output = Command::new("gcc")
        .args(options)
        .arg("-o")
        .args([&program, &source])
        .output()
        .expect("run gcc");
    assert!(output.status.success(), "{output:?}");
    program
}

fn check<'a>(place: &'a Place, program: &Path, what: &[&str]) -> Run<'a> {
    let mut command = vec![program.display().to_string()];
    command.extend(what.iter().map(|word| (*word).to_owned()));
    Run::check(command).at(place)
}

/// The functions on a finding's stack, innermost first.
fn functions(finding: &Value) -> Vec<String> {
    let frames = finding["resource"]["stack"].as_array();
    let frames = frames.map(Vec::as_slice).unwrap_or_default();
    let text = frames.iter().filter_map(Value::as_str);
    let function = |frame: &str| frame.split([' ']).next().unwrap_or(frame).to_owned();
    text.map(function).collect()
}

fn sites<'a>(outcome: &'a Outcome, rule: &str) -> Vec<&'a str> {
    let findings = outcome.of_rule(rule).into_iter();
    findings.filter_map(|it| it["site"].as_str()).collect()
}

#[test]
fn c_programs_are_named_by_their_functions_with_frame_pointers_or_without() {
    let ways: [&[&str]; 3] = [
        &["-g", "-O0"],
        &["-g", "-O2", "-fomit-frame-pointer"],
        &["-O2", "-fno-omit-frame-pointer"],
    ];
    for options in ways {
        let place = Place::new();
        let program = program(&place, options);
        let what = ["open", "stream", "socket", "file"];
        let outcome = check(&place, &program, &what)
            .args(["-k", "--fail-on", "held"])
            .end();
        let held = sites(&outcome, "LT201");
        assert_eq!(
            held,
            ["open_and_forget", "stream_and_forget"],
            "{options:?} {outcome}"
        );
        assert_eq!(
            sites(&outcome, "LT202"),
            ["socket_and_forget"],
            "{options:?} {outcome}"
        );
        assert_eq!(
            sites(&outcome, "LT109"),
            ["leave_a_file"],
            "{options:?} {outcome}"
        );
        let left = outcome.of_rule("LT109")[0];
        let functions = functions(left);
        assert!(
            functions.contains(&"main".to_owned()),
            "{options:?} {outcome}"
        );
        if options.contains(&"-g") {
            assert_eq!(left["location"]["file"], "named.c", "{options:?} {outcome}");
            let line = left["location"]["line"].as_u64().unwrap_or(0);
            assert!((34..44).contains(&line), "{options:?} {outcome}");
        }
    }
}

#[test]
fn who_started_what_still_runs_is_told() {
    for options in [&["-g", "-O0"][..], &["-g", "-O2", "-fomit-frame-pointer"]] {
        let place = Place::new();
        let program = program(&place, options);
        let outcome = check(&place, &program, &["start"])
            .args(["-k", "--settle", "100ms"])
            .end();
        let survivor = outcome.only_error("LT101");
        let pid = survivor["pid"].as_i64().unwrap_or_default();
        // SAFETY: no memory is passed; the survivor of this scenario.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        assert_eq!(
            survivor["site"], "start_and_forget",
            "{options:?} {outcome}"
        );
        let functions = functions(survivor);
        assert!(
            functions.contains(&"main".to_owned()),
            "{options:?} {outcome}"
        );
        assert_eq!(survivor["location"]["file"], "named.c", "{outcome}");
    }
}

#[test]
fn stacks_without_room_are_counted() {
    needs("bpf_loop", (5, 17));
    let outcome = Run::check([env!("CARGO_BIN_EXE_spin"), "open", "30000"])
        .args(["-k"])
        .env("LEAKTRACE_TEST_LOSS", "ring=65536,sleep=50/100")
        .end();
    let left_out = outcome.report["events"]["stacks_left_out"].as_u64();
    assert!(left_out.is_some_and(|count| count > 1_000), "{outcome}");
    assert!(outcome.stderr.contains(" stacks left out"), "{outcome}");
    let roomy = Run::check(["true"]).args(["-k"]).end();
    assert!(
        roomy.report["events"]["stacks_left_out"].is_null(),
        "{roomy}"
    );
}

#[test]
fn rust_programs_are_named_by_their_functions() {
    let outcome = check_steps(&["open a /etc/hosts"])
        .args(["-k", "--fail-on", "held"])
        .end();
    let site = sites(&outcome, "LT201").concat();
    // Its own module may be left out where only lines are known of it.
    assert!(site.ends_with("step"), "{STEPS} {outcome}");
}

#[test]
fn without_it_nothing_is_told_and_what_is_known_stays_known() {
    let place = Place::new();
    let program = program(&place, &["-g", "-O0"]);
    let run = |with: &[&str]| {
        check(&place, &program, &["open"])
            .args(["--fail-on", "held"])
            .args(with)
            .end()
    };
    let plain = run(&[]);
    let finding = plain.only_error("LT201");
    assert!(finding["resource"]["stack"].is_null(), "{plain}");
    assert_eq!(finding["site"], "openat", "{plain}");
    let told = run(&["-k"]);
    let same = told.only_error("LT201");
    assert_eq!(
        finding["fingerprint"], same["fingerprint"],
        "{plain} {told}"
    );
}

#[test]
fn a_suppression_by_a_frame_covers_what_comes_through_it_and_nothing_else() {
    let place = Place::new();
    let program = program(&place, &["-g", "-O0"]);
    let outcome = check(&place, &program, &["open", "stream"])
        .args(["-k", "--fail-on", "held"])
        .args(["--allow", "LT201:stack=open_and_*,stack=main"])
        .end();
    assert_eq!(outcome.code(), 100, "{outcome}");
    let left: Vec<_> = outcome
        .errors()
        .into_iter()
        .filter(|it| it["suppressed_by"].is_null())
        .collect();
    assert_eq!(left.len(), 1, "{outcome}");
    assert_eq!(left[0]["site"], "stream_and_forget", "{outcome}");
    let outcome = check(&place, &program, &["open", "stream"])
        .args([
            "-k",
            "--fail-on",
            "held",
            "--allow",
            "LT201:stack=*_and_forget",
        ])
        .end();
    assert_eq!(outcome.code(), 0, "{outcome}");
}

#[test]
fn a_baseline_survives_other_lines() {
    let place = Place::new();
    let program = program(&place, &["-g", "-O0"]);
    let outcome = check(&place, &program, &["open", "stream"])
        .args(["-k", "--fail-on", "held", "--write-baseline", "known.toml"])
        .end();
    assert_eq!(outcome.code(), 0, "{outcome}");
    let text = std::fs::read_to_string(place.cwd().join("named.c")).expect("read");
    let shifted = text.replace("APART FILE", "\n\n\n/* other lines */\n\nAPART FILE");
    let program = compile(&place, &shifted, &["-g", "-O0"]);
    let outcome = check(&place, &program, &["open", "stream"])
        .args(["-k", "--fail-on", "held", "--baseline", "known.toml"])
        .end();
    assert_eq!(outcome.code(), 0, "{outcome}");
}

#[test]
fn a_budget_is_passed_in_a_function_that_is_told() {
    let place = Place::new();
    let program = program(&place, &["-g", "-O0"]);
    let policy = "[max]\nfd = 20\n";
    std::fs::write(place.cwd().join("leaktrace.toml"), policy).expect("write the policy");
    let outcome = check(&place, &program, &["many"]).args(["-k"]).end();
    let finding = outcome.fired("LT506");
    let functions = functions(finding);
    assert!(
        functions.contains(&"open_and_forget".to_owned()),
        "{outcome}"
    );
    assert!(functions.contains(&"many".to_owned()), "{outcome}");
}

#[test]
fn a_capture_has_the_functions() {
    let place = Place::new();
    let program = program(&place, &["-g", "-O0"]);
    let live = check(&place, &program, &["open", "socket"])
        .args(["-k", "--fail-on", "held", "--capture", "run.ltr"])
        .end();
    std::fs::remove_file(&program).expect("remove the program");
    let nothing: [&str; 0] = [];
    let read = Run::check(nothing)
        .at(&place)
        .args(["--fail-on", "held", "--from", "run.ltr"])
        .end();
    for rule in ["LT201", "LT202"] {
        assert_eq!(live.of_rule(rule).len(), 1, "{live}");
        let stack = |outcome: &Outcome| outcome.of_rule(rule)[0]["resource"]["stack"].clone();
        assert_eq!(stack(&live), stack(&read), "{live} {read}");
    }
}
