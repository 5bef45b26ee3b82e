//! What `check`, `run` and `record` share: everything but whose the exit code is.

use std::path::{Path, PathBuf};

use super::{
    Ending, Failure, Outcome,
    args::{IfUnavailable, JudgeArgs, OutputArgs, RunArgs, TargetArgs},
    attach::{self, Judged},
    command::{self, Ran, RunSpec},
    exit, look,
    output::{self, Call, Destination, Outputs, Rendered},
    policy, tolerate,
    value::Format,
};
use crate::{
    audit::{Command, outcome},
    launch::{Found, environment::Environment},
    policy::{
        Policy, Strictness,
        allow::Allow,
        fail_on::{self, FailOn},
    },
    report::Report,
    session::{self, Pipeline, Purpose},
    sink::{self, text::Detail},
    source::capture::Extent,
};

/// A call that judges a run.
pub(super) struct Judging {
    pub(super) command: Command,
    pub(super) error_exitcode: Option<i32>,
    pub(super) run: RunArgs,
    pub(super) targets: TargetArgs,
    pub(super) judge: JudgeArgs,
    pub(super) output: OutputArgs,
}

impl Judging {
    /// Whose the exit code is, and what it is for errors.
    fn exit(&self) -> (Command, Option<i32>) {
        (self.command, self.error_exitcode)
    }
}

/// Runs or reads, judges, reports, ends.
pub(super) fn run(call: Judging, found: Found) -> Outcome {
    let policy = policy(&call.judge)?;
    match &call.run.from {
        Some(path) => from_capture(path, &call, &policy),
        None if call.targets.names_some() => attached(&call, &policy),
        None => live(&call, &policy, found),
    }
}

/// Judges what something else has started.
fn attached(call: &Judging, policy: &Policy) -> Outcome {
    let launch = &call.run.launch;
    if !launch.command.is_empty() {
        return Err(Failure::usage(
            "there are both targets and a command; watch one or run the other",
        ));
    }
    let outputs = outputs(&call.output, Call::Reads)?;
    let run = Judged {
        targets: &call.targets,
        settle: launch.settle,
        capture: call.run.capture.as_deref(),
        policy,
        stacks: call.run.launch.stacks(),
        exit_times: call.run.launch.exit_times(),
        verbose: call.output.verbose,
        quiet: call.output.quiet > 0,
    };
    let on_unavailable = match launch.if_unavailable.unwrap_or_default() {
        IfUnavailable::Fail => outcome::INTERNAL,
        // There is nothing to run untraced.
        IfUnavailable::Skip | IfUnavailable::Run => outcome::UNAVAILABLE,
    };
    let pipeline = attach::judged(&run, on_unavailable)?;
    let report = report(&pipeline, policy, call.exit(), &call.judge)?;
    write(outputs, &report, call.output.verbose)?;
    command::captured(&pipeline)?;
    Ok(Ending::Code(report.exit.code))
}

fn from_capture(path: &Path, call: &Judging, policy: &Policy) -> Outcome {
    let outputs = outputs(&call.output, Call::Reads)?;
    let (pipeline, extent) = session::replay(path, Purpose::Verdict, policy)?;
    if extent != Extent::Complete {
        let path = sink::escape_str(&path.to_string_lossy());
        return Err(Failure::internal(format!(
            "capture {path} was cut short, the run that wrote it did not get to its end, so \
             nothing can be judged"
        )));
    }
    let report = report(&pipeline, policy, call.exit(), &call.judge)?;
    write(outputs, &report, call.output.verbose)?;
    Ok(Ending::Code(report.exit.code))
}

fn live(call: &Judging, policy: &Policy, found: Found) -> Outcome {
    let outputs = outputs(&call.output, Call::RunsCommand)?;
    let spec = RunSpec {
        launch: &call.run.launch,
        capture: call.run.capture.as_deref(),
        policy,
        purpose: Purpose::Verdict,
        stacks: call.run.launch.stacks(),
        exit_times: call.run.launch.exit_times(),
        verbose: call.output.verbose,
    };
    let ran = command::run(spec, found)?;
    let pipeline = match ran {
        Ran::Traced(pipeline) => pipeline,
        Ran::Untraced(status) => return Ok(command::untraced(status)),
    };
    let report = report(&pipeline, policy, call.exit(), &call.judge)?;
    write(outputs, &report, call.output.verbose)?;
    command::captured(&pipeline)?;
    Ok(exit::ending(report.exit, report.child))
}

