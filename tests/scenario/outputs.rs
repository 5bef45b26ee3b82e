//! Places for reports that are full or not there: the command runs, has its status, and one
//! sentence says what could not be written.

use leaktrace_tests::{Outcome, Place, Run};
use serde_json::Value;

use crate::check_sh;

/// Mounts a file system on `$0`, fills it, and runs the rest of the arguments.
const FULL: &str = "mount -t tmpfs -o size=64k none \"$0\" && \
                    { head -c 1000000 /dev/zero >\"$0/all\"; exec \"$@\"; }";

fn on_full_disk<'a>(run: Run<'a>, place: &'a Place) -> Outcome {
    let full = place.root().join("full");
    std::fs::create_dir_all(&full).expect("make a directory");
    let full = full.display().to_string();
    run.at(place)
        .through(["unshare", "--mount", "sh", "-c", FULL, &full])
        .end()
}

/// The command ran, leaktrace says in one line that `path` could not be written.
#[track_caller]
fn told(outcome: &Outcome, place: &Place, path: &str) {
    assert_eq!(outcome.code(), 125, "{outcome}");
    assert!(place.cwd().join("ran").exists(), "not run: {outcome}");
    let lines: Vec<&str> = outcome
        .stderr
        .lines()
        .filter(|line| line.starts_with("leaktrace: ") && line.contains("No space left"))
        .collect();
    assert_eq!(lines.len(), 1, "{outcome}");
    assert!(lines[0].contains(path), "{outcome}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
}

const LEAK: &str = ": >ran; mktemp >/dev/null";

#[test]
fn a_full_disk_is_told_of_every_output() {
    let formats = [
        "text", "json", "jsonl", "junit", "sarif", "github", "gitlab", "markdown",
    ];
    for format in formats {
        let place = Place::new();
        let path = place.root().join("full/report").display().to_string();
        let run = check_sh(LEAK)
            .text()
            .args(["-f", &format!("{format}:{path}")]);
        let outcome = on_full_disk(run, &place);
        told(&outcome, &place, &path);
    }
    for option in ["--write-baseline", "-o"] {
        let place = Place::new();
        let path = place.root().join("full/file").display().to_string();
        let outcome = on_full_disk(check_sh(LEAK).text().args([option, &path]), &place);
        told(&outcome, &place, &path);
    }
    let place = Place::new();
    let path = place.root().join("full/file").display().to_string();
    let suppressions = format!("--gen-suppressions={path}");
    let outcome = on_full_disk(check_sh(LEAK).text().args([suppressions]), &place);
    told(&outcome, &place, &path);
}

#[test]
fn a_capture_that_does_not_fit_costs_the_capture_and_not_the_report() {
    for verb in ["check", "run", "record"] {
        let place = Place::new();
        let path = place.root().join("full/capture").display().to_string();
        let option = match verb {
            "record" => "-o",
            _ => "--capture",
        };
        let run = Run::of(verb, ["sh", "-c", LEAK]).args([option, &path]);
        let outcome = on_full_disk(run, &place);
        told(&outcome, &place, "capture");
        assert_eq!(outcome.report["verdict"], "findings", "{outcome}");
        assert_eq!(outcome.of_rule("LT109").len(), 1, "{outcome}");
    }
}

#[test]
fn a_full_disk_costs_one_report_and_not_the_others() {
    let place = Place::new();
    let path = place.root().join("full/report").display().to_string();
    let full = format!("sarif:{path}");
    let outcome = on_full_disk(check_sh(LEAK).args(["-f", &full]), &place);
    told(&outcome, &place, &path);
    assert_eq!(outcome.of_rule("LT109").len(), 1, "{outcome}");
}

#[test]
fn a_full_stdout_or_stderr_is_an_error_of_leaktraces_own() {
    for (stdout, stderr, options) in [
        ("/dev/full", "/dev/null", &["-f", "json:-"][..]),
        ("/dev/null", "/dev/full", &[][..]),
        ("/dev/full", "/dev/full", &["-f", "json:-"]),
    ] {
        let place = Place::new();
        let redirect = format!("exec \"$@\" >{stdout} 2>{stderr}");
        let outcome = check_sh(LEAK)
            .text()
            .at(&place)
            .args(options)
            .through(["sh", "-c", &redirect, "sh"])
            .end();
        assert_eq!(outcome.code(), 125, "{stdout} {stderr} {outcome}");
        assert!(place.cwd().join("ran").exists(), "not run: {outcome}");
    }
}

#[test]
fn closed_standard_streams_stay_closed_and_no_file_gets_what_was_meant_for_them() {
    for closed in 1..8u32 {
        let place = Place::new();
        let is_closed = |fd: u32| closed >> fd & 1 == 1;
        let redirections = ["<&-", ">&-", "2>&-"];
        let chosen: Vec<&str> = (0..3)
            .filter(|fd| is_closed(*fd))
            .map(|fd| redirections[fd as usize])
            .collect();
        let redirect = format!("exec \"$@\" {}", chosen.join(" "));
        let script = "for fd in 0 1 2; do [ -e /proc/$$/fd/$fd ] && echo $fd >>open; done; \
                      mktemp >/dev/null; exit 0";
        let outcome = check_sh(script)
            .at(&place)
            .through(["sh", "-c", &redirect, "sh"])
            .end();
        assert_eq!(outcome.code(), 100, "{chosen:?} {outcome}");
        assert_eq!(outcome.of_rule("LT109").len(), 1, "{outcome}");
        let open = std::fs::read_to_string(place.cwd().join("open")).unwrap_or_default();
        let expected: String = (0..3)
            .filter(|fd| !is_closed(*fd))
            .map(|fd| format!("{fd}\n"))
            .collect();
        assert_eq!(open, expected, "{chosen:?}");
        let report = std::fs::read_to_string(place.root().join("report.json")).expect("a report");
        assert!(serde_json::from_str::<Value>(&report).is_ok(), "{report}");
    }
}
