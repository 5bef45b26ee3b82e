//! Reports in the formats that others read, several at once, and at a size that others can take.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use leaktrace_tests::{Outcome, Place, Run, alone, leaktrace, patience};
use serde_json::Value;

use crate::check_sh;

const FORMATS: [&str; 6] = ["junit", "sarif", "jsonl", "gitlab", "markdown", "github"];

/// `-f FORMAT:FILE` for each, into files of that name.
fn into_files(place: &Place, formats: &[&str]) -> Vec<OsString> {
    let spec = |format: &&str| format!("{format}:{}", place.root().join(format).display());
    let pairs = formats.iter().flat_map(|it| ["-f".to_owned(), spec(it)]);
    pairs.map(OsString::from).collect()
}

fn read(place: &Place, name: &str) -> String {
    let path = place.root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&read(place, name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Jenkins' schema, by libxml2.
#[track_caller]
fn is_junit(path: &Path) {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/junit-10.xsd");
    let output = Command::new("xmllint")
        .args(["--noout", "--schema", schema])
        .arg(path)
        .output()
        .expect("run xmllint");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}

/// A repository with a script in it that leaves a segment named after `words`.
fn repository(place: &Place, script: &str) {
    std::fs::create_dir_all(place.cwd().join(".git")).expect("make .git");
    std::fs::create_dir_all(place.cwd().join("ci/deep")).expect("make ci");
    std::fs::write(place.cwd().join("ci/leak.sh"), script).expect("write a script");
}

#[test]
fn every_format_at_once_also_when_the_command_fails() {
    let place = Place::new();
    repository(&place, "mktemp >/dev/null\nexit 3\n");
    let outcome = Run::check(["sh", "ci/leak.sh"])
        .at(&place)
        .args(into_files(&place, &FORMATS))
        .args(["-f", "text"])
        .end();
    assert_eq!(outcome.code(), 3, "{outcome}");
    assert_eq!(outcome.errors().len(), 1, "{outcome}");
    assert!(outcome.stderr.contains("error LT109"), "{outcome}");
    for name in FORMATS {
        let path = place.root().join(name);
        let mode = std::fs::metadata(&path)
            .expect("a report")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    is_junit(&place.root().join("junit"));
    let location = |value: &Value| value.as_str().map(str::to_owned);
    let sarif = json(&place, "sarif");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "LT109");
    let physical = &result["locations"][0]["physicalLocation"];
    let uri = location(&physical["artifactLocation"]["uri"]);
    assert_eq!(uri.as_deref(), Some("ci/leak.sh"));
    let issue = &json(&place, "gitlab")[0];
    assert_eq!(issue["location"]["path"], "ci/leak.sh");
    assert!(read(&place, "github").starts_with("::error file=ci/leak.sh,line=1,"));
    assert!(read(&place, "markdown").contains("` ci/leak.sh:1 `"));
    let lines = read(&place, "jsonl");
    let finding = lines.lines().last().expect("lines");
    let finding: Value = serde_json::from_str(finding).expect("JSON");
    assert_eq!(finding["line"], "finding");
    assert_eq!(finding["rule"], "LT109");
}

#[test]
fn a_finding_is_put_where_the_nearest_command_line_says() {
    let place = Place::new();
    repository(&place, "cd ci/deep; exec sh ../leaf.sh\n");
    std::fs::write(place.cwd().join("ci/leaf.sh"), "mktemp >/dev/null\n").expect("write");
    let capture = place.root().join("capture").display().to_string();
    let live = Run::check(["sh", "-c", "sh ./ci/leak.sh; true"])
        .at(&place)
        .args(["--capture", &capture])
        .end();
    let file = |outcome: &Outcome| outcome.only_error("LT109")["location"].clone();
    assert_eq!(file(&live)["file"], "ci/leaf.sh", "{live}");
    // Also where none of these files is any more.
    std::fs::remove_dir_all(place.cwd().join("ci")).expect("remove");
    let again = Run::check::<&str>([])
        .at(&place)
        .args(["--from", &capture])
        .end();
    assert_eq!(again.report["findings"], live.report["findings"]);
    let nowhere = check_sh("mktemp >/dev/null").at(&place).end();
    assert_eq!(file(&nowhere)["file"], "leaktrace.toml", "{nowhere}");
}

#[test]
fn hostile_names_stay_data() {
    let place = Place::new();
    let name = "a]]>\n::error::x\u{1b}[31m|`\u{202e}##[error]<b>&";
    let script = format!(": >\"$TMPDIR/{}\"", name.replace('`', "\\`"));
    let outcome = check_sh(&script)
        .at(&place)
        .args(into_files(&place, &FORMATS))
        .end();
    let finding = outcome.only_error("LT109");
    assert_eq!(finding["resource"]["path"], place.temp(name), "{outcome}");
    is_junit(&place.root().join("junit"));
    let escaped = "a]]>\\n::error::x\\x1b[31m|`\\u{202e}##[error]<b>&";
    let message = json(&place, "gitlab")[0]["description"].clone();
    let message = message.as_str().expect("a description");
    assert!(message.contains(escaped), "{message}");
    for name in FORMATS {
        let text = read(&place, name);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{name}: {text}");
    }
    let github = read(&place, "github");
    let commands = github.lines().filter(|line| line.starts_with("::")).count();
    assert_eq!(commands, 1, "{github}");
    let lines = read(&place, "jsonl");
    let finding: Value = serde_json::from_str(lines.lines().last().expect("lines")).expect("JSON");
    assert_eq!(finding["resource"]["path"], place.temp(name));
}

#[test]
fn a_path_that_cannot_be_written_is_found_before_the_command_runs() {
    let place = Place::new();
    let link = place.root().join("link");
    std::os::unix::fs::symlink(place.root().join("target"), &link).expect("link");
    for path in [
        "/no/such/dir/out.xml".to_owned(),
        link.display().to_string(),
    ] {
        let outcome = Run::check(["touch", "ran"])
            .at(&place)
            .args(["-f", &format!("junit:{path}")])
            .end();
        assert_eq!(outcome.code(), 125, "{outcome}");
        assert!(outcome.stderr.contains(&path), "{outcome}");
        assert!(!place.cwd().join("ran").exists(), "{outcome}");
    }
    assert!(!place.root().join("target").exists());
}

#[test]
fn a_terminal_has_colours_unless_it_is_told_not_to() {
    let place = Place::new();
    let on_terminal = |variables: &[(&str, &str)], columns: u32| {
        let script = "mktemp >/dev/null";
        let call = format!(
            "stty cols {columns}; {} check -- sh -c '{script}'",
            leaktrace().display()
        );
        let output = Command::new("script")
            .args(["-qec", &call, "/dev/null"])
            .current_dir(place.cwd())
            .env("TMPDIR", place.tmp())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .output()
            .expect("run script");
        assert_eq!(output.status.code(), Some(100), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let coloured = on_terminal(&[], 80);
    assert!(coloured.contains("\u{1b}[1;31merror"), "{coloured}");
    let narrow = on_terminal(&[("NO_COLOR", "1")], 40);
    assert!(narrow.contains("error LT109"), "{narrow}");
    assert!(!narrow.contains('\u{1b}'), "{narrow}");
    let widest = narrow
        .lines()
        .map(|line| line.trim_end().chars().count())
        .max();
    assert!(widest <= Some(40), "{narrow}");
    assert!(!on_terminal(&[("TERM", "dumb")], 80).contains('\u{1b}'));
}

#[test]
fn a_command_that_cannot_be_run_leaves_no_empty_report() {
    let place = Place::new();
    let outcome = Run::check(["/no/such/command"])
        .at(&place)
        .args(into_files(&place, &["junit"]))
        .end();
    assert_eq!(outcome.code(), 127, "{outcome}");
    assert!(!place.root().join("junit").exists(), "{outcome}");
}

#[test]
fn merged_reports_tell_of_every_run() {
    let place = Place::new();
    let report = |name: &str| place.root().join(name);
    let keep = |name: &str| {
        std::fs::copy(report("report.json"), report(name)).expect("keep the report");
    };
    check_sh("true").at(&place).end().clean();
    keep("one.json");
    let leak = check_sh("mktemp >/dev/null").at(&place).end();
    leak.only_error("LT109");
    keep("two.json");
    let merge = |args: &[&str]| {
        Command::new(leaktrace())
            .arg("merge")
            .args(args)
            .current_dir(place.root())
            .output()
            .expect("run leaktrace")
    };
    let both = merge(&[
        "one.json",
        "two.json",
        "-f",
        "json:all.json",
        "-f",
        "junit:all.xml",
    ]);
    assert_eq!(both.status.code(), Some(100), "{both:?}");
    let all = json(&place, "all.json");
    assert_eq!(all["verdict"], "findings");
    assert_eq!(all["findings"].as_array().map(Vec::len), Some(1));
    let processes = |name: &str| {
        json(&place, name)["processes"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(
        processes("all.json"),
        processes("one.json") + processes("two.json")
    );
    is_junit(&report("all.xml"));
    assert_eq!(merge(&["one.json"]).status.code(), Some(0));
    let foreign = merge(&["/etc/passwd"]);
    assert_eq!(foreign.status.code(), Some(125));
    assert!(
        String::from_utf8_lossy(&foreign.stderr).contains("is no report"),
        "{foreign:?}"
    );
}

/// 10,000 processes, 5,000 files in one directory, a daemon with 300 fds: two errors, on one
/// screen, soon.
#[test]
fn many_of_everything_is_two_errors() {
    let place = Place::new();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/program/many.py");
    let over = place.cwd().join("over");
    let turn = alone();
    let began = monotonic();
    let outcome = Run::check(["python3".as_ref(), program.as_ref(), over.as_os_str()])
        .at(&place)
        .alone(&turn)
        .args(["-f", "text"])
        .args(into_files(&place, &["junit", "github"]))
        .end();
    let ended = began + outcome.elapsed.as_secs_f64();
    let survivor = outcome.of_rule("LT101").first().map(|it| it["pid"].clone());
    if let Some(pid) = survivor.as_ref().and_then(Value::as_i64) {
        kill(pid);
    }
    let rules: Vec<_> = outcome
        .errors()
        .iter()
        .map(|it| it["rule"].clone())
        .collect();
    assert_eq!(rules, ["LT101", "LT110"], "{}", outcome.stderr);
    assert_eq!(outcome.findings().len(), 2, "{}", outcome.stderr);
    let directory = outcome.of_rule("LT110")[0];
    assert_eq!(directory["resource"]["entries"], 5000, "{}", outcome.stderr);
    assert_eq!(outcome.report["events"]["lost"], 0, "{}", outcome.stderr);
    let processes = outcome.report["processes"].as_array().map(Vec::len);
    // More where python3 is found through a script.
    assert!(processes >= Some(10_002), "{processes:?}");
    assert!(outcome.stderr.lines().count() <= 40, "{}", outcome.stderr);
    is_junit(&place.root().join("junit"));
    let size = read(&place, "junit").len();
    assert!(size <= 1 << 20, "{size} bytes");
    let over: f64 = read(&place, "cwd/over").parse().expect("seconds");
    let took = Duration::from_secs_f64(ended - over);
    // The daemon is waited for as long as --settle says, two seconds, and the verdict is there by
    // then. A debug build on a machine that has other things to do takes longer.
    let at_most = if cfg!(debug_assertions) { 20 } else { 2 };
    assert!(took < patience(Duration::from_secs(at_most)), "{took:?}");
}

/// s of CLOCK_MONOTONIC, which the program reads too.
fn monotonic() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn kill(pid: i64) {
    let pid = i32::try_from(pid).expect("a pid");
    assert!(pid > 1);
    // SAFETY: no memory is passed.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}
