//! All tests, privileged ones included, on the running kernel.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::install::{is_root, scenario_programs};
use crate::rules;
use crate::run::{cargo, output, run, target_dir};

/// Which build of leaktrace is tested or measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to make.
    Dev,
    /// What users run.
    Release,
}

/// Builds leaktrace and says where it is.
///
/// # Errors
/// If it does not build.
pub fn binary(profile: Profile) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", "leaktrace"]);
    let dir = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            build.arg("--release");
            "release"
        }
    };
    run(&mut build)?;
    Ok(target_dir().join(dir).join("leaktrace"))
}

/// Builds the program of the tests that does one thing often, for speed; more can be asked of it.
pub fn build_spin() -> Command {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release"]);
    build.args(["-p", "leaktrace-tests", "--bin", "spin"]);
    build
}

/// Runs them; cargo test's own words are the last ones.
///
/// Nothing is mounted for them: up to Linux 7.1 every probe is a BTF tracepoint, which needs
/// neither tracefs nor bpffs. What they mount themselves must be gone at the end.
///
/// # Errors
/// If a test fails, or leaves a mount.
pub fn test(profile: Profile, args: &[String]) -> Result<()> {
    scenario_programs()?;
    let binary = binary(profile)?;
    let before = mounts()?;
    let runs = rules::runs_file();
    // From a run before this one.
    let _ = std::fs::remove_file(&runs);
    let mut test = cargo();
    test.arg("test")
        .env("LEAKTRACE_BIN", &binary)
        .env(rules::RUNS, &runs);
    if args.is_empty() {
        test.args(["--workspace", "--no-fail-fast"]);
    } else {
        test.args(args);
    }
    if !is_root()? {
        // Cargo builds as the user; only what it has built runs as root.
        test.env(runner()?, "sudo -E");
    }
    let result = run(&mut test);
    let after = mounts()?;
    if after != before {
        bail!("the tests changed the mounts, from\n{before}to\n{after}");
    }
    result?;
    // A part of the tests proves a part of the table.
    if args.is_empty() {
        rules::check(&binary, &runs)?;
    }
    Ok(())
}

/// Writes the table of rules that the scenarios prove, after running them unless the last run will
/// do.
///
/// # Errors
/// If a scenario fails, or a rule is not proved.
pub fn table(profile: Profile, last: bool) -> Result<()> {
    if last {
        return rules::write(&binary(profile)?, &rules::runs_file());
    }
    let scenarios = [
        "-p",
        "leaktrace-tests",
        "--test",
        "scenario",
        "--no-fail-fast",
    ];
    test(profile, &scenarios.map(str::to_owned))?;
    rules::write(&binary(profile)?, &rules::runs_file())
}

/// The variable that makes cargo run tests through another program.
fn runner() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("find rustc's host")?;
    let host = host.to_uppercase().replace('-', "_");
    Ok(format!("CARGO_TARGET_{host}_RUNNER"))
}

fn mounts() -> Result<String> {
    std::fs::read_to_string("/proc/self/mounts").context("read the mounts")
}
