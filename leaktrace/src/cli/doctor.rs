//! `leaktrace doctor`: what works here.

use clap::Args;

use super::{Ending, Outcome, exit};
use crate::{
    bpf::{
        self, LoadOptions,
        health::Outcome as Fared,
        probe::{self, PROBES},
    },
    doctor::{self, Attempt, Need, Probe, ProbeOutcome},
};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// As JSON (`leaktrace.doctor/1`).
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> Outcome {
    let diagnosis = doctor::diagnose(doctor::read(attempt()));
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

/// Loads and attaches as `check` would, and takes everything out again.
fn attempt() -> Attempt {
    match bpf::load(&LoadOptions::tree()) {
        Ok(programs) => Attempt {
            error: None,
            probes: programs.outcomes().iter().map(fared).collect(),
            coverage: programs.coverage().to_vec(),
        },
        Err(why) => Attempt {
            error: Some(why.to_string()),
            probes: PROBES.iter().map(not_tried).collect(),
            coverage: Vec::new(),
        },
    }
}

fn fared((probe, outcome): &(probe::Probe, Fared)) -> Probe {
    let (outcome, reason) = match outcome {
        Fared::Attached => (ProbeOutcome::Attaches, None),
        Fared::NoHook => (ProbeOutcome::Unsupported, Some(outcome.clause())),
        Fared::Refused(_) => (ProbeOutcome::Broken, Some(outcome.clause())),
    };
    Probe {
        outcome,
        reason,
        ..not_tried(probe)
    }
}

fn not_tried(probe: &probe::Probe) -> Probe {
    Probe {
        name: probe.program.to_owned(),
        hook: probe.hook.to_owned(),
        need: match probe.need {
            probe::Need::Required => Need::Required,
            probe::Need::Optional => Need::Optional,
        },
        outcome: ProbeOutcome::NotTried,
        reason: None,
    }
}
