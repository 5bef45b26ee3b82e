//! Observations become findings: level and suppression by policy, and one finding for the same
//! rule, program, site and scope.

use std::collections::BTreeMap;

use crate::{
    audit::{
        case::{Case, Observation},
        resource,
        rule::{self, RuleInfo},
    },
    id::ProcessKey,
    model::facts::ProcessFacts,
    policy::allow::{Matcher, Subject},
    report::{Finding, Instance, Level},
};

/// Instances kept of what is off.
const OFF_INSTANCES: usize = 3;

/// What came of all observations.
#[derive(Default)]
pub(crate) struct Findings {
    /// Errors and notes, by rule, then by the first one's process.
    pub(crate) shown: Vec<Finding>,
    /// What is off.
    pub(crate) off: Vec<Finding>,
    /// Processes with an unsuppressed error.
    pub(crate) guilty: BTreeMap<ProcessKey, u64>,
    /// Things left that are not suppressed, by creator.
    pub(crate) residue: BTreeMap<ProcessKey, u64>,
}

/// What makes observations one finding.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    rule: &'static str,
    level: Level,
    exe: Option<String>,
    site: Option<String>,
    scope: Option<String>,
    suppressed_by: Option<String>,
}

/// Runs every rule and merges what they saw.
pub(crate) fn collect(case: &Case<'_>) -> Findings {
    let matcher = Matcher::new(&case.policy.allow);
    let mut findings = Findings::default();
    for info in rule::ALL.iter().copied() {
        let Some(check) = info.check else { continue };
        let mut observations = check(case);
        observations.sort_by_key(|seen| (seen.process.start, seen.process.pid));
        let merged = merge(case, info, observations, &matcher, &mut findings);
        let (off, shown): (Vec<_>, Vec<_>) =
            merged.into_iter().partition(|f| f.level == Level::Off);
        findings.shown.extend(shown);
        findings.off.extend(off);
    }
    findings
}

fn merge(
    case: &Case<'_>,
    info: &'static RuleInfo,
    observations: Vec<Observation>,
    matcher: &Matcher<'_>,
    findings: &mut Findings,
) -> Vec<Finding> {
    let mut places: BTreeMap<Site, usize> = BTreeMap::new();
    let mut merged: Vec<Finding> = Vec::new();
    for seen in observations {
        let Some(process) = case.process(seen.process) else {
            continue;
        };
        let level = case.level(info, process, seen.level);
        let suppressed_by = suppression(info, &seen, process, matcher);
        if suppressed_by.is_none() {
            if level == Level::Error {
                *findings.guilty.entry(seen.process).or_default() += 1;
            }
            if info.counts_residue() {
                *findings.residue.entry(seen.process).or_default() += 1;
            }
        }
        let site = Site {
            rule: info.id,
            level,
            exe: process.exe.as_deref().map(resource::text),
            site: seen.resource.syscall.clone(),
            scope: seen.scope.clone().or_else(|| case.scopes.of(&seen)),
            suppressed_by,
        };
        match places.get(&site) {
            Some(&place) => add(&mut merged[place], &seen, process),
            None => {
                merged.push(first(case, info, &site, seen, process));
                places.insert(site, merged.len() - 1);
            }
        }
    }
    merged
}

fn suppression(
    info: &RuleInfo,
    seen: &Observation,
    process: &ProcessFacts,
    matcher: &Matcher<'_>,
) -> Option<String> {
    let comm = resource::text(&process.comm);
    let exe = process.exe.as_deref().map(resource::text);
    let subject = Subject {
        rule: info.id,
        name: info.name,
        comm: &comm,
        exe: exe.as_deref(),
        path: seen.resource.path.as_deref(),
        kind: &seen.resource.kind,
        id: seen.resource.id,
    };
    matcher
        .find(&subject)
        .map(|allow| format!("allow:{}", allow.text))
}

fn first(
    case: &Case<'_>,
    info: &RuleInfo,
    site: &Site,
    seen: Observation,
    process: &ProcessFacts,
) -> Finding {
    let message = (info.message)(case, &seen, process);
    let instance = instance(&seen, process);
    Finding {
        rule: info.id.to_owned(),
        name: info.name.to_owned(),
        group: info.group.name().to_owned(),
        level: site.level,
        kind: seen.resource.kind.clone(),
        message,
        process: seen.process,
        pid: instance.pid,
        comm: instance.comm.clone(),
        count: 1,
        instances: vec![instance],
        fingerprint: None,
        scope: site.scope.clone(),
        site: site.site.clone(),
        location: None,
        resource: seen.resource,
        other: seen.other,
        caused: seen.caused,
        kept_alive_by: Vec::new(),
        confirmed_ns: seen.confirmed_ns,
        suppressed_by: site.suppressed_by.clone(),
    }
}

fn add(finding: &mut Finding, seen: &Observation, process: &ProcessFacts) {
    finding.count += 1;
    if finding.level != Level::Off || finding.instances.len() < OFF_INSTANCES {
        finding.instances.push(instance(seen, process));
    }
    finding.caused.extend(seen.caused.iter().cloned());
}

fn instance(seen: &Observation, process: &ProcessFacts) -> Instance {
    Instance {
        process: process.key,
        pid: process.key.pid.0,
        comm: resource::text(&process.comm),
        resource: seen.resource.clone(),
        other: seen.other.clone(),
    }
}
