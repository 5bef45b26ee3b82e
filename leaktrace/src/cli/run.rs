//! `leaktrace run`: observe and report; the exit status is CMD's.

use clap::Args;

use super::{
    Outcome,
    args::{JudgeArgs, OutputArgs, RunArgs, TargetArgs},
    judge::{self, Judging},
};
use crate::{audit::Command, launch::Found};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunCommandArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: RunCommandArgs, found: Found) -> Outcome {
    let RunCommandArgs {
        run,
        targets,
        judge,
        output,
    } = args;
    let judging = Judging {
        command: Command::Run,
        error_exitcode: None,
        run,
        targets,
        judge,
        output,
    };
    judge::run(judging, found)
}
