//! Options that several subcommands share.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, ValueEnum};

use super::value::{self, FormatSpec};
use crate::{
    bpf::{ExitTimes, Stacks},
    policy::OrderMode,
};

/// Where reports go.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write a report: text, json, jsonl, junit, sarif, github, gitlab or markdown; repeatable.
    #[arg(short, long, value_name = "FORMAT[:PATH]", value_parser = value::format)]
    pub format: Vec<FormatSpec>,
    /// Path of the one -f without a path; `-` is stdout.
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Write nothing but the reports asked for by -f.
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "verbose")]
    pub quiet: u8,
    /// Say more: all processes and notes; twice: what leaktrace itself does.
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// How observations are judged.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Judging")]
pub struct JudgeArgs {
    /// The policy; without it, leaktrace.toml from the working directory upwards.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Groups or rules that are errors too; `none`: every rule is a note.
    #[arg(long, value_name = "GROUP|RULE,…")]
    pub fail_on: Vec<String>,
    /// Tolerate findings of a rule, where the resource's fact matches; repeatable.
    #[arg(long, value_name = "RULE[:KEY=GLOB]")]
    pub allow: Vec<String>,
    /// Tolerate what the `[[allow]]` blocks of this file say; repeatable.
    #[arg(long, value_name = "FILE")]
    pub suppressions: Vec<PathBuf>,
    /// Write an `[[allow]]` block for every error, to FILE or to stderr.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub gen_suppressions: Option<Option<PathBuf>>,
    /// Tolerate what this baseline has; only what is new fails.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write the errors of this run as a baseline; they do not fail it.
    #[arg(long, value_name = "FILE")]
    pub write_baseline: Option<PathBuf>,
    /// Fail if a suppression fits nothing or has expired.
    #[arg(long)]
    pub strict_suppressions: bool,
    /// How release order is judged [default: instance].
    #[arg(long, value_name = "MODE", value_parser = value::order)]
    pub order: Option<OrderMode>,
    /// Inconclusive where one of these families cannot be watched; or `all`.
    #[arg(long, value_name = "FAMILY,…")]
    pub require: Vec<String>,
    /// Lost records do not make the verdict inconclusive.
    #[arg(long)]
    pub allow_loss: bool,
}

/// What to run, or which capture to read instead.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Read a capture instead of running something; needs no privileges.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "capture", "user", "settle", "if_unavailable", "stacks", "exit_times"])]
    pub from: Option<PathBuf>,
    /// Write a capture of the run.
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// CMD.
    #[command(flatten)]
    pub launch: LaunchArgs,
}

/// What to run, and how.
#[derive(Clone, Debug, Default, Args)]
pub struct LaunchArgs {
    /// Run CMD as this user; without it, under sudo, as the user that ran sudo.
    #[arg(long, value_name = "USER")]
    pub user: Option<OsString>,
    /// How long to wait for what can still go away after CMD has ended [default: 2s].
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    pub settle: Option<Duration>,
    /// Show the functions that acquired what findings are about.
    #[arg(short = 'k', long)]
    pub stacks: bool,
    /// Time the parts of each process's exit in the kernel, for JSON; takes longer to start and to end.
    #[arg(long)]
    pub exit_times: bool,
    /// What to do where tracing is not possible [default: skip].
    #[arg(long, value_name = "WHAT")]
    pub if_unavailable: Option<IfUnavailable>,
    /// CMD and its arguments.
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Which processes to watch, when leaktrace does not start them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Targets")]
pub struct TargetArgs {
    /// Only this process; repeatable.
    #[arg(short, long, value_name = "PID")]
    pub pid: Vec<u32>,
    /// Only processes whose name matches.
    #[arg(long, value_name = "GLOB")]
    pub comm: Option<String>,
    /// Only processes of this user.
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,
    /// Only processes in this cgroup and those below it: a directory, or a path below the root
    /// of the hierarchy.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
    /// Only processes of this container: its name or id.
    #[arg(long, value_name = "NAME", conflicts_with = "cgroup")]
    pub container: Option<String>,
    /// Stop after this time.
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    pub duration: Option<Duration>,
}

impl LaunchArgs {
    /// Whether stacks are wanted.
    pub fn stacks(&self) -> Stacks {
        match self.stacks {
            true => Stacks::Told,
            false => Stacks::Off,
        }
    }

    /// Whether the parts of exit are timed.
    pub fn exit_times(&self) -> ExitTimes {
        match self.exit_times {
            true => ExitTimes::Told,
            false => ExitTimes::Off,
        }
    }
}

impl TargetArgs {
    /// Whether they say which processes.
    pub fn names_some(&self) -> bool {
        let some = self.comm.is_some() || self.uid.is_some();
        some || !self.pid.is_empty() || self.cgroup.is_some() || self.container.is_some()
    }
}

/// What to do where tracing is not possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum IfUnavailable {
    /// Do not run CMD; exit 77, which test harnesses take for a skip.
    #[default]
    Skip,
    /// Do not run CMD; exit 125.
    Fail,
    /// Run CMD untraced, with a warning; its own status.
    Run,
}

/// Time to settle when none is given.
pub const SETTLE: Duration = Duration::from_secs(2);
