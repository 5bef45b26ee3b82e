//! What ends a run from outside: the command has its say and its status, and nothing stays behind.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use leaktrace_tests::{Objects, Place, Run, Terminal, leaktrace, patience};

use crate::check_sh;

const PATIENCE: Duration = Duration::from_secs(90);

/// A check that is under way: the command has said so by making `ready`.
struct UnderWay<'a> {
    place: &'a Place,
    child: Child,
    objects: Objects,
}

impl<'a> UnderWay<'a> {
    fn start(run: Run<'_>, place: &'a Place) -> Self {
        let child = run.spawn(place);
        until("ready", || place.cwd().join("ready").exists());
        let objects = Objects::of(child.id());
        Self {
            place,
            child,
            objects,
        }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: no memory is passed; the pid is our own child's.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }

    /// Its end, behind which nothing is left in the kernel or in its temp root.
    #[track_caller]
    fn end(mut self) -> ExitStatus {
        let mut status = None;
        until("the end", || {
            status = self.child.try_wait().expect("wait for leaktrace");
            status.is_some()
        });
        self.objects.are_gone();
        let left: Vec<_> = std::fs::read_dir(self.place.tmp()).expect("list").collect();
        assert!(left.is_empty(), "left on disk: {left:?}");
        status.expect("a status")
    }

    fn caught(&self) -> String {
        std::fs::read_to_string(self.place.cwd().join("caught")).unwrap_or_default()
    }
}

#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < patience(PATIENCE), "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn signals_that_ask_for_an_end_reach_the_command_once_each() {
    for (name, number) in [
        ("INT", libc::SIGINT),
        ("TERM", libc::SIGTERM),
        ("HUP", libc::SIGHUP),
        ("QUIT", libc::SIGQUIT),
    ] {
        let place = Place::new();
        let script = format!(
            "trap 'echo got >>caught; exit 7' {name}; : >ready; while :; do sleep 0.01; done"
        );
        let run = UnderWay::start(check_sh(&script), &place);
        run.signal(number);
        until("caught", || !run.caught().is_empty());
        assert_eq!(run.caught(), "got\n", "{name}");
        assert_eq!(run.end().code(), Some(7), "{name}");
    }
}

#[test]
fn a_command_that_lives_through_the_first_interrupt_gets_the_second() {
    let place = Place::new();
    let script = "n=0; trap 'n=$((n+1)); echo $n >>caught; [ $n = 2 ] && exit 9' INT; : >ready; \
                  while :; do sleep 0.01; done";
    let run = UnderWay::start(check_sh(script), &place);
    run.signal(libc::SIGINT);
    until("the first", || run.caught() == "1\n");
    run.signal(libc::SIGINT);
    until("the second", || run.caught() == "1\n2\n");
    assert_eq!(run.end().code(), Some(9));
}

#[test]
fn an_interrupt_typed_at_the_terminal_comes_once_and_leaves_the_terminal_sane() {
    let place = Place::new();
    let inner = "trap 'echo got >>caught' INT; : >ready; while :; do \
                 [ \"$(cat caught 2>/dev/null | wc -l)\" -ge 2 ] && exit 5; sleep 0.05; done";
    // The trap keeps the outer shell alive; its children get the default back.
    let script = format!(
        "trap : INT; stty -a >before; {} check -q -- sh -c '{}'; echo $? >status; stty -a >after; \
         echo over; sleep 60",
        leaktrace().display(),
        inner.replace('\'', "'\\''"),
    );
    let terminal = Terminal::new((80, 24), &place.cwd(), &script);
    let read = |name: &str| std::fs::read_to_string(place.cwd().join(name)).unwrap_or_default();
    until("ready", || place.cwd().join("ready").exists());
    for typed in 1..=2 {
        terminal.key("C-c");
        until("caught", || read("caught").lines().count() >= typed);
    }
    terminal.until("over", |screen| screen.contains("over"));
    assert_eq!(read("caught"), "got\ngot\n");
    assert_eq!(read("status"), "5\n");
    assert_eq!(read("after"), read("before"));
}

#[test]
fn a_signal_while_settling_cuts_that_short_and_what_runs_on_is_named() {
    let place = Place::new();
    let script = ": >ready; while ! [ -e go ]; do sleep 0.01; done; setsid sleep 60 & exit 0";
    let run = UnderWay::start(check_sh(script).args(["--settle", "60s"]), &place);
    let started = Instant::now();
    std::fs::write(place.cwd().join("go"), "").expect("say go");
    std::thread::sleep(Duration::from_secs(4));
    run.signal(libc::SIGTERM);
    // What was waited for might have gone by itself.
    assert_eq!(run.end().code(), Some(75));
    assert!(started.elapsed() < Duration::from_secs(50), "it waited on");
    let report = std::fs::read(place.root().join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["verdict"], "inconclusive", "{report:#}");
    assert_eq!(report["findings"][0]["rule"], "LT101", "{report:#}");
    assert_eq!(report["findings"][0]["level"], "note", "{report:#}");
    assert_eq!(report["findings"][0]["comm"], "sleep", "{report:#}");
    let survivor = report["findings"][0]["pid"].as_i64().expect("a pid");
    // SAFETY: no memory is passed; the survivor is this scenario's own.
    unsafe { libc::kill(survivor as i32, libc::SIGKILL) };
}

#[test]
fn a_command_that_kills_leaktrace_goes_on_and_nothing_is_left() {
    use std::os::unix::process::ExitStatusExt as _;
    let place = Place::new();
    let script = ": >ready; while ! [ -e go ]; do sleep 0.01; done; kill -9 $PPID; sleep 0.2; \
                  echo alive >status";
    let run = UnderWay::start(check_sh(script), &place);
    std::fs::write(place.cwd().join("go"), "").expect("say go");
    assert_eq!(run.end().signal(), Some(libc::SIGKILL));
    until("its end", || place.cwd().join("status").exists());
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let place = Place::new();
    let command = "sleep 0.3; exit 3";
    for (name, redirect) in [("stdout", "-f json:-"), ("both", "-f json:- 2>&1")] {
        let script = format!(
            "{{ {} check {redirect} -- sh -c '{command}'; echo $? >{name}; }} | true",
            leaktrace().display()
        );
        let status = Command::new("sh")
            .args(["-c", &script])
            .current_dir(place.cwd())
            .status();
        assert!(status.is_ok_and(|status| status.success()));
        let status = std::fs::read_to_string(place.cwd().join(name)).expect("a status");
        assert_eq!(status, "3\n", "{name}");
    }
}
