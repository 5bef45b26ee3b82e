//! Observations become findings: level and suppression by policy, and one finding for the same
//! rule, program, site and scope.

use std::collections::BTreeMap;

use crate::{
    audit::{
        case::{Case, Observation},
        fingerprint::Identities,
        resource,
        rule::{self, RuleInfo},
        stack,
    },
    id::ProcessKey,
    model::facts::ProcessFacts,
    policy::{
        allow::{self, Subject},
        baseline::{self, Baseline, Question},
        fingerprint::{self, Identity},
    },
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
    /// How often each suppression of the policy fitted.
    pub(crate) used: Vec<u64>,
    /// Findings of the baseline that were there again.
    pub(crate) again: u64,
    /// Errors that no suppression covers, those of the baseline included: what a new baseline
    /// would have.
    pub(crate) errors: Vec<baseline::Known>,
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

/// An observation, and what the policy says of it.
struct Seen<'a> {
    seen: Observation,
    process: &'a ProcessFacts,
    /// Its name.
    comm: String,
    level: Level,
    scope: Option<String>,
    /// The suppression that fits.
    allow: Option<usize>,
    /// None of what is off.
    identity: Option<Identity>,
    fingerprint: Option<String>,
    /// Whether the baseline has it.
    known: bool,
}

/// Runs every rule and merges what they saw.
pub(crate) fn collect(case: &Case<'_>) -> Findings {
    let mut identities = Identities::new(case);
    let mut findings = Findings {
        used: vec![0; case.policy.allow.len()],
        ..Findings::default()
    };
    for info in rule::ALL.iter().copied() {
        let Some(check) = info.check else { continue };
        let mut observations = check(case);
        observations.sort_by_key(|seen| (seen.process.start, seen.process.pid));
        let mut all: Vec<Seen<'_>> = observations
            .into_iter()
            .filter_map(|seen| held_against(case, info, seen, &mut identities))
            .collect();
        name(case, &mut all);
        let (off, shown): (Vec<_>, Vec<_>) = merge(case, info, all, &mut findings)
            .into_iter()
            .partition(|f| f.level == Level::Off);
        findings.shown.extend(shown);
        findings.off.extend(off);
    }
    findings
}

/// Level and suppression of one observation.
fn held_against<'a>(
    case: &Case<'a>,
    info: &RuleInfo,
    mut seen: Observation,
    identities: &mut Identities<'_>,
) -> Option<Seen<'a>> {
    let process = case.process(seen.process)?;
    let level = case.level(info, process, seen.level);
    if stack::is_wanted(case.facts, level) {
        case.put_stacks(&mut seen);
    }
    let scope = seen.scope.clone().or_else(|| case.scopes.of(&seen));
    let allow = suppression(case, info, &seen, process, scope.as_deref());
    let identity =
        (level != Level::Off).then(|| identities.of(info.id, &seen, process, scope.as_deref()));
    Some(Seen {
        seen,
        process,
        comm: resource::text(case.comm(process)),
        level,
        scope,
        allow,
        identity,
        fingerprint: None,
        known: false,
    })
}

/// Gives the observations of a rule their fingerprints, and finds out which are known.
fn name(case: &Case<'_>, all: &mut [Seen<'_>]) {
    let known = case.policy.baseline.as_ref();
    let known = known.map_or(&[][..], |baseline| &baseline.known);
    let mut named: Vec<&mut Seen<'_>> = all.iter_mut().filter(|it| it.identity.is_some()).collect();
    let identities: Vec<(Identity, Question)> = named
        .iter_mut()
        .filter_map(|it| {
            let question = match it.allow {
                None => Question::Known,
                Some(_) => Question::NameOnly,
            };
            Some((it.identity.clone()?, question))
        })
        .collect();
    let matched = baseline::hold_against(known, &identities);
    let outcome = matched.fingerprints.into_iter().zip(matched.known);
    for (it, (fingerprint, known)) in named.into_iter().zip(outcome) {
        it.fingerprint = Some(fingerprint);
        it.known = known;
    }
}

