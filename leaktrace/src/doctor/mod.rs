//! What this machine lets leaktrace see, and what to do about the rest.
//!
//! [`read`] gathers facts, the programs' own attempt to attach included; [`diagnose`] is a pure
//! function from facts to advice and readiness; [`render`] writes one screen whose last line is
//! `ready: …` or the one command to run. Readiness is decided by what could be done, never by
//! the kernel's version or the uid.

use serde::{Deserialize, Serialize};

use crate::{
    deputy::{Grant, Through},
    report::{Coverage, CoverageStatus, Tool},
};

mod capability;
mod read;
mod text;

pub use capability::Capability;
pub use read::read;
pub use text::render;

/// Everything that was found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Version and place.
    pub tool: Tool,
    /// Effective user id.
    pub uid: u32,
    /// The kernel's type information.
    pub btf: BtfFacts,
    /// Effective capabilities, CapEff of /proc/self/status.
    pub capabilities: u64,
    /// `none`, `integrity`, `confidentiality`; null if the kernel does not say.
    pub lockdown: Option<String>,
    /// Where tracefs is mounted; null if it is not.
    pub tracefs: Option<String>,
    /// Where bpffs is mounted; null if it is not.
    pub bpffs: Option<String>,
    /// Whether this is the initial pid namespace.
    pub initial_pid_ns: bool,
    /// Who has to load the programs in leaktrace's stead; null if it does so itself.
    #[serde(default)]
    pub deputy: Option<DeputyFacts>,
    /// What happened when the programs were attached.
    pub attempt: Attempt,
}

/// A process that has rights which leaktrace itself has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeputyFacts {
    /// What it may show: `own` processes or `all`; null if there cannot be one.
    pub grant: Option<Grant>,
    /// By whom it is started; null if there cannot be one.
    #[serde(default)]
    pub through: Option<Through>,
    /// What it may, by bits, once it has given up the rest.
    pub capabilities: u64,
}

impl Facts {
    /// What may be done here, by bits: by leaktrace or in its stead.
    fn rights(&self) -> u64 {
        let deputy = self.deputy.map_or(0, |deputy| deputy.capabilities);
        self.capabilities | deputy
    }

    /// Whether what others do may be shown.
    fn shows_others(&self) -> bool {
        let granted = |deputy: DeputyFacts| deputy.grant == Some(Grant::All);
        self.uid == 0 || self.deputy.is_some_and(granted)
    }
}

/// The kernel's type information.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtfFacts {
    /// Its size; 0 if it is not there.
    pub bytes: u64,
    /// Why it cannot be used; null if it can.
    pub error: Option<String>,
    /// Structure members that the programs read and this kernel does not have.
    pub missing: Vec<String>,
    /// Structure members that the programs read.
    pub wanted: u64,
}

/// One attempt to attach every probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Why nothing could be loaded; null if something was.
    pub error: Option<String>,
    /// Every probe of the table.
    pub probes: Vec<Probe>,
    /// The programs in the kernel's functions, which time the parts of exit; no verdict rests on them.
    #[serde(default)]
    pub functions: Vec<Probe>,
    /// What follows for each family.
    pub coverage: Vec<Coverage>,
}

/// A probe and how it fared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Its name in the table.
    pub name: String,
    /// What it hangs on.
    pub hook: String,
    /// Whether nothing goes without it.
    pub need: Need,
    /// How it fared.
    pub outcome: ProbeOutcome,
    /// Why it does not attach; null if it does.
    pub reason: Option<String>,
    /// Instructions that the kernel's verifier went through to accept the program: what a start
    /// takes of time and memory follows it. Null if it was not loaded, or before Linux 5.16.
    pub verified: Option<u32>,
}

/// Whether a probe may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Without it nothing can be traced.
    Required,
    /// Without it a family is covered less.
    Optional,
}

/// How a probe fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// It attaches.
    Attaches,
    /// This kernel does not have its hook.
    Unsupported,
    /// It should attach and does not.
    Broken,
    /// Nothing could be loaded, so it was not tried.
    NotTried,
}

/// What follows from the facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// `leaktrace.doctor/1`.
    pub schema: String,
    /// The facts.
    pub facts: Facts,
    /// Subcommands that work here; empty: none.
    pub ready: Vec<String>,
    /// Sentences: what is missing, what it costs, what to do.
    pub advice: Vec<String>,
    /// The last line: `ready: …`, `run: COMMAND` or `not ready: …`.
    pub conclusion: String,
}

