//! `leaktrace run`: observe and report; the exit status is CMD's.

use clap::Args;

use super::{
    Outcome,
    args::{JudgeArgs, OutputArgs, RunArgs},
    judge::{self, Judging},
};
use crate::{audit::Command, launch::Found};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunCommandArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: RunCommandArgs, found: Found) -> Outcome {
    let RunCommandArgs { run, judge, output } = args;
    let judging = Judging {
        command: Command::Run,
        error_exitcode: None,
        run,
        judge,
        output,
    };
    judge::run(judging, found)
}
