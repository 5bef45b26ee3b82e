//! `cargo xtask soak`: what only shows after a thousand runs, or after an hour.

mod churn;
mod loss;
mod runs;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::Value;

use crate::install::as_root;
use crate::run::{cargo, run, target_dir};
use crate::test::{Profile, binary};

/// What is to be done.
#[derive(Subcommand)]
pub enum Soak {
    /// Many checks at once: clean programs must be clean, a leaking one found every time
    Runs {
        /// Runs of clean programs
        #[arg(long, default_value_t = 1_000)]
        clean: u64,
        /// Runs of one leaking program
        #[arg(long, default_value_t = 1_000)]
        leaking: u64,
        /// At a time; more than there are CPUs saturates the machine
        #[arg(long, default_value_t = 8)]
        jobs: u64,
    },
    /// Checks that lose records: leaking and clean ones, then an exact count
    Loss {
        /// Runs of each sort
        #[arg(long, default_value_t = 100)]
        runs: u64,
        /// open+close pairs that are counted
        #[arg(long, default_value_t = 1_000_000)]
        pairs: u64,
    },
    /// Short processes without end, and how much memory who watches them takes
    Churn {
        /// How long
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        /// Seconds between two samples
        #[arg(long, default_value_t = 10)]
        every: u64,
        /// Where the samples go, a line each with tabs between
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// What a soak needs.
struct Tools {
    leaktrace: PathBuf,
    spin: PathBuf,
    scratch: PathBuf,
}

/// Does one; `leaktrace`: this binary, not the one that is built.
///
/// # Errors
/// If something does not build or run, or is not as it must be.
pub fn soak(soak: &Soak, profile: Profile, leaktrace: Option<PathBuf>) -> Result<()> {
    let leaktrace = leaktrace.map_or_else(|| binary(profile), Ok)?;
    let build = ["build", "--quiet", "-p", "leaktrace-tests", "--bin", "spin"];
    run(cargo().args(build))?;
    let scratch = target_dir().join(format!("soak.{}", std::process::id()));
    std::fs::create_dir_all(&scratch).context("make a scratch directory")?;
    let tools = Tools {
        leaktrace,
        spin: target_dir().join("debug/spin"),
        scratch,
    };
    let done = match soak {
        Soak::Runs {
            clean,
            leaking,
            jobs,
        } => runs::runs(&tools, *clean, *leaking, *jobs),
        Soak::Loss { runs, pairs } => loss::loss(&tools, *runs, *pairs),
        Soak::Churn {
            minutes,
            every,
            out,
        } => churn::churn(&tools, *minutes, *every, out.as_deref()),
    };
    std::fs::remove_dir_all(&tools.scratch).context("remove the scratch directory")?;
    done
}

/// What one check ended with.
struct Outcome {
    code: i32,
    report: Value,
    /// The last lines it said.
    said: String,
}

impl Outcome {
    /// Rules of the findings, sorted.
    fn rules(&self) -> Vec<&str> {
        let findings = self.report["findings"].as_array();
        let rules = findings.into_iter().flatten();
        let mut rules: Vec<&str> = rules
            .filter(|finding| finding["level"] == "error")
            .filter_map(|finding| finding["rule"].as_str())
            .collect();
        rules.sort_unstable();
        rules
    }

    fn count(&self, pointer: &str) -> u64 {
        self.report
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Tools {
    /// Checks a command in a temporary directory of its own.
    fn check(&self, command: &[&str], settings: impl FnOnce(&mut Command)) -> Result<Outcome> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.scratch.join(format!("{number}.json"));
        let temp = self.scratch.join(format!("{number}.tmp"));
        std::fs::create_dir(&temp).context("make a temporary directory")?;
        let mut check = as_root(&self.leaktrace)?;
        check.args(["check", "--format"]);
        check.arg(format!("json:{}", path.display()));
        settings(&mut check);
        check.arg("--").args(command);
        check.env("TMPDIR", &temp).current_dir(&self.scratch);
        check.stdin(Stdio::null()).stdout(Stdio::null());
        let output = check.output().context("start leaktrace")?;
        let outcome = Outcome {
            code: output.status.code().unwrap_or(-1),
            report: read(&path)?,
            said: last_lines(&output.stderr),
        };
        std::fs::remove_file(&path).context("remove a report")?;
        std::fs::remove_dir_all(&temp).context("remove a temporary directory")?;
        Ok(outcome)
    }
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).context("read a report")?;
    serde_json::from_slice(&text).context("understand a report")
}

fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.reverse();
    lines.join("\n")
}

/// Fails if anything was not as it must be.
fn verdict(wrong: u64) -> Result<()> {
    match wrong {
        0 => Ok(()),
        wrong => bail!("{wrong} not as they must be"),
    }
}
