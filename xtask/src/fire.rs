//! `cargo xtask fire`: targets that do as much as they can, at full size. By hand: it takes
//! minutes and all of the machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::install::as_root;
use crate::run::{cargo, run, target_dir};
use crate::test::{Profile, binary};

/// Processes that are there at once.
const BOMB: &str = "import os, signal, sys\n\
    children = []\n\
    for _ in range(10000):\n\
    \x20   pid = os.fork()\n\
    \x20   if pid == 0: signal.pause()\n\
    \x20   children.append(pid)\n\
    for pid in children: os.kill(pid, signal.SIGKILL)\n\
    for pid in children: os.waitpid(pid, 0)\n";
/// Two that execute a program as fast as they can, for ten seconds.
const EXEC: &str = "import os, time\n\
    worker = os.fork()\n\
    end = time.monotonic() + 10\n\
    while time.monotonic() < end:\n\
    \x20   os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)\n\
    if worker == 0: os._exit(0)\n\
    os.waitpid(worker, 0)\n";
/// Stops leaktrace, its parent, for ten seconds and goes on meanwhile.
const SUSPEND: &str = "import os, signal, time\n\
    os.kill(os.getppid(), signal.SIGSTOP)\n\
    end = time.monotonic() + 10\n\
    while time.monotonic() < end:\n\
    \x20   for _ in range(1000): os.close(os.dup(0))\n\
    os.kill(os.getppid(), signal.SIGCONT)\n";
/// Opens and closes, some 800 ns a pair untraced: more than a million operations a second, for
/// about a minute.
const PAIRS: &str = "40000000";

/// Prints a table: target, processes, records, lost, tables compared and different, verdict.
///
/// # Errors
/// If something does not build or run, counts do not add up, tables differ, or a target that
/// leaves nothing is said to have left something.
pub fn fire(profile: Profile) -> Result<()> {
    let leaktrace = binary(profile)?;
    let build = ["build", "--quiet", "--release", "-p", "leaktrace-tests"];
    run(cargo().args(build).args(["--bin", "spin"]))?;
    let spin = target_dir().join("release/spin").display().to_string();
    let python = |script| vec!["/usr/bin/python3", "-S", "-E", "-c", script];
    println!(
        "{:<22} {:>6} {:>9} {:>12} {:>11} {:>13} {:<12}",
        "", "s", "processes", "records", "lost", "differ", "verdict"
    );
    let mut wrong = Vec::new();
    for (name, command) in [
        ("10,000 processes", python(BOMB)),
        ("exec for 10 s", python(EXEC)),
        ("fds for a minute", vec![&spin[..], "open", PAIRS]),
        ("suspended for 10 s", python(SUSPEND)),
    ] {
        let started = Instant::now();
        let report = check(&leaktrace, &command).with_context(|| name.to_owned())?;
        if !line(name, started.elapsed().as_secs_f64(), &report) {
            wrong.push(name);
        }
    }
    if !wrong.is_empty() {
        bail!("wrong: {}", wrong.join(", "));
    }
    Ok(())
}

fn check(leaktrace: &Path, command: &[&str]) -> Result<Value> {
    let file = target_dir().join("fire.json");
    let mut check = as_root(leaktrace)?;
    check
        .args(["check", "-f", &format!("json:{}", file.display()), "--"])
        .args(command);
    let status = quiet(&mut check).status().context("start leaktrace")?;
    let text = std::fs::read(&file).with_context(|| format!("{status}; read its report"))?;
    serde_json::from_slice(&text).context("read its report")
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null())
}

/// Prints one, and says whether it is right.
fn line(name: &str, seconds: f64, report: &Value) -> bool {
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
        "{name:<22} {seconds:>6.1} {:>9} {produced:>12} {lost:>11} {:>6}/{:<6} {verdict:<12}",
        report["processes"].as_array().map_or(0, Vec::len),
        count(&check["differed"]),
        count(&check["compared"]),
    );
    let adds_up = produced == received.wrapping_add(lost);
    let honest = match lost {
        0 => verdict == "clean",
        _ => matches!(verdict, "clean" | "inconclusive"),
    };
    adds_up && honest && count(&check["differed"]) == 0
}