/// Judges the facts.
pub fn diagnose(facts: Facts) -> Diagnosis {
    let blocked = obstacle(&facts);
    let ready: Vec<String> = match blocked {
        None if facts.shows_others() => ["top", "hist", "check"].map(str::to_owned).into(),
        // What others do is shown to root.
        None => ["top -- CMD", "hist -- CMD", "check -- CMD"]
            .map(str::to_owned)
            .into(),
        Some(_) => Vec::new(),
    };
    let conclusion = match &blocked {
        None => format!("ready: {}", ready.join(", ")),
        Some(Obstacle::Run(command)) => format!("run: {command}"),
        Some(Obstacle::Not(why)) => format!("not ready: {why}"),
    };
    Diagnosis {
        schema: "leaktrace.doctor/1".to_owned(),
        advice: advice(&facts),
        facts,
        ready,
        conclusion,
    }
}

impl Diagnosis {
    /// Whether leaktrace can trace here.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

/// What stands in the way.
enum Obstacle {
    /// This command helps.
    Run(String),
    /// No command does.
    Not(String),
}

/// The first thing in the way, from the outermost in: without BTF no privilege helps.
fn obstacle(facts: &Facts) -> Option<Obstacle> {
    let broken = facts
        .attempt
        .probes
        .iter()
        .find(|probe| probe.need == Need::Required && probe.outcome != ProbeOutcome::Attaches);
    if facts.attempt.error.is_none() && broken.is_none() && !facts.attempt.probes.is_empty() {
        return None;
    }
    if let Some(error) = &facts.btf.error {
        return Some(Obstacle::Not(format!(
            "no usable type information in /sys/kernel/btf/vmlinux ({error}); a kernel built \
             with CONFIG_DEBUG_INFO_BTF is needed"
        )));
    }
    if facts.lockdown.as_deref() == Some("confidentiality") {
        return Some(Obstacle::Not(
            "kernel lockdown is at confidentiality, which forbids BPF to read kernel memory; \
             boot with lockdown=integrity or none"
                .to_owned(),
        ));
    }
    if !Capability::missing_required(facts.rights()).is_empty() {
        return Some(Obstacle::Run(if facts.uid == 0 {
            // root without them: a container.
            "docker run --cap-add BPF --cap-add PERFMON --cap-add SYS_PTRACE --pid host …"
                .to_owned()
        } else {
            "sudo leaktrace doctor".to_owned()
        }));
    }
    let why = match (broken, &facts.attempt.error) {
        // This is what it says to run.
        (_, Some(error)) => error
            .strip_suffix("; run `leaktrace doctor`")
            .unwrap_or(error)
            .to_owned(),
        (Some(probe), None) => format!(
            "probe {} does not attach: {}",
            probe.name,
            probe.reason.as_deref().unwrap_or("no reason given")
        ),
        (None, None) => "no probe is known".to_owned(),
    };
    Some(Obstacle::Not(why))
}

fn advice(facts: &Facts) -> Vec<String> {
    let mut advice = Vec::new();
    let missing = Capability::missing_required(facts.rights());
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|capability| capability.name).collect();
        advice.push(format!(
            "{} missing: no program can be loaded",
            names.join(" and ")
        ));
    }
    for capability in Capability::missing_useful(facts.rights()) {
        advice.push(format!(
            "{} missing: {}",
            capability.name, capability.without
        ));
    }
    if !facts.initial_pid_ns {
        advice.push(
            "not in the initial pid namespace: pids are those of the host, and what still lives \
             after CMD cannot be looked up; start the container with --pid host"
                .to_owned(),
        );
    }
    if !facts.btf.missing.is_empty() {
        advice.push(format!(
            "this kernel has no {}: what rests on them is not read",
            facts.btf.missing.join(", ")
        ));
    }
    for family in &facts.attempt.coverage {
        if family.status != CoverageStatus::Full {
            let reason = family.reason.as_deref().unwrap_or("no reason given");
            advice.push(format!("{}: {reason}", family.family));
        }
    }
    advice
}

#[cfg(test)]
#[path = "doctor_tests.rs"]
mod tests;
