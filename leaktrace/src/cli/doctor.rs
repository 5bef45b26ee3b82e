//! `leaktrace doctor`: what works here.

use clap::Args;

use super::{Ending, Outcome, exit};
use crate::{bpf, doctor};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// As JSON (`leaktrace.doctor/1`).
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> Outcome {
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
