//! The project's one door: build the kernel object, test, benchmark, CI.
//!
//! `cargo xtask ebpf`, `cargo xtask test`, `cargo xtask ci`, `cargo xtask bench`. Nothing else
//! knows how these are done; `.ci/run` calls `ci`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a build tool talks to its terminal"
)]

mod audit;
mod bench;
mod ci;
mod cpu;
mod ebpf;
mod fire;
mod fuzz;
mod install;
mod limits;
mod parity;
mod record;
mod rules;
mod run;
mod soak;
mod suites;
mod test;
mod turmoil;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::test::Profile;

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
    /// Run all tests: unit, golden, and as root the scenarios on the running kernel
    Test {
        /// Test the debug build, which is quicker to make, instead of the release build
        #[arg(long)]
        dev: bool,
        /// Passed on to `cargo test`, such as `-p leaktrace-tests settle`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the scenarios and write leaktrace/docs/rule-table.md and rules.md
    Rules {
        /// With the debug build, which is quicker to make
        #[arg(long)]
        dev: bool,
        /// From what the last run of all scenarios proved, without running them again
        #[arg(long)]
        last: bool,
    },
    /// Everything that must hold: format, lints, object, tests, other kernels, documentation, one
    /// bench round
    Ci,
    /// Run the scenarios on other kernels, under QEMU, and compare with leaktrace/docs/kernels.toml
    Vm {
        /// Series such as 6.1, or a release in full; without any, the oldest and the newest of the table
        #[arg(long = "kernel", value_name = "V")]
        kernels: Vec<String>,
        /// Every kernel of the table
        #[arg(long, conflicts_with = "kernels")]
        all: bool,
        /// The machine
        #[arg(long, value_enum, default_value = "x86_64")]
        arch: vm::Arch,
        /// How the machine runs; never chosen by itself, as a /dev/kvm may be unable to
        #[arg(long, value_enum, default_value = "tcg")]
        accel: vm::Accelerator,
        /// Few scenarios, one of each kind
        #[arg(long)]
        quick: bool,
        /// With the programs of the last run, without building
        #[arg(long, conflicts_with = "start")]
        last: bool,
        /// No scenarios: doctor, a clean run, a leak and a parallel build, with this machine's
        /// release build
        #[arg(long, conflicts_with_all = ["quick", "names"])]
        start: bool,
        /// So many parallel builds, one after the other
        #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
        makes: u32,
        /// Start this binary
        #[arg(long, value_name = "PATH", requires = "start")]
        binary: Option<std::path::PathBuf>,
        /// Only scenarios whose name contains one of these
        names: Vec<String>,
    },
    /// Run the test suites of well-known packages under `leaktrace check`, and one leak in each
    Suites {
        /// Use the debug build, which is quicker to make
        #[arg(long)]
        dev: bool,
        /// How often each
        #[arg(long, default_value_t = 1)]
        repeat: u32,
        /// Which; all without a name
        names: Vec<String>,
    },
    /// Compare leaktrace's tables with /proc under each stressor of stress-ng
    Parity {
        /// Use the debug build, which is quicker to make
        #[arg(long)]
        dev: bool,
        /// Seconds each; more where that is not enough for 20 comparisons
        #[arg(long, default_value_t = 5)]
        seconds: u32,
        /// Only these stressors
        names: Vec<String>,
    },
    /// Compare leaktrace's tables with /proc while processes do random things; with and without loss
    Turmoil {
        /// Use the debug build, which is quicker to make
        #[arg(long)]
        dev: bool,
        /// Runs of each kind
        #[arg(long, default_value_t = 20)]
        runs: u64,
        /// Seconds each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// In runs of the second kind one record in so many is dropped, and not counted as lost
        #[arg(long, default_value_t = 10_000)]
        drop: u64,
        /// The first seed; each run has the next one
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Feed mutated files to every decoder, for longer than `test` does
    Fuzz {
        /// CPU time each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Another seed makes other mutations
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only this one: capture, records, policy, suppressions, baseline, report, deputy, words
        decoder: Option<String>,
    },
    /// Check what the dependencies are against .cargo/deny.toml
    Deny,
    /// Run the tests of the pure code under Miri
    Miri {
        /// Only tests whose names contain one of these
        names: Vec<String>,
    },
    /// Watch targets that do as much as they can: many processes, execs, fds; takes minutes
    Fire {
        /// Use the debug build, which is quicker to make
        #[arg(long)]
        dev: bool,
    },
    /// What only shows after a thousand runs, or after an hour
    Soak {
        /// With the debug build, which is quicker to make
        #[arg(long)]
        dev: bool,
        /// With this binary
        #[arg(long, value_name = "PATH", conflicts_with = "dev")]
        binary: Option<std::path::PathBuf>,
        #[command(subcommand)]
        soak: soak::Soak,
    },
    /// Measure what watching costs
    Bench {
        /// One short round, to see that it works
        #[arg(long)]
        quick: bool,
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
        Task::Test { dev, args } => test::test(profile(dev), &args),
        Task::Rules { dev, last } => test::table(profile(dev), last),
        Task::Ci => ci::ci(),
        Task::Vm {
            kernels,
            all,
            arch,
            accel,
            quick,
            last,
            start,
            makes,
            binary,
            names,
        } => vm::vm(&vm::Options {
            kernels,
            all,
            arch,
            accelerator: accel,
            quick,
            last,
            start,
            makes,
            binary,
            names,
        }),
        Task::Parity {
            dev,
            seconds,
            names,
        } => parity::parity(&parity::Options {
            profile: profile(dev),
            seconds,
            names,
        }),
        Task::Turmoil {
            dev,
            runs,
            seconds,
            drop,
            seed,
        } => turmoil::turmoil(&turmoil::Options {
            profile: profile(dev),
            runs,
            seconds,
            drop,
            seed,
        }),
        Task::Suites { dev, repeat, names } => suites::suites(profile(dev), repeat, &names),
        Task::Fuzz {
            seconds,
            seed,
            decoder,
        } => fuzz::fuzz(seconds, seed, decoder.as_deref()),
        Task::Deny => audit::deny(),
        Task::Miri { names } => audit::miri(&names),
        Task::Fire { dev } => fire::fire(profile(dev)),
        Task::Soak { dev, binary, soak } => soak::soak(&soak, profile(dev), binary),
        Task::Bench { quick: true } => bench::bench(&bench::QUICK),
        Task::Bench { quick: false } => bench::bench(&bench::FULL),
    }
}

fn profile(dev: bool) -> Profile {
    if dev { Profile::Dev } else { Profile::Release }
}
