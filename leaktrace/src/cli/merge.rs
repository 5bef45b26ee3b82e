//! `leaktrace merge`: several JSON reports as one.

use std::{fs, path::PathBuf};

use clap::Args;

use super::{
    Ending, Failure, Outcome,
    args::OutputArgs,
    judge,
    output::{self, Call, Outputs},
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
        .map(read)
        .collect::<Result<Vec<_>, Failure>>()?;
    let outputs = Outputs::open(route.with_job_summary(judge::job_summary))?;
    let merged = report::merge(reports).ok_or_else(|| Failure::usage("there is no report"))?;
    judge::write(outputs, &merged, args.output.verbose)?;
    Ok(Ending::Code(merged.exit.code))
}

fn read(path: &PathBuf) -> Result<Report, Failure> {
    let name = escape_str(&path.to_string_lossy());
    let text = fs::read(path)
        .map_err(|error| Failure::internal(format!("cannot read the report {name}: {error}")))?;
    let report: Report = serde_json::from_slice(&text).map_err(|error| {
        Failure::internal(format!(
            "{name} is no report of -f json ({error}); write one with -f json:FILE"
        ))
    })?;
    if report.schema != report::SCHEMA {
        let schema = escape_str(&report.schema);
        return Err(Failure::internal(format!(
            "{name} is of {schema}; this leaktrace reads {}",
            report::SCHEMA
        )));
    }
    Ok(report)
}
