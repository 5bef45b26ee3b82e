//! `leaktrace doctor`: what works here.

use std::{ffi::OsString, time::Duration};

use clap::Args;

use super::{Ending, Outcome, exit, parity, value};
use crate::{bpf, doctor, launch::Found};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// As JSON (`leaktrace.doctor/1`; with --parity `leaktrace.parity/1`).
    #[arg(long)]
    pub(super) json: bool,
    /// Compare leaktrace's tables with what /proc lists, of every process, of those given by -p,
    /// or of CMD's; exit 100 if they differ.
    #[arg(long)]
    parity: bool,
    /// Only this process; repeatable.
    #[arg(
        short,
        long,
        value_name = "PID",
        requires = "parity",
        conflicts_with = "command"
    )]
    pub(super) pid: Vec<u32>,
    /// Go on comparing for this time, not once.
    #[arg(long, value_name = "TIME", value_parser = value::duration, requires = "parity", conflicts_with = "command")]
    pub(super) duration: Option<Duration>,
    /// Time between two comparisons [default: 250ms].
    #[arg(long, value_name = "TIME", value_parser = value::duration, requires = "parity")]
    pub(super) every: Option<Duration>,
    /// Freeze CMD's processes for the moment of each comparison, by a cgroup v2 of their own: for
    /// those that never stand still.
    #[arg(long, requires = "command")]
    pub(super) freeze: bool,
    /// Compare when all of CMD's processes have stopped themselves, then let them go on.
    #[arg(long, hide = true, requires = "parity", conflicts_with_all = ["every", "freeze"])]
    pub(super) stops: bool,
    /// CMD and its arguments: compare while it runs.
    #[arg(last = true, value_name = "CMD", requires = "parity")]
    pub(super) command: Vec<OsString>,
}

pub(super) fn run(args: DoctorArgs, found: Found) -> Outcome {
    if args.parity {
        return parity::run(args, found);
    }
    let diagnosis = doctor::diagnose(doctor::read(bpf::attempt()));
    let text = match args.json {
        true => serde_json::to_string_pretty(&diagnosis).map_err(anyhow::Error::new)? + "\n",
        false => doctor::render(&diagnosis),
    };
    super::say(&text)?;
    Ok(Ending::Code(match diagnosis.is_ready() {
        true => 0,
        false => exit::UNAVAILABLE,
    }))
}
