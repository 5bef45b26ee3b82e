//! `leaktrace merge`: several JSON reports as one.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    Ending, Failure, Outcome,
    args::OutputArgs,
    judge,
    output::{self, Call, Outputs},
    tolerate,
};
use crate::{
    report::{self, Report},
    sink::escape_str,
};

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// Reports as -f json writes them.
    #[arg(required = true, value_name = "REPORT")]
    reports: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Ends as the gravest of the runs did.
pub(super) fn run(args: &MergeArgs) -> Outcome {
    let route = output::route(&args.output, Call::Reads).map_err(Failure::usage)?;
    // A report that is read may not be emptied first: the files are opened when all is read.
    let reports = args
        .reports
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, Failure>>()?;
    let outputs = Outputs::open(route.with_job_summary(judge::job_summary))?;
    let merged = report::merge(reports).ok_or_else(|| Failure::usage("there is no report"))?;
    judge::write(outputs, &merged, args.output.verbose)?;
    Ok(Ending::Code(merged.exit.code))
}

fn read(path: &Path) -> Result<Report, Failure> {
    let name = escape_str(&path.to_string_lossy());
    let text = tolerate::bounded(path)
        .map_err(|error| Failure::internal(format!("cannot read the report {name}: {error}")))?
        .ok_or_else(|| Failure::internal(format!("{name} is too long to be a report")))?;
    report::read(&text).map_err(|why| Failure::internal(format!("{name} {}", escape_str(&why))))
}
