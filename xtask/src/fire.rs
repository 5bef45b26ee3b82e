//! `cargo xtask fire`: targets that do as much as they can, at full size. By hand: it takes
//! minutes and all of the machine.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::install::as_root;
use crate::run::{run, target_dir};
use crate::test::{Profile, binary, build_spin};

/// Processes that are there at once.
const BOMB: &str = "import os, signal, sys\n\
    children = []\n\
    for _ in range(10000):\n\
    \x20   pid = os.fork()\n\
    \x20   if pid == 0: signal.pause()\n\
    \x20   children.append(pid)\n\
    for pid in children: os.kill(pid, signal.SIGKILL)\n\
    for pid in children: os.waitpid(pid, 0)\n";
/// Seconds for which two processes execute a program as fast as they can.
const EXEC_SECONDS: &str = "10";
/// Stops leaktrace, its parent, for ten seconds and goes on meanwhile.
const SUSPEND: &str = "import os, signal, time\n\
    os.kill(os.getppid(), signal.SIGSTOP)\n\
    end = time.monotonic() + 10\n\
    while time.monotonic() < end:\n\
    \x20   for _ in range(1000): os.close(os.dup(0))\n\
    os.kill(os.getppid(), signal.SIGCONT)\n";
/// Opens and closes, some 800 ns a pair untraced: about a minute.
const PAIRS: &str = "40000000";
/// Copies of an fd that each of two processes makes and closes: more than a million operations a second, for
/// a minute and more.
const COPIES: &str = "25000000";

/// What a target does and how often, if its output says so.
#[derive(Clone, Copy)]
enum Rate {
    /// It does not.
    Unsaid,
    /// How often all in all, a number a line, in [`EXEC_SECONDS`].
    Executed,
    /// The ns that a pair of operations took, a line for each process.
    Pairs,
}

impl Rate {
    /// A second's.
    fn read(self, output: &str) -> Option<f64> {
        let numbers = output
            .lines()
            .filter_map(|line| line.split(' ').next()?.parse::<f64>().ok());
        match self {
            Rate::Unsaid => None,
            Rate::Executed => Some(numbers.sum::<f64>() / EXEC_SECONDS.parse::<f64>().ok()?),
            Rate::Pairs => Some(numbers.map(|ns| 2e9 / ns).sum()),
        }
    }
}

/// Prints a table: target, what it did in a second, processes, records, lost, tables compared and different,
/// verdict.
///
/// # Errors
/// If something does not build or run, counts do not add up, tables differ, or a target that
/// leaves nothing is said to have left something.
pub fn fire(profile: Profile) -> Result<()> {
    let leaktrace = binary(profile)?;
    let spin = static_spin()?.display().to_string();
    let python = |script| vec!["/usr/bin/python3", "-S", "-E", "-c", script];
    println!(
        "{:<22} {:>6} {:>10} {:>9} {:>12} {:>11} {:>13} {:<12}",
        "", "s", "a second", "processes", "records", "lost", "differ", "verdict"
    );
    let mut wrong = Vec::new();
    let two = format!("{spin} dup {COPIES} & {spin} dup {COPIES}; wait");
    let spin = |what, count| vec![&spin[..], what, count];
    for (name, command, rate) in [
        ("10,000 processes", python(BOMB), Rate::Unsaid),
        ("exec for 10 s", spin("exec", EXEC_SECONDS), Rate::Executed),
        ("open and close", spin("open", PAIRS), Rate::Pairs),
        ("dup and close", vec!["sh", "-c", &two[..]], Rate::Pairs),
        ("suspended for 10 s", python(SUSPEND), Rate::Unsaid),
    ] {
        let started = Instant::now();
        let (report, output) = check(&leaktrace, &command).with_context(|| name.to_owned())?;
        let rate = rate.read(&output);
        if !line(name, (started.elapsed().as_secs_f64(), rate), &report) {
            wrong.push(name);
        }
    }
    if !wrong.is_empty() {
        bail!("wrong: {}", wrong.join(", "));
    }
    Ok(())
}

/// Without libraries to load: how often a program can be executed is then up to the kernel and leaktrace.
fn static_spin() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let dir = target_dir().join("static");
    run(build_spin()
        .args(["--target", &target, "--target-dir"])
        .arg(&dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(dir.join(target).join("release/spin"))
}

/// The report, and what the target said.
fn check(leaktrace: &Path, command: &[&str]) -> Result<(Value, String)> {
    let file = target_dir().join("fire.json");
    let mut check = as_root(leaktrace)?;
    check
        .args(["check", "-f", &format!("json:{}", file.display()), "--"])
        .args(command)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let Output { status, stdout, .. } = check.output().context("start leaktrace")?;
    let text = std::fs::read(&file).with_context(|| format!("{status}; read its report"))?;
    let report = serde_json::from_slice(&text).context("read its report")?;
    Ok((report, String::from_utf8_lossy(&stdout).into_owned()))
}

/// Prints one, and says whether it is right.
fn line(name: &str, (seconds, rate): (f64, Option<f64>), report: &Value) -> bool {
    let count = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
    let events = &report["events"];
    let (produced, received, lost) = (
        count(&events["produced"]),
        count(&events["received"]),
        count(&events["lost"]),
    );
    let check = &report["self_check"];
    let verdict = report["verdict"].as_str().unwrap_or("none");
    println!(
        "{name:<22} {seconds:>6.1} {:>10} {:>9} {produced:>12} {lost:>11} {:>6}/{:<6} {verdict:<12}",
        rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
        report["processes"].as_array().map_or(0, Vec::len),
        count(&check["differed"]),
        count(&check["compared"]),
    );
    let adds_up = produced == received.wrapping_add(lost);
    let honest = match lost {
        0 => verdict == "clean",
        _ => matches!(verdict, "clean" | "inconclusive"),
    };
    // What was lost last there was no time to read again.
    let is_right = lost > 0 || count(&check["differed"]) == 0;
    adds_up && honest && is_right
}
