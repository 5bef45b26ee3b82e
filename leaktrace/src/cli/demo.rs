//! `leaktrace demo`, and the hidden program that it runs.

use std::io;

use super::{Ending, Failure, Outcome};
use crate::demo;

/// Leaks on purpose under `check` and shows the report.
pub(super) fn run() -> Outcome {
    let failed = |error: io::Error| Failure::internal(format!("demo: {error}"));
    let exe = std::env::current_exe().map_err(failed)?;
    demo::run(&exe, &mut io::stdout())
        .map(Ending::Code)
        .map_err(failed)
}

/// What `demo` runs under `check`.
pub(super) fn leak() -> Outcome {
    demo::leak(&mut io::stdout())
        .map(|()| Ending::Code(0))
        .map_err(|error| Failure::internal(format!("demo: {error}")))
}