fn merge(
    case: &Case<'_>,
    info: &'static RuleInfo,
    all: Vec<Seen<'_>>,
    findings: &mut Findings,
) -> Vec<Finding> {
    let mut places: BTreeMap<Site, usize> = BTreeMap::new();
    let mut merged: Vec<Finding> = Vec::new();
    for mut it in all {
        let suppressed_by = suppressed_by(case, &it);
        count(info, &mut it, suppressed_by.as_deref(), findings);
        let site = Site {
            rule: info.id,
            level: it.level,
            exe: it.process.exe.as_deref().map(resource::text),
            site: stack::site(&it.seen.resource.stack)
                .map(str::to_owned)
                .or_else(|| it.seen.resource.syscall.clone()),
            scope: it.scope.clone(),
            suppressed_by,
        };
        match places.get(&site) {
            Some(&place) => add(&mut merged[place], &it),
            None => {
                merged.push(first(case, info, &site, it));
                places.insert(site, merged.len() - 1);
            }
        }
    }
    merged
}

/// `allow:…`, or `baseline:` and the fingerprint of the first of its group.
fn suppressed_by(case: &Case<'_>, it: &Seen<'_>) -> Option<String> {
    if let Some(allow) = it.allow {
        return Some(format!("allow:{}", case.policy.allow[allow].text));
    }
    let fingerprint = it.fingerprint.as_deref().filter(|_| it.known)?;
    let group = fingerprint::parse(fingerprint).map_or(fingerprint, |(group, _)| group);
    Some(format!("baseline:{group}"))
}

fn count(info: &RuleInfo, it: &mut Seen<'_>, suppressed_by: Option<&str>, findings: &mut Findings) {
    if let Some(allow) = it.allow {
        findings.used[allow] += 1;
    }
    findings.again += u64::from(it.known);
    if it.level == Level::Error && it.allow.is_none() {
        let identity = it.identity.take();
        let named = it.fingerprint.clone().zip(identity);
        findings.errors.extend(Baseline::of(named).known);
    }
    if suppressed_by.is_some() {
        return;
    }
    if it.level == Level::Error {
        *findings.guilty.entry(it.seen.process).or_default() += 1;
    }
    if info.counts_residue() {
        *findings.residue.entry(it.seen.process).or_default() += 1;
    }
}

fn suppression(
    case: &Case<'_>,
    info: &RuleInfo,
    seen: &Observation,
    process: &ProcessFacts,
    scope: Option<&str>,
) -> Option<usize> {
    if case.policy.allow.is_empty() {
        return None;
    }
    let comm = resource::text(case.comm(process));
    let exe = process.exe.as_deref().map(resource::text);
    let id = seen.resource.id.map(|id| id.to_string());
    let subject = Subject {
        rule: info.id,
        comm: &comm,
        exe: exe.as_deref(),
        path: seen.resource.path.as_deref(),
        kind: &seen.resource.kind,
        id: id.as_deref(),
        scope,
        stack: &seen.resource.stack,
    };
    allow::find(&case.policy.allow, &subject, case.today())
}

fn first(case: &Case<'_>, info: &RuleInfo, site: &Site, it: Seen<'_>) -> Finding {
    let instance = instance(&it);
    let seen = it.seen;
    let message = (info.message)(case, &seen, it.process);
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
        fingerprint: it.fingerprint,
        scope: site.scope.clone(),
        site: site.site.clone(),
        location: None,
        resource: seen.resource,
        other: seen.other,
        caused: seen.caused,
        kept_alive_by: seen.kept_by,
        confirmed_ns: seen.confirmed_ns,
        suppressed_by: site.suppressed_by.clone(),
    }
}

fn add(finding: &mut Finding, it: &Seen<'_>) {
    finding.count += 1;
    if finding.level != Level::Off || finding.instances.len() < OFF_INSTANCES {
        finding.instances.push(instance(it));
    }
    finding.caused.extend(it.seen.caused.iter().cloned());
    // Which process came first may differ from run to run; the least fingerprint does not.
    let rank = |text: &Option<String>| text.as_deref().and_then(fingerprint::parse).map(owned);
    if rank(&it.fingerprint) < rank(&finding.fingerprint) {
        finding.fingerprint.clone_from(&it.fingerprint);
    }
}

fn owned((group, ordinal): (&str, usize)) -> (String, usize) {
    (group.to_owned(), ordinal)
}

fn instance(it: &Seen<'_>) -> Instance {
    Instance {
        process: it.process.key,
        pid: it.process.key.pid.0,
        comm: it.comm.clone(),
        fingerprint: it.fingerprint.clone(),
        resource: it.seen.resource.clone(),
        other: it.seen.other.clone(),
    }
}
