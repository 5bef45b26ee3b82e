//! `leaktrace policy show`.

use clap::{Args, Subcommand};

use super::{Ending, Outcome};
use crate::policy::defaults::Known;

/// Arguments of `policy`.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Print the table of known caches and daemons, which are not findings.
    Show {
        /// The table as shipped (there is no other yet).
        #[arg(long)]
        defaults: bool,
    },
}

pub(super) fn run(args: &PolicyArgs) -> Outcome {
    match args.command {
        PolicyCommand::Show { defaults: _ } => super::say(&Known::default().show())?,
    }
    Ok(Ending::Code(0))
}
