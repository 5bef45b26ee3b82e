//! `leaktrace schema`: the JSON Schema of the reports.

use clap::{Args, ValueEnum};

use super::{Ending, Failure, Outcome, say};
use crate::sink::{json, schema};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Of which format.
    #[arg(default_value = "json")]
    format: Of,
}

/// Formats with a schema of leaktrace's own.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// `-f json`: `leaktrace.report/1`.
    Json,
    /// One line of `-f jsonl`.
    Jsonl,
}

pub(super) fn run(args: &SchemaArgs) -> Outcome {
    let schema = match args.format {
        Of::Json => schema::report(),
        Of::Jsonl => schema::line(),
    };
    let text = json::pretty(&schema).map_err(|error| Failure::internal(error.to_string()))?;
    say(&text)?;
    Ok(Ending::Code(0))
}
