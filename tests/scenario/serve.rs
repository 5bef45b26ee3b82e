//! `serve`: metrics while it runs, findings as they come, and an end without a trace.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leaktrace_tests::{Place, leaktrace, patience};
use serde_json::Value;

/// As long as a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that is ended in any case.
struct Daemon {
    child: Child,
    address: String,
}

impl Daemon {
    /// Serves what these options ask for; findings go to `found.jsonl`.
    fn start(place: &Place, options: &[&str]) -> Daemon {
        let mut child = Command::new(leaktrace())
            .args(["serve", "--listen", "127.0.0.1:0", "-o", "found.jsonl"])
            .args(options)
            .current_dir(place.cwd())
            .env("TMPDIR", place.tmp())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start leaktrace");
        let stderr = child.stderr.take().expect("its stderr");
        let mut line = String::new();
        BufReader::new(stderr).read_line(&mut line).expect("read");
        let address = line.trim().strip_prefix("leaktrace: metrics on http://");
        let address = address.and_then(|rest| rest.strip_suffix("/metrics"));
        let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
        Daemon { child, address }
    }

    fn get(&self, path: &str, accept: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("connect");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        )
        .expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        (status.unwrap_or(0), body.to_owned())
    }

    fn metrics(&self) -> String {
        let (status, body) = self.get("/metrics", "*/*");
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The metrics, once they say this.
    fn until(&self, says: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let metrics = self.metrics();
            if says(&metrics) {
                return metrics;
            }
            assert!(begun.elapsed() < patience(PATIENCE), "{metrics}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Ends it as a supervisor does.
    fn end(mut self) -> i32 {
        let pid = self.child.id().cast_signed();
        // SAFETY: kill(2) reads no memory; the child is not reaped, so the number is its own.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        let status = self.child.wait().expect("wait");
        status.code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A program that opens files and waits for its stdin's end.
struct Program(Child);

impl Program {
    fn start(script: &str) -> Program {
        let mut child = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start python3");
        let mut ready = String::new();
        let stdout = child.stdout.as_mut().expect("its stdout");
        BufReader::new(stdout).read_line(&mut ready).expect("read");
        assert_eq!(ready, "ready\n");
        Program(child)
    }

    fn go_on(&mut self) {
        writeln!(self.0.stdin.as_mut().expect("its stdin")).expect("write");
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("wait");
    }
}

fn found(place: &Place) -> Vec<Value> {
    let text = std::fs::read_to_string(place.cwd().join("found.jsonl")).expect("read");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

const HOSTILE: &str = r#"
import ctypes, sys
ctypes.CDLL(None).prctl(15, b'a"\\b\n}x=1 #', 0, 0, 0)
print('ready', flush=True)
sys.stdin.readline()
files = [open('/etc/hosts') for _ in range(300)]
sys.stdin.readline()
"#;

#[test]
fn what_processes_hold_is_scraped_whatever_they_are_called() {
    let place = Place::new();
    let mut program = Program::start(HOSTILE);
    let daemon = Daemon::start(&place, &["-p", &program.pid()]);
    program.go_on();
    let holds = |metrics: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with("leaktrace_program_open_fds{comm=\"a\\\""));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value
            .and_then(|value| value.parse::<f64>().ok())
            .is_some_and(|open| open >= 300.0)
    };
    let metrics = daemon.until(holds);
    for line in metrics.lines() {
        let value = line
            .rsplit(' ')
            .next()
            .and_then(|value| value.parse::<f64>().ok());
        assert!(line.starts_with("# ") || value.is_some(), "{line}");
    }
    let (_, open) = daemon.get("/metrics", "application/openmetrics-text;version=1.0.0");
    assert!(open.ends_with("# EOF\n"), "{open}");
    assert!(
        metrics.contains("\nleaktrace_events_lost_total 0\n"),
        "{metrics}"
    );
    assert_eq!(daemon.get("/other", "*/*").0, 404);
    assert_eq!(daemon.end(), 0);
    program.end();
}

const GREEDY: &str = r"
import resource, sys
print('ready', flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
files = []
try:
    while True:
        files.append(open('/etc/hosts'))
except OSError:
    pass
sys.stdin.readline()
";

#[test]
fn what_a_living_process_does_is_told_while_it_lives() {
    let place = Place::new();
    std::fs::write(place.cwd().join("leaktrace.toml"), "[max]\nfd = 20\n").expect("write");
    let mut program = Program::start(GREEDY);
    let daemon = Daemon::start(&place, &["-p", &program.pid()]);
    program.go_on();
    let told = |rule: &str, metrics: &str| {
        metrics.contains(&format!("leaktrace_findings_total{{rule=\"{rule}\""))
    };
    daemon.until(|it| {
        ["LT503", "LT504", "LT506"]
            .iter()
            .all(|rule| told(rule, it))
    });
    assert_eq!(daemon.end(), 0);
    let found = found(&place);
    for rule in ["LT503", "LT504", "LT506"] {
        let of_rule = found.iter().filter(|it| it["rule"] == rule);
        let of_rule: Vec<_> = of_rule.collect();
        assert!(!of_rule.is_empty(), "{rule}: {found:?}");
        assert!(
            of_rule.iter().all(|it| it["line"] == "finding"),
            "{found:?}"
        );
    }
    let full = found.iter().find(|it| it["rule"] == "LT504");
    let call = full.map(|it| it["resource"]["syscall"].clone());
    assert_eq!(call, Some("openat".into()), "{found:?}");
    program.end();
}

#[test]
fn what_an_ended_process_left_is_told_once() {
    let place = Place::new();
    let directory = place.temp("served");
    let mut shell = Command::new("sh")
        .args(["-c", "read go; mkdir \"$0\"; exec true"])
        .arg(&directory)
        .stdin(Stdio::piped())
        .spawn()
        .expect("start sh");
    let daemon = Daemon::start(&place, &["-p", &shell.id().to_string()]);
    drop(shell.stdin.take());
    shell.wait().expect("wait");
    daemon.until(|it| it.contains("leaktrace_findings_total{rule=\"LT110\",level=\"error\"} 1\n"));
    assert_eq!(daemon.end(), 0);
    let found = found(&place);
    let left = found.iter().filter(|it| it["rule"] == "LT110");
    assert_eq!(left.count(), 1, "{found:?}");
}

#[test]
fn an_address_in_use_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let output = Command::new(leaktrace())
        .args(["serve", "--listen", &address])
        .output()
        .expect("run leaktrace");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("cannot listen on"), "{text}");
}
