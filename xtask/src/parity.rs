//! `cargo xtask parity`: our tables against /proc under each stressor of stress-ng, one by one, and
//! under programs of our own. Everyone is frozen for the moment of a comparison: what never stands
//! still could not be compared with anything.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::install::{as_root, parity_programs};
use crate::run::{cargo, run, target_dir};
use crate::test::{Profile, binary};

/// What stress-ng can do to the tables.
const STRESSORS: &str = "open close dup pipe pipeherd sock sockfd sockpair sockmany epoll eventfd \
    timerfd sigfd inotify memfd mmap mmapfork mremap munmap brk shm shm-sysv sem-sysv msg mq aio \
    io-uring fork vfork clone exec zombie daemon pthread kill pidfd userfaultfd unshare";
/// Of ours: `NAME SEED MILLISECONDS`.
const OURS: [&str; 3] = ["fd-race", "fd-fork", "turmoil"];
/// stress-ng refuses to run it as root.
const UNPRIVILEGED: [&str; 1] = ["exec"];
/// One that was looked at less often, or had less to compare, says nothing: it is run again, for
/// longer each time.
const LOOKS: u64 = 20;
const THINGS: u64 = 100;
const TRIES: u32 = 4;

/// What to compare.
pub struct Options {
    /// With which build.
    pub profile: Profile,
    /// Seconds each.
    pub seconds: u32,
    /// Only these; none: all.
    pub names: Vec<String>,
}

/// Prints a table.
///
/// # Errors
/// If something does not build or run, any table differs, or one was hardly looked at.
pub fn parity(options: &Options) -> Result<()> {
    parity_programs()?;
    let leaktrace = binary(options.profile)?;
    fixtures()?;
    let scratch = Scratch::new()?;
    println!(
        "{:<12} {:>6} {:>6} {:>9} {:>9} {:>6} {:>11} {:>6} {:>8}",
        "", "looks", "least", "processes", "things", "differ", "at exit", "differ", "lost"
    );
    let mut failed = Vec::new();
    for name in STRESSORS.split_ascii_whitespace().chain(OURS) {
        if !options.names.is_empty() && !options.names.iter().any(|it| it == name) {
            continue;
        }
        let mut all = Outcome::default();
        for again in 0..TRIES {
            let seconds = options.seconds << again;
            let once = look(name, seconds, &leaktrace, &scratch.0)
                .with_context(|| format!("compare under {name}"))?;
            all.add(once);
            if all.looks >= LOOKS && all.things >= THINGS {
                break;
            }
        }
        println!("{name:<12} {all}");
        if !all.is_right() {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("differences, or too few looks, under {}", failed.join(", "));
    }
    Ok(())
}

/// Builds the programs of ours.
///
/// # Errors
/// If they do not build.
pub fn fixtures() -> Result<()> {
    let build = ["build", "--quiet", "-p", "leaktrace-tests", "--bins"];
    run(cargo().args(build))
}

/// A program of ours.
pub fn fixture(name: &str) -> PathBuf {
    target_dir().join("debug").join(name)
}

/// Where stress-ng writes.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        use std::os::unix::fs::PermissionsExt;
        // Not below a directory that others may not enter: one stressor runs as nobody.
        let directory = std::env::temp_dir().join(format!("parity-{}", std::process::id()));
        std::fs::create_dir(&directory).context("make a scratch directory")?;
        let scratch = Scratch(directory);
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(&scratch.0, all).context("open the scratch directory")?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What was seen.
#[derive(Default)]
struct Outcome {
    looks: u64,
    least: u64,
    processes: u64,
    things: u64,
    differed: u64,
    /// Tables compared at the end of their process, and how many differed.
    ends: (u64, u64),
    lost: u64,
    said: Vec<String>,
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.least = match self.looks {
            0 => other.least,
            _ => self.least.min(other.least),
        };
        self.looks += other.looks;
        self.processes += other.processes;
        self.things += other.things;
        self.differed += other.differed;
        self.ends = (self.ends.0 + other.ends.0, self.ends.1 + other.ends.1);
        self.lost += other.lost;
        self.said.extend(other.said);
    }

    /// An end that differs after a loss is a loss that was seen.
    fn is_right(&self) -> bool {
        self.differed == 0
            && (self.ends.1 == 0 || self.lost > 0)
            && self.looks >= LOOKS
            && self.things >= THINGS
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>6} {:>6} {:>9} {:>9} {:>6} {:>11} {:>6} {:>8}",
            self.looks,
            self.least,
            self.processes,
            self.things,
            self.differed,
            self.ends.0,
            self.ends.1,
            self.lost
        )?;
        for line in self.said.iter().take(8) {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

fn look(name: &str, seconds: u32, leaktrace: &Path, scratch: &Path) -> Result<Outcome> {
    let mut command = as_root(leaktrace)?;
    command.args(["doctor", "--parity", "--json"]);
    if name == "turmoil" {
        command.arg("--stops");
    } else {
        command.args(["--freeze", "--every", "100ms"]);
    }
    command.arg("--");
    if OURS.contains(&name) {
        command.arg(fixture(name));
        command.args(["1".to_owned(), (seconds * 1000).to_string()]);
    } else {
        if UNPRIVILEGED.contains(&name) {
            let nobody = [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
            ];
            command.args(nobody);
        }
        // Not by --temp-path: what some stressors do there needs a relative path.
        command.current_dir(scratch);
        command.args(["stress-ng", "--quiet"]);
        command.args([format!("--{name}"), "2".to_owned()]);
        command.args(["--timeout".to_owned(), format!("{seconds}s")]);
    }
    let said = answer(&mut command)?;
    let count = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    let at_exit = |n: usize| count(&said["self_check"][n]) + count(&said["space_check"][n]);
    let lines = |value: &serde_json::Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.map(ToString::to_string).collect()
    };
    let mut told = lines(&said["differences"]);
    told.extend(lines(&said["at_exit"]));
    Ok(Outcome {
        looks: count(&said["looks"]),
        least: count(&said["least"]),
        processes: count(&said["processes"]),
        things: count(&said["compared"]),
        differed: count(&said["differed"]),
        ends: (at_exit(0), at_exit(1)),
        lost: count(&said["events"]["lost"]),
        said: told,
    })
}

/// What `leaktrace doctor --parity --json` says.
///
/// # Errors
/// If it cannot be run, or says something else.
pub fn answer(command: &mut Command) -> Result<serde_json::Value> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // CMD may have said something before.
    let json = text.find("{\n").map_or("", |at| &text[at..]);
    let said = serde_json::from_str(json).with_context(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("read what it said ({}); {}", output.status, stderr.trim())
    })?;
    let equal_or_not = matches!(output.status.code(), Some(0 | 100));
    ensure!(equal_or_not, "{}", output.status);
    Ok(said)
}
