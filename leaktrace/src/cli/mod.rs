//! The command line: arguments, where output goes, exit codes. One file per subcommand.

pub mod args;
pub mod exit;
pub mod output;
pub mod usage;
pub mod value;

#[expect(unsafe_code, reason = "fds 0 to 2 by their numbers: dup2(2)")]
mod aside;
mod attach;
mod check;
mod command;
mod completions;
mod demo;
mod deputy;
mod doctor;
mod explain;
mod hist;
mod judge;
mod look;
mod merge;
mod parity;
mod policy;
mod record;
mod run;
mod schema;
mod scrape;
mod serve;
mod target;
mod tolerate;
#[expect(unsafe_code, reason = "local time: localtime_r(3)")]
mod top;

use std::{ffi::OsString, io::Write, panic};

use clap::{Parser, Subcommand};

use crate::{
    bpf::loss::Loss,
    launch::{self, Found},
    report::Because,
};

/// What processes take from the kernel, what they give back, and what they leave behind.
#[derive(Debug, Parser)]
#[command(
    name = "leaktrace",
    version,
    disable_version_flag = true,
    args_conflicts_with_subcommands = true,
    after_help = "exit codes of check: 0 clean, 100 errors found, 75 inconclusive, 77 cannot trace here, \
                  125 leaktrace failed,\n126/127 CMD cannot run / not found, 2 usage, else CMD's own"
)]
struct Cli {
    /// Print the version.
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: (),
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: top.
    #[command(flatten)]
    top: top::TopArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show live what every process holds (the default).
    Top(top::TopArgs),
    /// Run CMD, judge what it leaves behind; exit 100 if there are errors.
    Check(check::CheckArgs),
    /// Run CMD and report; exit with CMD's own status.
    Run(run::RunCommandArgs),
    /// Measure how long giving back takes, per process.
    Hist(hist::HistArgs),
    /// Watch all the time, tell metrics to who scrapes them, and findings as they come.
    Serve(serve::ServeArgs),
    /// Write a run to a file, to be judged later with --from.
    Record(record::RecordArgs),
    /// Show what works on this machine and what to do about the rest.
    Doctor(doctor::DoctorArgs),
    /// Say what a rule means, why it matters, how to fix and how to allow it.
    Explain(explain::ExplainArgs),
    /// Print the JSON Schema of the reports.
    Schema(schema::SchemaArgs),
    /// Join JSON reports into one.
    Merge(merge::MergeArgs),
    /// Print what a shell needs to complete leaktrace's arguments.
    Completions(completions::CompletionsArgs),
    /// Show the policy in force.
    Policy(policy::PolicyArgs),
    /// See it find a leak: a program that leaks on purpose, its report, and everything removed.
    Demo,
    /// What `demo` runs.
    #[command(name = crate::demo::LEAK_COMMAND, hide = true)]
    DemoLeak,
    /// What leaktrace starts once more where it needs rights.
    #[command(name = crate::deputy::COMMAND, hide = true)]
    Deputy(deputy::DeputyArgs),
}

/// What ends a call before there is a report. The text is for people: what, why, what to do.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: i32,
    /// Whose it is.
    pub because: Because,
    /// One sentence, without a final full stop.
    pub text: String,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By the signal that ended CMD.
    Signal(i32),
}

/// A subcommand's outcome.
pub type Outcome = Result<Ending, Failure>;

impl Failure {
    /// The command line is wrong: 2.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure {
            code: 2,
            because: Because::Usage,
            text: text.into(),
        }
    }

    /// leaktrace failed: 125.
    pub fn internal(text: impl Into<String>) -> Failure {
        Failure {
            code: 125,
            because: Because::Internal,
            text: text.into(),
        }
    }

    /// The last line on stderr: what happened and whose the exit code is.
    fn line(&self) -> String {
        let Failure {
            code,
            because,
            text,
        } = self;
        let whose = exit::whose(*because);
        format!("leaktrace: {text}; exit {code} ({whose})\n")
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::internal(format!("{error:#}"))
    }
}

/// Runs one call of leaktrace. Returns the exit code, or ends by a signal as CMD did.
///
/// To be called first thing: nothing may have changed signals or fds before.
pub fn main(argv: Vec<OsString>) -> i32 {
    let found = Found::record();
    launch::privilege::set_aside();
    // Without /dev/null this goes on: files of ours may then get numbers 0-2.
    drop(launch::reserve_stdio());
    launch::settle_own_signals();
    match panic::catch_unwind(|| dispatch(argv, found)) {
        Ok(Ok(Ending::Code(code))) => code,
        Ok(Ok(Ending::Signal(signal))) => launch::raise_again(signal),
        Ok(Err(failure)) => {
            complain(&failure.line());
            failure.code
        }
        Err(_) => {
            complain("leaktrace: this is a bug in leaktrace; exit 125 (leaktrace failed)\n");
            125
        }
    }
}

fn dispatch(argv: Vec<OsString>, found: Found) -> Outcome {
    let lossy = Loss::from_environment().map_err(|error| Failure::usage(error.to_string()))?;
    if lossy.is_some() {
        complain("leaktrace: records are lost on purpose\n");
    }
    let cli = match Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(error) => return usage::answer(&error),
    };
    match cli.command {
        Some(Command::Check(args)) => check::run(args, found),
        Some(Command::Run(args)) => run::run(args, found),
        Some(Command::Hist(args)) => hist::run(&args, found),
        Some(Command::Record(args)) => record::run(&args, found),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Doctor(args)) => doctor::run(args, found),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Schema(args)) => schema::run(&args),
        Some(Command::Merge(args)) => merge::run(&args),
        Some(Command::Completions(args)) => completions::run(&args),
        Some(Command::Policy(args)) => policy::run(&args),
        Some(Command::Demo) => demo::run(),
        Some(Command::DemoLeak) => demo::leak(),
        Some(Command::Deputy(args)) => deputy::run(&args),
        Some(Command::Top(args)) => top::run(args, found),
        None => top::run(cli.top, found),
    }
}

/// Writes to stderr; that it cannot be written is nothing that could be told anywhere.
fn complain(text: &str) {
    drop(std::io::stderr().write_all(text.as_bytes()));
}

/// Writes to stdout. A reader that went away (`| head`) has what it wanted.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::internal(
            format!("cannot write to stdout: {error}"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}
