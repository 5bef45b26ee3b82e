//! The binary itself, where neither privileges nor BPF are needed.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn leaktrace(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leaktrace"));
    command.args(words).stdin(Stdio::null());
    command
}

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("leaktrace-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Without root's rights, whoever runs the tests: as nobody, if that is possible. nobody must
/// be able to reach the binary, so there is a copy of it.
fn unprivileged(binary: &Path, words: &[&str]) -> Command {
    use std::os::unix::process::CommandExt;
    if !binary.exists() {
        // By another process: a test beside this one may fork while a copy is open for writing
        // here, and what is open for writing anywhere is not executed (ETXTBSY, execve(2)).
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_leaktrace"))
            .arg(binary)
            .status();
        assert!(copied.unwrap().success());
    }
    let mut command = Command::new(binary);
    command.args(words).stdin(Stdio::null());
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(65534).gid(65534);
    }
    command
}

fn run(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn usage_errors_are_one_sentence_and_exit_2() {
    let table: &[(&[&str], &str)] = &[
        (&["check"], "put the command behind `--`"),
        (&["check", "true"], "put `--` before the command to run"),
        (&["check", "--fial-on", "held", "--", "true"], "--fail-on"),
        (&["check", "--fail-on", "leaks", "--", "true"], "`leaks`"),
        (&["check", "--allow", "LT999", "--", "true"], "LT999"),
        (&["check", "--require", "fish", "--", "true"], "fish"),
        (
            &["check", "--order", "fifo", "--", "true"],
            "class:fds-first",
        ),
        (&["check", "--settle", "soon", "--", "true"], "2s or 500ms"),
        (&["check", "-f", "yaml", "--", "true"], "yaml"),
        (
            &["check", "-f", "json", "-f", "text", "--", "true"],
            "two -f have no path",
        ),
        (&["check", "--error-exitcode", "256", "--", "true"], "256"),
        (&["check", "--from", "F", "--", "true"], "--from"),
        (
            &["check", "--user", "no such user", "--", "true"],
            "no such user",
        ),
        (&["explain", "LT999"], "LT999"),
        (
            &["record", "-o", "/dev/null", "-f", "json", "--", "true"],
            "needs a path",
        ),
        (&["frobnicate"], "frobnicate"),
    ];
    for (words, wanted) in table {
        let (code, stderr) = run(leaktrace(words));
        assert_eq!(code, Some(2), "{words:?}: {stderr}");
        assert!(stderr.contains(wanted), "{words:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
        assert!(stderr.ends_with("exit 2 (usage)\n"), "{words:?}: {stderr}");
    }
}

#[test]
fn an_output_path_that_cannot_be_written_is_found_before_the_command_runs() {
    let scratch = Scratch::new("output");
    let mark = scratch.0.join("ran");
    let script = format!("> {}", mark.display());
    for option in ["json:/no/such/dir/r", "text:/no/such/dir/r"] {
        let (code, stderr) = run(leaktrace(&[
            "check", "-f", option, "--", "sh", "-c", &script,
        ]));
        assert_eq!(code, Some(125), "{stderr}");
        assert!(stderr.contains("/no/such/dir/r"), "{stderr}");
        assert!(!mark.exists());
    }
    let capture = [
        "run",
        "--capture",
        "/no/such/dir/c",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let (code, stderr) = run(leaktrace(&capture));
    assert_eq!(code, Some(125), "{stderr}");
    assert!(!mark.exists());
}

#[test]
fn where_tracing_is_not_possible_the_command_is_skipped_or_run_as_wanted() {
    let scratch = Scratch::new("unprivileged");
    let unprivileged = |words: &[&str]| unprivileged(&scratch.0.join("leaktrace"), words);
    let (code, stderr) = run(unprivileged(&["check", "--", "sh", "-c", "exit 3"]));
    assert_eq!(code, Some(77), "{stderr}");
    assert!(stderr.contains("sh was not run"), "{stderr}");
    let (code, _) = run(unprivileged(&[
        "check",
        "--if-unavailable",
        "fail",
        "--",
        "true",
    ]));
    assert_eq!(code, Some(125));
    let untraced = |script: &str| {
        unprivileged(&["check", "--if-unavailable", "run", "--", "sh", "-c", script])
    };
    let (code, stderr) = run(untraced("exit 3"));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("untraced"), "{stderr}");
    let status = untraced("kill -TERM $$").output().unwrap().status;
    assert_eq!(status.signal(), Some(libc::SIGTERM));
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = leaktrace(&["-V"]).output().unwrap();
    assert_eq!(version.status.code(), Some(0));
    let text = String::from_utf8(version.stdout).unwrap();
    assert_eq!(text, format!("leaktrace {}\n", env!("CARGO_PKG_VERSION")));
    let help = leaktrace(&["check", "--help"]).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("--error-exitcode")
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = leaktrace(&["explain"]);
    command.stdout(writer);
    assert_eq!(run(command), (Some(0), String::new()));
}

#[test]
fn what_is_not_a_capture_is_refused() {
    let scratch = Scratch::new("foreign");
    let file = scratch.0.join("no-capture");
    fs::write(&file, "hello").unwrap();
    let (code, stderr) = run(leaktrace(&["check", "--from", file.to_str().unwrap()]));
    assert_eq!(code, Some(125), "{stderr}");
    assert!(stderr.contains("not a leaktrace capture"), "{stderr}");
}