/// Judges, and writes the baseline that was asked for; then what it has is known.
pub(super) fn report(
    pipeline: &Pipeline,
    policy: &Policy,
    (command, error_exitcode): (Command, Option<i32>),
    args: &JudgeArgs,
) -> Result<Report, Failure> {
    let mut report = pipeline.judge(policy);
    if let Some(path) = &args.write_baseline {
        let baseline = tolerate::write_baseline(path, &report)?;
        report = pipeline.judge(&Policy {
            baseline: Some(baseline),
            ..policy.clone()
        });
    }
    report.exit = outcome::exit(report.verdict, pipeline.end(), command, error_exitcode);
    if let Some(path) = &args.gen_suppressions {
        tolerate::write_suppressions(path.as_deref(), &report)?;
    }
    Ok(report)
}

fn outputs(args: &OutputArgs, call: Call) -> Result<Outputs, Failure> {
    let route = output::route(args, call).map_err(Failure::usage)?;
    Outputs::open(route.with_job_summary(job_summary))
}

pub(super) fn write(outputs: Outputs, report: &Report, verbose: u8) -> Result<(), Failure> {
    let detail = match verbose {
        0 => Detail::Errors,
        _ => Detail::All,
    };
    let render = |format, place: &Destination| {
        let text = match format {
            Format::Text => Ok(sink::text::render(report, look::of(detail, place))),
            Format::Json => return Ok(Rendered::pieces(|out| sink::json::write(report, out))),
            Format::Jsonl => return Ok(Rendered::pieces(|out| sink::jsonl::write(report, out))),
            Format::Junit => Ok(sink::junit::render(report)),
            Format::Sarif => sink::sarif::render(report),
            Format::Github => Ok(sink::github::render(report)),
            Format::Gitlab => sink::gitlab::render(report),
            Format::Markdown => Ok(sink::markdown::render(report)),
        };
        text.map(Rendered::Text)
    };
    outputs.write(render, &sink::text::last_line(report))
}

/// The file to which a step of a GitHub workflow may append its summary. sudo drops the
/// variable, so it is looked for where CMD's environment comes from.
pub(super) fn job_summary() -> Option<PathBuf> {
    Environment::of_caller()
        .get("GITHUB_STEP_SUMMARY")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

/// The policy that the options make.
pub(super) fn policy(args: &JudgeArgs) -> Result<Policy, Failure> {
    let usage =
        |option: &str, error: &dyn std::fmt::Display| Failure::usage(format!("{option}: {error}"));
    let mut policy = policy::load(args.policy.as_deref())?;
    policy.allow_loss |= args.allow_loss;
    policy.settings.order = args.order.unwrap_or(policy.settings.order);
    policy.baseline = args
        .baseline
        .as_deref()
        .map(tolerate::read_baseline)
        .transpose()?;
    if args.strict_suppressions {
        policy.strictness = Strictness::Fail;
    }
    for path in args
        .write_baseline
        .iter()
        .chain(args.gen_suppressions.iter().flatten())
    {
        tolerate::can_be_written(path)?;
    }
    if !args.fail_on.is_empty() {
        let words = args.fail_on.join(",");
        match fail_on::parse(&words).map_err(|error| usage("--fail-on", &error))? {
            FailOn::None => policy.fail_on_none = true,
            FailOn::These(words) => policy.fail_on.extend(words),
        }
    }
    for path in &args.suppressions {
        policy.allow.extend(tolerate::read_suppressions(path)?);
    }
    for text in &args.allow {
        let allow = Allow::parse(text).map_err(|error| usage("--allow", &error))?;
        policy.allow.push(allow);
    }
    if !args.require.is_empty() {
        let words = args.require.join(",");
        let families =
            fail_on::parse_families(&words).map_err(|error| usage("--require", &error))?;
        policy.require.extend(families);
    }
    Ok(policy)
}
