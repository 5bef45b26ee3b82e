//! Trying everything once, for `leaktrace doctor`.

use super::{
    attach::short,
    engine::Engine as _,
    health::{Outcome, Way},
    inside::{self, INSIDE},
    load::{is_for_deputy, load_here},
    options::{ExitTimes, LoadOptions, Scope},
    probe::{self, ITERATORS, PROBES},
    unavailable::Unavailable,
};
use crate::{
    deputy,
    doctor::{Attempt, DeputyFacts, Need, Probe, ProbeOutcome},
    launch::privilege,
};

/// What comes of loading here, or, where this process may not, of a deputy that does.
pub fn attempt() -> (Attempt, Option<DeputyFacts>) {
    match is_for_deputy(Scope::Tree) {
        false => (attempt_here(), None),
        true => {
            let (attempt, facts) = deputy::attempt();
            (attempt, Some(facts))
        }
    }
}

/// Loads and attaches every probe, runs the iterators, and takes all of it out again.
pub fn attempt_here() -> Attempt {
    match load_here(&scope(), std::process::id(), None) {
        Err(why) => Attempt::from(why),
        Ok((mut programs, found)) => {
            let seeded = programs.seed().map_err(|why| short(&format!("{why:#}")));
            let probes = programs
                .outcomes()
                .iter()
                .map(|(probe, outcome)| became(probe, outcome));
            let seeds = match &seeded {
                Ok(_) => iterators(ProbeOutcome::Attaches, None),
                Err(why) => iterators(ProbeOutcome::Broken, Some(why.clone())),
            };
            let verified = |probe: Probe| Probe {
                verified: programs.verified(&probe.name),
                ..probe
            };
            Attempt {
                error: None,
                probes: probes.chain(seeds).map(verified).collect(),
                functions: functions(programs.inside()),
                coverage: found.coverage,
            }
        }
    }
}

/// Every probe and iterator where nothing could be loaded.
fn none_tried(why: &Unavailable) -> Vec<Probe> {
    refused(why)
        .chain(iterators(ProbeOutcome::NotTried, None))
        .collect()
}

impl From<Unavailable> for Attempt {
    fn from(why: Unavailable) -> Attempt {
        Attempt {
            error: Some(why.to_string()),
            probes: none_tried(&why),
            functions: Vec::new(),
            coverage: Vec::new(),
        }
    }
}

/// The whole system, where that may be shown.
fn scope() -> LoadOptions {
    let options = match privilege::may_show_others() {
        true => LoadOptions::system(),
        false => LoadOptions::tree(),
    };
    LoadOptions {
        exit_times: ExitTimes::Told,
        ..options
    }
}

fn became(probe: &probe::Probe, outcome: &Outcome) -> Probe {
    match outcome {
        Outcome::Attached(Way::Tracepoint) => told(probe, ProbeOutcome::Attaches, None),
        Outcome::Attached(Way::Function) => match probe.function {
            Some(function) => Probe {
                hook: format!("kprobe/{}", function.name),
                ..told(probe, ProbeOutcome::Attaches, None)
            },
            None => told(probe, ProbeOutcome::Attaches, None),
        },
        Outcome::NoHook => told(
            probe,
            ProbeOutcome::Unsupported,
            Some(probe.without.to_owned()),
        ),
        Outcome::LeftOut(why) => told(
            probe,
            ProbeOutcome::Unsupported,
            Some(format!("{} ({why})", probe.without)),
        ),
        Outcome::Refused(why) => told(probe, ProbeOutcome::Broken, Some(why.clone())),
    }
}

/// The probes where nothing can be traced: tried, if it was one of them that did not attach.
fn refused(why: &Unavailable) -> impl Iterator<Item = Probe> {
    let tried = match why {
        Unavailable::Probe { outcomes, .. } => outcomes.as_slice(),
        Unavailable::NoBtf(_)
        | Unavailable::BadBtf(_)
        | Unavailable::NoPermission
        | Unavailable::NoDeputy(_)
        | Unavailable::Deputy(_)
        | Unavailable::Others
        | Unavailable::Files(_)
        | Unavailable::Memory { .. }
        | Unavailable::Threads(_)
        | Unavailable::LockedMemory(_)
        | Unavailable::Load(_) => &[],
    };
    PROBES.iter().map(|probe| {
        tried
            .iter()
            .find(|(one, _)| one.program == probe.program)
            .map_or_else(
                || told(probe, ProbeOutcome::NotTried, None),
                |(_, outcome)| became(probe, outcome),
            )
    })
}

fn told(probe: &probe::Probe, outcome: ProbeOutcome, reason: Option<String>) -> Probe {
    Probe {
        name: probe.program.to_owned(),
        hook: format!("tp_btf/{}", probe.hook),
        need: match probe.need {
            probe::Need::Required => Need::Required,
            probe::Need::Optional => Need::Optional,
        },
        outcome,
        reason,
        verified: None,
    }
}

fn iterators(outcome: ProbeOutcome, reason: Option<String>) -> impl Iterator<Item = Probe> + Clone {
    ITERATORS.iter().map(move |(program, iterator)| Probe {
        name: (*program).to_owned(),
        hook: format!("iter/{iterator}"),
        need: Need::Optional,
        outcome,
        reason: reason.clone(),
        verified: None,
    })
}

/// The kernel's functions that time the parts of exit: all or none can be had.
fn functions(inside: &inside::Attached) -> Vec<Probe> {
    INSIDE
        .iter()
        .map(|one| Probe {
            name: one.program.to_owned(),
            hook: one.hook(),
            need: Need::Optional,
            outcome: match inside {
                Ok(_) => ProbeOutcome::Attaches,
                Err(_) => ProbeOutcome::Unsupported,
            },
            reason: inside.as_ref().err().cloned(),
            verified: None,
        })
        .collect()
}
