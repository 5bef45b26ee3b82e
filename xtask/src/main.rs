//! The project's one door: build the kernel object, test, benchmark, CI.
//!
//! `cargo xtask ebpf`, `cargo xtask test`, `cargo xtask ci`, `cargo xtask bench`. Nothing else
//! knows how these are done; `.ci/run` calls `ci`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a build tool talks to its terminal"
)]

mod ebpf;
mod install;
mod record;
mod run;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests and measures leaktrace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Rebuild the committed kernel object from leaktrace-ebpf
    Ebpf {
        /// Rebuild elsewhere, and fail if the committed object is not the one of these sources
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let outcome = perform(Cli::parse().task);
    if let Err(error) = outcome {
        // Not by returning it: RUST_BACKTRACE would bury the sentence.
        eprintln!("xtask: error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Ebpf { check: false } => ebpf::build(),
        Task::Ebpf { check: true } => ebpf::check(),
    }
}
