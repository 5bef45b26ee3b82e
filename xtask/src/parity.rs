//! `cargo xtask parity`: our tables against /proc under each stressor of stress-ng, one by one.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::install::as_root;
use crate::run::{cargo, run, target_dir};
use crate::test::{Profile, binary};

/// What stress-ng can do to the tables.
const STRESSORS: &str = "open close dup pipe pipeherd sock sockfd sockpair sockmany epoll eventfd \
    timerfd sigfd inotify memfd mmap mmapfork mremap munmap brk shm shm-sysv sem-sysv msg mq aio \
    io-uring fork vfork clone exec zombie daemon pthread kill pidfd userfaultfd unshare";

/// Prints a table: stressor, looks, processes, things compared, differences.
///
/// # Errors
/// If something does not build or run, or any table differs.
pub fn parity(profile: Profile, seconds: u32) -> Result<()> {
    let leaktrace = binary(profile)?;
    let scratch = target_dir().join("parity");
    std::fs::create_dir_all(&scratch).context("make a scratch directory")?;
    let build = [
        "build",
        "--quiet",
        "-p",
        "leaktrace-tests",
        "--bin",
        "turmoil",
    ];
    run(cargo().args(build))?;
    println!(
        "{:<14} {:>6} {:>9} {:>9} {:>6} {:>9} {:>7}",
        "", "looks", "processes", "things", "differ", "at exit", "lost"
    );
    let mut differed = Vec::new();
    for stressor in STRESSORS.split(' ') {
        let mut command = as_root(&leaktrace)?;
        command.args(["doctor", "--parity", "--json", "--every", "200ms", "--"]);
        command
            .args(["stress-ng", "--quiet", "--temp-path"])
            .arg(&scratch);
        command.args([format!("--{stressor}"), "2".to_owned()]);
        command.args(["--timeout".to_owned(), format!("{seconds}s")]);
        if !look(stressor, &mut command)? {
            differed.push(stressor);
        }
    }
    let mut command = as_root(&leaktrace)?;
    command.args(["doctor", "--parity", "--json", "--stops", "--"]);
    command.arg(target_dir().join("debug/turmoil"));
    command.args(["1".to_owned(), (seconds * 1000).to_string()]);
    if !look("turmoil", &mut command)? {
        differed.push("turmoil");
    }
    std::fs::remove_dir_all(&scratch).context("remove the scratch directory")?;
    if !differed.is_empty() {
        bail!("tables differ under {}", differed.join(", "));
    }
    Ok(())
}

/// Runs one and prints its line. Whether the tables were equal.
fn look(name: &str, command: &mut Command) -> Result<bool> {
    let command = command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().context("start leaktrace")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The stressor may have said something before.
    let json = text.find("{\n").map_or("", |at| &text[at..]);
    let said: serde_json::Value =
        serde_json::from_str(json).with_context(|| format!("read what was said of {name}"))?;
    let count = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    println!(
        "{name:<14} {:>6} {:>9} {:>9} {:>6} {:>4}/{:<4} {:>7}",
        count(&said["looks"]),
        count(&said["processes"]),
        count(&said["compared"]),
        count(&said["differed"]),
        count(&said["self_check"][1]),
        count(&said["self_check"][0]),
        count(&said["events"]["lost"]),
    );
    Ok(output.status.success())
}
