//! `leaktrace check`: run and judge.

use clap::Args;

use super::{
    Outcome,
    args::{JudgeArgs, OutputArgs, RunArgs, TargetArgs},
    judge::{self, Judging},
    value,
};
use crate::{audit::Command, launch::Found};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    /// Exit code for errors instead of 100; then it also wins over CMD's own.
    #[arg(long, value_name = "N", value_parser = value::exit_code)]
    error_exitcode: Option<i32>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: CheckArgs, found: Found) -> Outcome {
    let CheckArgs {
        run,
        targets,
        judge,
        error_exitcode,
        output,
    } = args;
    let judging = Judging {
        command: Command::Check,
        error_exitcode,
        run,
        targets,
        judge,
        output,
    };
    judge::run(judging, found)
}
