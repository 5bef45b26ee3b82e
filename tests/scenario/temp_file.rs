//! LT109: files in temp directories; and what only looks like one.

use leaktrace_tests::{Place, Run};

use crate::{check_sh, check_steps};

#[test]
fn a_temp_file_never_removed_is_an_error() {
    let place = Place::new();
    let outcome = Run::check(["mktemp"]).at(&place).end();
    let finding = outcome.only_error("LT109");
    assert_eq!(finding["name"], "temp-file-left");
    assert_eq!(finding["comm"], "mktemp");
    assert_eq!(finding["pid"], outcome.process("mktemp")["pid"]);
    assert_eq!(
        finding["resource"]["path"],
        outcome.stdout.trim(),
        "{outcome}"
    );
    assert_eq!(
        outcome.process("mktemp")["summary"]["residue"],
        1,
        "{outcome}"
    );
}

#[test]
fn a_temp_file_removed_by_another_process_of_the_tree_is_gone() {
    check_sh("f=$(mktemp); echo x >$f; rm $f")
        .end()
        .twin_clean("LT109");
}

#[test]
fn slash_tmp_is_a_temp_root_whatever_tmpdir_says() {
    let outcome = check_sh("TMPDIR= mktemp /tmp/leaktrace-direct-XXXXXX").end();
    let path = outcome.stdout.trim().to_owned();
    assert!(
        std::fs::remove_file(&path).is_ok(),
        "it was left: {outcome}"
    );
    assert_eq!(
        outcome.only_error("LT109")["resource"]["path"],
        path,
        "{outcome}"
    );
}

#[test]
fn a_temp_name_renamed_into_the_working_directory_is_output() {
    let place = Place::new();
    check_sh("f=$(mktemp); echo result >$f; mv $f ./result")
        .at(&place)
        .end()
        .spotless();
    assert!(place.cwd().join("result").exists());
}

#[test]
fn a_file_renamed_into_a_temp_directory_is_left_there() {
    let place = Place::new();
    let outcome = check_sh("echo x >here; mv here $TMPDIR/there")
        .at(&place)
        .end();
    let path = &outcome.only_error("LT109")["resource"]["path"];
    assert_eq!(*path, place.temp("there"), "{outcome}");
}

#[test]
fn a_file_that_was_there_before_is_not_the_commands() {
    let place = Place::new();
    let file = place.temp("before");
    std::fs::write(&file, "before").expect("write a file");
    check_sh(&format!("echo more >>{file}"))
        .at(&place)
        .end()
        .spotless();
}

#[test]
fn a_file_written_in_the_working_directory_is_output() {
    check_sh("echo result >result").end().spotless();
}

#[test]
fn an_unlinked_or_nameless_file_is_not_left() {
    let place = Place::new();
    let file = place.temp("short");
    let dir = place.tmp().display().to_string();
    check_steps(&[
        &format!("create a {file}"),
        &format!("unlink {file}"),
        &format!("tmpfile b {dir}"),
        "close b",
        "close a",
    ])
    .at(&place)
    .end()
    .spotless();
}

#[test]
fn a_relative_path_after_chdir_is_found_where_it_is() {
    let place = Place::new();
    let dir = place.tmp().display().to_string();
    let steps = [
        format!("chdir {dir}"),
        "create a relative".into(),
        "close a".into(),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let outcome = check_steps(&steps).at(&place).end();
    let path = &outcome.only_error("LT109")["resource"]["path"];
    assert_eq!(*path, place.temp("relative"), "{outcome}");
}

#[test]
fn a_second_name_keeps_a_file_that_lost_its_first() {
    let place = Place::new();
    let script = "touch $TMPDIR/a; ln $TMPDIR/a $TMPDIR/b; rm $TMPDIR/a";
    let outcome = check_sh(script).at(&place).end();
    let path = &outcome.only_error("LT109")["resource"]["path"];
    assert_eq!(*path, place.temp("b"), "{outcome}");
}

#[test]
fn a_program_started_by_a_thread_is_the_same_process() {
    let place = Place::new();
    let script = "import os, threading\n\
                  run = lambda: os.execvp('mktemp', ['mktemp'])\n\
                  thread = threading.Thread(target=run)\n\
                  thread.start()\n\
                  thread.join()";
    let outcome = Run::check(["python3", "-c", script]).at(&place).end();
    let finding = outcome.only_error("LT109");
    assert_eq!(finding["comm"], "mktemp", "{outcome}");
    assert_eq!(outcome.processes("mktemp").len(), 1, "{outcome}");
}

#[test]
fn a_hostile_name_is_reported_without_harm() {
    let place = Place::new();
    let outcome = check_sh("touch \"$TMPDIR/$(printf 'a\\033[31mb\\nc\\377')\"").at(&place);
    let outcome = outcome.args(["-f", "text"]).end();
    let finding = outcome.only_error("LT109");
    let path = finding["resource"]["path"].as_str().unwrap_or_default();
    assert!(path.ends_with("a\u{1b}[31mb\nc\u{fffd}"), "{outcome}");
    assert!(!outcome.stderr.contains('\u{1b}'), "{outcome}");
}
