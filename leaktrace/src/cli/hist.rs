//! `leaktrace hist`: how long giving back takes.

use clap::Args;

use super::{
    Ending, Failure, Outcome,
    args::{OutputArgs, RunArgs, TargetArgs},
    attach,
    command::{self, Ran, RunSpec},
    exit,
    output::{self, Call, Destination, Outputs},
    target::Choice,
    value::Format,
};
use crate::{
    audit::{Command, outcome},
    bpf::ExitTimes,
    hist::{self, By, HistReport},
    launch::Found,
    policy::Policy,
    report::{Exit, Verdict},
    session::{self, Pipeline, Purpose},
    sink::{
        self,
        human::{count, counted},
    },
};

/// Arguments of `hist`.
#[derive(Debug, Args)]
pub(super) struct HistArgs {
    /// How samples are grouped: pid, comm, exe, cgroup or class.
    #[arg(long, value_name = "BY", default_value = "pid")]
    by: By,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &HistArgs, found: Found) -> Outcome {
    let mut choice = Choice::new(&args.targets)?;
    let runs = !args.run.launch.command.is_empty();
    let call = match runs {
        true => Call::RunsCommand,
        false => Call::Reads,
    };
    only_text_or_json(&args.output)?;
    if args.run.launch.stacks {
        return Err(Failure::usage("hist measures time and has no stacks"));
    }
    let outputs = Outputs::open(output::route(&args.output, call).map_err(Failure::usage)?)?;
    let pipeline = match (&args.run.from, runs) {
        (Some(path), _) => session::replay(path, Purpose::Durations, &Policy::default())?.0,
        (None, false) => attach::run(
            &args.targets,
            args.run.capture.as_deref(),
            args.output.verbose,
        )?,
        (None, true) => {
            let spec = RunSpec {
                launch: &args.run.launch,
                capture: args.run.capture.as_deref(),
                policy: &Policy::default(),
                purpose: Purpose::Durations,
                stacks: args.run.launch.stacks(),
                exit_times: ExitTimes::Told,
                verbose: args.output.verbose,
            };
            match command::run(spec, found)? {
                Ran::Traced(pipeline) => *pipeline,
                Ran::Untraced(status) => return Ok(command::untraced(status)),
            }
        }
    };
    choice.refresh();
    let report = report(&pipeline, args.by, &choice);
    let exit = outcome::exit(Verdict::Clean, pipeline.end(), Command::Run, None);
    let line = last_line(&report, &pipeline, exit);
    let render = |format, _: &Destination| match format {
        Format::Json => sink::json::pretty(&report),
        Format::Text
        | Format::Jsonl
        | Format::Junit
        | Format::Sarif
        | Format::Github
        | Format::Gitlab
        | Format::Markdown => Ok(format!("{}{line}", hist::render(&report))),
    };
    outputs.write(render, &line)?;
    command::captured(&pipeline)?;
    match runs {
        true => Ok(exit::ending(exit, pipeline.end().child)),
        false => Ok(Ending::Code(exit.code)),
    }
}

/// The other formats are made of findings.
fn only_text_or_json(args: &OutputArgs) -> Result<(), Failure> {
    let other = args
        .format
        .iter()
        .find(|spec| !matches!(spec.format, Format::Text | Format::Json));
    match other {
        Some(spec) => Err(Failure::usage(format!(
            "hist has no {} report, use text or json",
            spec.format.name()
        ))),
        None => Ok(()),
    }
}

fn report(pipeline: &Pipeline, by: By, choice: &Choice) -> HistReport {
    let mut processes = pipeline.model().facts().processes;
    processes.retain(|_, process| choice.has(process));
    let mut histograms = pipeline.histograms().clone();
    histograms.retain(|key| processes.contains_key(key));
    histograms.report(by, &processes)
}

fn last_line(report: &HistReport, pipeline: &Pipeline, exit: Exit) -> String {
    let events = &pipeline.end().events;
    format!(
        "leaktrace: {}, {}, {} lost, exit {} ({})\n",
        counted(report.groups.len() as u64, "group", "groups"),
        counted(events.received, "event", "events"),
        count(events.lost),
        exit.code,
        exit::whose(exit.because),
    )
}
