//! The live screen in a real terminal, and the terminal afterwards.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use leaktrace_tests::{Place, Terminal, alone, leaktrace};

use crate::STEPS;

const SIZE: (u16, u16) = (100, 30);

/// A process that was started; ended with its scenario.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that opens 10 fds a second and has a limit of 4,000.
fn dripping() -> Started {
    let script = format!("ulimit -n 4000; exec {STEPS} 'drip /etc/hosts 100 3990'");
    let child = Command::new("sh")
        .args(["-c", &script])
        .spawn()
        .expect("start sh");
    Started(child)
}

/// The row of process `pid` of that name on the screen, in words.
fn row(screen: &str, pid: u32, comm: &str) -> Option<Vec<String>> {
    let pid = pid.to_string();
    screen
        .lines()
        .map(|line| line.trim_start_matches(['▶', ' ']).split_whitespace())
        .map(|words| words.map(str::to_owned).collect::<Vec<_>>())
        .find(|words| words.first() == Some(&pid) && words.get(1).is_some_and(|it| it == comm))
}

/// What the row says in its second: (fds, fds a second, limit, seconds until full).
fn figures(screen: &str, pid: u32) -> Option<(f64, f64, f64, f64)> {
    // PID COMM STATE AGE FD SOCK MAP RING TASK IPC FD/s LIMIT FULL-IN unit
    let row = row(screen, pid, "steps")?;
    let number = |at: usize| row.get(at)?.trim_start_matches('+').parse::<f64>().ok();
    let unit = row.get(13)?;
    let seconds = match unit.as_str() {
        "s" => 1.0,
        "min" => 60.0,
        _ => return None,
    };
    Some((number(4)?, number(10)?, number(11)?, number(12)? * seconds))
}

#[test]
fn rate_limit_and_time_to_it_are_right() {
    let _alone = alone();
    let place = Place::new();
    let mut dripping = dripping();
    let pid = dripping.0.id();
    let script = format!("exec {} top --comm steps", leaktrace().display());
    let terminal = Terminal::new(SIZE, &place.cwd(), &script);
    terminal.until("a row", |screen| row(screen, pid, "steps").is_some());
    // Rates are those of the last ten seconds, all of which the program should have had.
    std::thread::sleep(Duration::from_secs(10));
    let mut right = 0;
    let mut seen = Vec::new();
    for _ in 0..10 {
        std::thread::sleep(Duration::from_secs(1));
        let screen = terminal.screen();
        let Some((fds, rate, limit, full_in)) = figures(&screen, pid) else {
            seen.push(format!("{:?}", row(&screen, pid, "steps")));
            continue;
        };
        let expected = (limit - fds) / 10.0;
        let timely = (full_in - expected).abs() <= 0.05 * expected;
        right += u32::from((9.5..=10.5).contains(&rate) && limit == 4000.0 && timely);
        seen.push(format!(
            "{fds} fds, {rate}/s, limit {limit}, full in {full_in} s"
        ));
    }
    assert!(
        right >= 8,
        "{right} of 10 seconds: {seen:#?}\n{}",
        terminal.screen()
    );
    dripping.0.kill().expect("end the program");
    let exit = format!("{pid} steps");
    terminal.until("the exit with its verdict", |screen| {
        let exits = screen
            .split_once("last exits")
            .map_or("", |(_, exits)| exits);
        exits
            .lines()
            .any(|line| line.contains(&exit) && line.contains("held"))
    });
    terminal.key("q");
}

/// Of neither any record tells: a server often gives up its user long after its exec.
#[test]
fn a_process_is_known_by_the_name_and_user_that_it_has_now() {
    let place = Place::new();
    let script = format!("exec {} top --uid 12321", leaktrace().display());
    let terminal = Terminal::new(SIZE, &place.cwd(), &script);
    terminal.until("the list", |screen| screen.contains("COMM"));
    let script = "import ctypes, os, time\n\
                  os.setuid(12321)\n\
                  ctypes.CDLL(None).prctl(15, b'server', 0, 0, 0)\n\
                  time.sleep(600)";
    let child = Command::new("python3").args(["-c", script]).spawn();
    let server = Started(child.expect("start python3"));
    let pid = server.0.id();
    terminal.until("its row", |screen| row(screen, pid, "server").is_some());
    terminal.key("q");
}

/// Runs top between two `stty -a`, ends it by `end`, and wants the terminal as it was.
#[track_caller]
fn restored_after(option: &str, end: impl Fn(&Terminal, &Path)) {
    let place = Place::new();
    let script = format!(
        "export RUST_BACKTRACE=0; stty -a >before; echo marker; sh -c 'echo $$ >pid; exec {} top {option}'; \
         stty -a >after.tmp; mv after.tmp after; echo ended; sleep 60",
        leaktrace().display()
    );
    let terminal = Terminal::new(SIZE, &place.cwd(), &script);
    terminal.until("the live screen", |screen| screen.contains("FD/s"));
    end(&terminal, &place.cwd());
    let screen = terminal.until("the end", |screen| screen.contains("ended"));
    assert!(
        screen.contains("marker"),
        "the old screen is not back:\n{screen}"
    );
    let read = |name: &str| std::fs::read_to_string(place.cwd().join(name)).expect("stty");
    assert_eq!(read("after"), read("before"));
}

#[test]
fn the_terminal_is_as_it_was_after_q() {
    restored_after("", |terminal, _| terminal.key("q"));
}

#[test]
fn the_terminal_is_as_it_was_after_sigterm() {
    restored_after("", |_, dir| {
        let pid = std::fs::read_to_string(dir.join("pid")).expect("a pid");
        let pid: i32 = pid.trim().parse().expect("a pid");
        // SAFETY: no memory is passed; the pid is that of the top that this scenario runs.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    });
}

#[test]
fn the_terminal_is_as_it_was_after_a_panic() {
    let started = Instant::now();
    restored_after("--panic-after 1s", |_, _| {});
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_terminal_too_small_says_so() {
    let place = Place::new();
    let script = format!("exec {} top", leaktrace().display());
    let terminal = Terminal::new((50, 8), &place.cwd(), &script);
    terminal.until("one line", |screen| screen.contains("60x10"));
    terminal.key("q");
}

/// A listener, an accepted connection whose peer closes it after a second, and one that stays.
const CONNECTIONS: &str = "import socket, time
s = socket.create_server(('127.0.0.1', 0))
stays = socket.create_connection(s.getsockname()); a = s.accept()
goes = socket.create_connection(s.getsockname()); b = s.accept()
time.sleep(1); goes.close(); time.sleep(600)";

#[test]
fn the_state_of_a_connection_is_that_of_now() {
    let place = Place::new();
    std::fs::write(place.cwd().join("connections.py"), CONNECTIONS).expect("write the program");
    let script = format!(
        "exec {} top -- python3 connections.py",
        leaktrace().display()
    );
    let terminal = Terminal::new((140, 30), &place.cwd(), &script);
    terminal.until("the process", |screen| screen.contains("python3"));
    terminal.key("Enter");
    let count = |screen: &str, state: &str| screen.lines().filter(|it| it.contains(state)).count();
    terminal.until(
        "what its sockets are, and that a peer has closed one",
        |screen| {
            count(screen, "listening") == 1
                && count(screen, "connected") == 2
                && count(screen, "closing") == 1
        },
    );
    terminal.key("q");
}
