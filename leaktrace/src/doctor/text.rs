//! The diagnosis as one screen.

use std::fmt::Write;

use super::{BtfFacts, Capability, DeputyFacts, Diagnosis, Facts, Need, Probe, ProbeOutcome};
use crate::{
    deputy::{self, Through},
    report::CoverageStatus,
    sink::{escape_str, human::size},
};

/// The whole screen, ending with the conclusion.
pub fn render(diagnosis: &Diagnosis) -> String {
    let facts = &diagnosis.facts;
    let mut out = String::new();
    let tool = &facts.tool;
    line(
        &mut out,
        "leaktrace",
        &format!("{} on Linux {} {}", tool.version, tool.kernel, tool.arch),
    );
    line(&mut out, "types", &types(&facts.btf));
    line(&mut out, "privileges", &privileges(facts));
    line(&mut out, "way", &way(facts));
    line(
        &mut out,
        "lockdown",
        facts
            .lockdown
            .as_deref()
            .unwrap_or("none (not built in, or not shown)"),
    );
    let mount = |place: &Option<String>| match place {
        Some(place) => escape_str(place),
        None => "not mounted (not needed)".to_owned(),
    };
    line(&mut out, "tracefs", &mount(&facts.tracefs));
    line(&mut out, "bpffs", &mount(&facts.bpffs));
    probes(&mut out, facts);
    functions(&mut out, facts);
    coverage(&mut out, facts);
    if diagnosis.is_ready() {
        line(
            &mut out,
            "cost",
            "while leaktrace runs, every system call on this machine takes about 70 ns longer",
        );
    }
    for (index, sentence) in diagnosis.advice.iter().enumerate() {
        line(
            &mut out,
            if index == 0 { "advice" } else { "" },
            &escape_str(sentence),
        );
    }
    let _ = writeln!(out, "\n{}", escape_str(&diagnosis.conclusion));
    out
}

fn line(out: &mut String, label: &str, text: &str) {
    let _ = writeln!(out, "{label:<11} {text}");
}

fn types(btf: &BtfFacts) -> String {
    match &btf.error {
        Some(error) => format!("none: {}", escape_str(error)),
        None => {
            let found = btf.wanted - btf.missing.len() as u64;
            format!(
                "BTF, {}, {found} of {} members found",
                size(btf.bytes),
                btf.wanted
            )
        }
    }
}

fn privileges(facts: &Facts) -> String {
    format!("uid {}, {}", facts.uid, names(facts.capabilities))
}

fn names(capabilities: u64) -> String {
    let present = Capability::present(capabilities);
    let names: Vec<&str> = present.iter().map(|capability| capability.name).collect();
    match names.is_empty() {
        true => "no capability of use".to_owned(),
        false => names.join(" "),
    }
}

/// Who would load the programs, and whose CMD is.
fn way(facts: &Facts) -> String {
    match (facts.uid, facts.deputy) {
        (0, _) => "root: leaktrace loads the programs, CMD runs as whoever ran sudo".to_owned(),
        (_, None) => "leaktrace's own capabilities; CMD gets none of them".to_owned(),
        (_, Some(DeputyFacts { grant: None, .. })) => {
            "none: neither rights of its own, nor a deputy by sudo or systemd".to_owned()
        }
        (
            _,
            Some(DeputyFacts {
                grant: Some(grant),
                through,
                capabilities,
            }),
        ) => format!(
            "{} starts `leaktrace {} {}`, which keeps {}; CMD and all else stay the user's",
            match through {
                Some(Through::Systemd) => "systemd",
                Some(Through::Sudo) | None => "sudo",
            },
            deputy::COMMAND,
            grant.word(),
            names(capabilities),
        ),
    }
}

fn probes(out: &mut String, facts: &Facts) {
    let probes = &facts.attempt.probes;
    let attached = probes
        .iter()
        .filter(|probe| probe.outcome == ProbeOutcome::Attaches)
        .count();
    let verified: u64 = probes
        .iter()
        .filter_map(|probe| probe.verified.map(u64::from))
        .sum();
    let mut text = format!("{attached} of {} attach", probes.len());
    if verified > 0 {
        let _ = write!(text, ", {verified} instructions verified");
    }
    line(out, "probes", &text);
    for probe in probes {
        one(out, probe);
    }
}

/// A line where none of them can be had: one reason is that of all.
fn functions(out: &mut String, facts: &Facts) {
    let functions = &facts.attempt.functions;
    let Some(first) = functions.first() else {
        return;
    };
    if let Some(why) = &first.reason {
        let text = format!(
            "not had, so the parts of exit are not timed: {}",
            escape_str(why)
        );
        line(out, "functions", &text);
        return;
    }
    line(out, "functions", "the parts of exit are timed");
    for probe in functions {
        one(out, probe);
    }
}

fn one(out: &mut String, probe: &Probe) {
    let need = match probe.need {
        Need::Required => "required",
        Need::Optional => "optional",
    };
    let outcome = match probe.outcome {
        ProbeOutcome::Attaches => "attaches",
        ProbeOutcome::Unsupported => "not in this kernel",
        ProbeOutcome::Broken => "BROKEN",
        ProbeOutcome::NotTried => "not tried",
    };
    let reason = probe
        .reason
        .as_deref()
        .map(|why| format!(": {}", escape_str(why)));
    let _ = writeln!(
        out,
        "  {:<20} {:<28} {need}  {outcome}{}",
        probe.name,
        probe.hook,
        reason.unwrap_or_default()
    );
}

/// Full families on one line; why others are not stands under advice.
fn coverage(out: &mut String, facts: &Facts) {
    for (status, label) in [
        (CoverageStatus::Full, "full"),
        (CoverageStatus::Partial, "partial"),
        (CoverageStatus::None, "none"),
    ] {
        let of = facts
            .attempt
            .coverage
            .iter()
            .filter(|family| family.status == status);
        let names: Vec<&str> = of.map(|family| family.family.as_str()).collect();
        if !names.is_empty() {
            line(out, "coverage", &format!("{label}: {}", names.join(", ")));
        }
    }
}
