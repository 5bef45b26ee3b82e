//! LT110: a directory is one finding, whatever is in it. LT112: fifos.

use leaktrace_tests::Place;

use crate::{check_sh, check_steps};

#[test]
fn a_temp_directory_never_removed_is_one_error_with_its_size() {
    let place = Place::new();
    let script = "d=$(mktemp -d); mkdir $d/sub; printf 12345 >$d/one; printf 678 >$d/sub/two; \
                  echo $d";
    let outcome = check_sh(script).at(&place).end();
    let finding = outcome.only_error("LT110");
    assert_eq!(finding["name"], "temp-dir-left");
    assert_eq!(finding["comm"], "mktemp");
    assert_eq!(
        finding["resource"]["path"],
        outcome.stdout.trim(),
        "{outcome}"
    );
    assert_eq!(finding["resource"]["entries"], 3, "{outcome}");
    assert_eq!(finding["resource"]["bytes"], 8, "{outcome}");
}

#[test]
fn a_temp_directory_removed_with_its_content_is_gone() {
    check_sh("d=$(mktemp -d); mkdir $d/sub; touch $d/sub/file; rm -r $d")
        .end()
        .twin_clean("LT110");
}

#[test]
fn a_renamed_directory_is_found_under_its_new_name() {
    let place = Place::new();
    let script = "mkdir $TMPDIR/a; touch $TMPDIR/a/file; mv $TMPDIR/a $TMPDIR/b";
    let outcome = check_sh(script).at(&place).end();
    let finding = outcome.only_error("LT110");
    assert_eq!(finding["resource"]["path"], place.temp("b"), "{outcome}");
    assert_eq!(finding["resource"]["entries"], 1, "{outcome}");
    std::fs::remove_dir_all(place.temp("b")).expect("it was left");
    check_sh(&format!("{script}; rm -r $TMPDIR/b"))
        .at(&place)
        .end()
        .spotless();
}

#[test]
fn directories_are_found_by_relative_names_in_deep_places() {
    let place = Place::new();
    let long = "d".repeat(200);
    let script = format!("cd $TMPDIR; for i in 1 2 3 4 5 6; do mkdir {long}; cd {long}; done");
    let outcome = check_sh(&script).at(&place).end();
    let finding = outcome.only_error("LT110");
    assert_eq!(finding["resource"]["path"], place.temp(&long), "{outcome}");
    assert_eq!(finding["resource"]["entries"], 5, "{outcome}");
}

#[test]
fn a_fifo_never_removed_is_an_error_anywhere() {
    let place = Place::new();
    for dir in [place.cwd(), place.tmp()] {
        let path = dir.join("fifo").display().to_string();
        let outcome = check_steps(&[&format!("mkfifo {path}")]).at(&place).end();
        let finding = outcome.only_error("LT112");
        assert_eq!(finding["name"], "fifo-left");
        assert_eq!(finding["comm"], "steps");
        assert_eq!(finding["resource"]["path"], path, "{outcome}");
        std::fs::remove_file(path).expect("it was left");
    }
    check_sh("mkfifo pipe; rm pipe")
        .at(&place)
        .end()
        .twin_clean("LT112");
}
