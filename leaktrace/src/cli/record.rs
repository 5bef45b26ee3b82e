//! `leaktrace record`: a run in a file, to be judged later.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::{
    Ending, Failure, Outcome,
    args::{JudgeArgs, LaunchArgs, OutputArgs, TargetArgs},
    attach,
    command::{self, Ran, RunSpec},
    exit, judge,
    output::{self, Call, LastLine, Outputs, Route},
    value::{self, FormatSpec},
};
use crate::{
    audit::Command,
    launch::Found,
    session::Purpose,
    sink::{
        escape_str,
        human::{count, counted},
    },
};

/// Arguments of `record`.
#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// The capture.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write a report besides, in this format, to this path; repeatable.
    #[arg(short, long, value_name = "FORMAT:PATH", value_parser = value::format)]
    format: Vec<FormatSpec>,
    /// Write no last line.
    #[arg(short, long, action = ArgAction::Count)]
    quiet: u8,
    /// Say more.
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    #[command(flatten)]
    launch: LaunchArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    targets: TargetArgs,
}

pub(super) fn run(args: &RecordArgs, found: Found) -> Outcome {
    let route = route(args)?.with_job_summary(judge::job_summary);
    let outputs = Outputs::open(route)?;
    match args.launch.command.is_empty() {
        true => system(args, outputs),
        false => command(args, outputs, found),
    }
}

fn command(args: &RecordArgs, outputs: Outputs, found: Found) -> Outcome {
    let policy = judge::policy(&args.judge)?;
    let spec = RunSpec {
        launch: &args.launch,
        capture: Some(&args.output),
        policy: &policy,
        purpose: Purpose::Verdict,
        stacks: args.launch.stacks(),
        exit_times: args.launch.exit_times(),
        verbose: args.verbose,
    };
    let pipeline = match command::run(spec, found)? {
        Ran::Traced(pipeline) => pipeline,
        Ran::Untraced(status) => return Ok(command::untraced(status)),
    };
    let report = judge::report(&pipeline, &policy, (Command::Record, None), &args.judge)?;
    judge::write(outputs, &report, args.verbose)?;
    command::captured(&pipeline)?;
    Ok(exit::ending(report.exit, report.child))
}

/// Everything on this machine: there is no run to judge.
fn system(args: &RecordArgs, outputs: Outputs) -> Outcome {
    if !args.format.is_empty() {
        return Err(Failure::usage(
            "there is no report without a command; drop -f, or put a command behind `--`",
        ));
    }
    let pipeline = attach::run(&args.targets, Some(&args.output), args.verbose)?;
    let events = &pipeline.end().events;
    let line = format!(
        "leaktrace: recorded {}, {} lost, in {}; exit 0 (clean)\n",
        counted(events.received, "event", "events"),
        count(events.lost),
        escape_str(&args.output.to_string_lossy()),
    );
    outputs.write(|_, _| Ok::<_, Failure>(String::new()), &line)?;
    command::captured(&pipeline)?;
    Ok(Ending::Code(0))
}

fn route(args: &RecordArgs) -> Result<Route, Failure> {
    let specs = OutputArgs {
        format: args.format.clone(),
        quiet: args.quiet,
        ..OutputArgs::default()
    };
    if args.format.iter().any(|spec| spec.path.is_none()) {
        return Err(Failure::usage(
            "a report of record needs a path, because -o is the capture's, as in -f json:FILE",
        ));
    }
    let route = output::route(&specs, Call::RunsCommand).map_err(Failure::usage)?;
    Ok(match args.format.is_empty() {
        false => route,
        true => Route {
            reports: Vec::new(),
            last_line: match args.quiet {
                0 => LastLine::Stderr,
                _ => LastLine::Nowhere,
            },
        },
    })
}
