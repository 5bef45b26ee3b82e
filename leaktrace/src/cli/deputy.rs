//! `leaktrace deputy`: what leaktrace starts once more, privileged. Nobody types it.

use clap::Args;

use super::{Ending, Failure, Outcome};
use crate::deputy::{self, Grant};

/// Arguments of `deputy`.
#[derive(Debug, Args)]
pub(super) struct DeputyArgs {
    /// What it may show.
    grant: Grant,
}

pub(super) fn run(args: &DeputyArgs) -> Outcome {
    deputy::serve(args.grant)
        .map(|()| Ending::Code(0))
        .map_err(Failure::internal)
}
