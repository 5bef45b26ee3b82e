//! Several reports as one: of shards of a test suite, say.

use std::collections::BTreeMap;

use super::{
    Because, Child, Coverage, CpuEvents, Events, Exit, FamilyEvents, Finding, PolicyFile, Report,
    SCHEMA, SelfCheck, Settle, Verdict,
};
use crate::sink::escape::shortened;

/// Reads a report as `-f json` writes it.
///
/// # Errors
/// It is none, or one of another version; a clause.
pub fn read(bytes: &[u8]) -> Result<Report, String> {
    let report: Report = serde_json::from_slice(bytes).map_err(|error| {
        let error = shortened(&error.to_string());
        format!("is no report of -f json ({error}); write one with -f json:FILE")
    })?;
    if report.schema != SCHEMA {
        let schema = shortened(&report.schema);
        return Err(format!("is of {schema}; this leaktrace reads {SCHEMA}"));
    }
    Ok(report)
}

/// Joins reports; `None` if there are none. What is one thing of each run becomes the worst of
/// them, what is counted is added up, processes and findings are put one behind the other;
/// findings of one fingerprint and scope become one.
pub fn merge(reports: Vec<Report>) -> Option<Report> {
    reports.into_iter().reduce(pair)
}

fn pair(one: Report, other: Report) -> Report {
    let verdict = worse(one.verdict, other.verdict);
    // The earlier clock is the time zero of what is shown.
    let (clock, tool) = match one.clock.realtime_ns <= other.clock.realtime_ns {
        true => (one.clock, one.tool),
        false => (other.clock, other.tool),
    };
    Report {
        schema: one.schema,
        tool,
        clock,
        command: match one.command == other.command {
            true => one.command,
            false => Vec::new(),
        },
        policy: policy(one.policy, other.policy),
        child: child(one.child, other.child),
        exit: exit(one.exit, other.exit),
        verdict,
        inconclusive_because: union(one.inconclusive_because, other.inconclusive_because),
        not_judged: union(one.not_judged, other.not_judged),
        environment: union(one.environment, other.environment),
        events: events(one.events, &other.events),
        self_check: SelfCheck {
            compared: one.self_check.compared + other.self_check.compared,
            differed: one.self_check.differed + other.self_check.differed,
            spaces_compared: one.self_check.spaces_compared + other.self_check.spaces_compared,
            spaces_differed: one.self_check.spaces_differed + other.self_check.spaces_differed,
        },
        settle: Settle {
            waited_ns: one.settle.waited_ns.saturating_add(other.settle.waited_ns),
            r#for: union(one.settle.r#for, other.settle.r#for),
        },
        coverage: coverage(one.coverage, other.coverage),
        known: super::Known {
            caches: one.known.caches + other.known.caches,
            daemons: one.known.daemons + other.known.daemons,
            suppressed: one.known.suppressed + other.known.suppressed,
        },
        processes: one.processes.into_iter().chain(other.processes).collect(),
        scopes: one.scopes.into_iter().chain(other.scopes).collect(),
        findings: findings(one.findings, other.findings),
        off: Vec::new(),
        errors: Vec::new(),
    }
}

/// The file, if both had the same; a suppression of both is one that was used as often as in
/// both together.
fn policy(one: PolicyFile, other: PolicyFile) -> PolicyFile {
    let (path, sha256) = match (&one.path, &one.sha256) == (&other.path, &other.sha256) {
        true => (one.path, one.sha256),
        false => (None, None),
    };
    let mut suppressions = one.suppressions;
    for more in other.suppressions {
        let same = suppressions
            .iter_mut()
            .find(|it| (&it.form, &it.source) == (&more.form, &more.source));
        match same {
            Some(same) => same.used += more.used,
            None => suppressions.push(more),
        }
    }
    PolicyFile {
        path,
        sha256,
        suppressions,
        baseline: one
            .baseline
            .filter(|it| Some(it) == other.baseline.as_ref()),
        complaints: union(one.complaints, other.complaints),
    }
}

/// Findings outweigh missing evidence, as in one run.
fn worse(one: Verdict, other: Verdict) -> Verdict {
    let rank = |verdict| match verdict {
        Verdict::Clean => 0,
        Verdict::Inconclusive => 1,
        Verdict::Findings => 2,
    };
    match rank(one) >= rank(other) {
        true => one,
        false => other,
    }
}

/// In the precedence of `check`: leaktrace failed, CMD's own, findings, inconclusive, clean.
fn exit(one: Exit, other: Exit) -> Exit {
    let rank = |exit: Exit| match exit.because {
        Because::Internal => 6,
        Because::Usage => 5,
        Because::Child if exit.code != 0 => 4,
        Because::Findings => 3,
        Because::Inconclusive => 2,
        Because::Unavailable => 1,
        Because::Child | Because::Clean => 0,
    };
    match rank(one) >= rank(other) {
        true => one,
        false => other,
    }
}

/// The first that did not succeed.
fn child(one: Child, other: Child) -> Child {
    match (one.signal, one.exit_code) {
        (None, Some(0) | None) => other,
        (Some(_), _) | (None, Some(_)) => one,
    }
}

fn union(mut one: Vec<String>, other: Vec<String>) -> Vec<String> {
    for word in other {
        if !one.contains(&word) {
            one.push(word);
        }
    }
    one
}

fn events(mut one: Events, other: &Events) -> Events {
    one.produced += other.produced;
    one.received += other.received;
    one.lost += other.lost;
    // Not counted in one of them: not known in all.
    one.not_run = one.not_run.zip(other.not_run).map(|(a, b)| a + b);
    for (family, counts) in &other.by_family {
        let FamilyEvents { received, lost } = one.by_family.entry(family.clone()).or_default();
        *received += counts.received;
        *lost += counts.lost;
    }
    one.vital_lost += other.vital_lost;
    one.stacks_left_out += other.stacks_left_out;
    one.evicted += other.evicted;
    for (cpu, counts) in &other.by_cpu {
        let CpuEvents {
            produced,
            received,
            lost,
        } = one.by_cpu.entry(*cpu).or_default();
        *produced += counts.produced;
        *received += counts.received;
        *lost += counts.lost;
    }
    one
}

/// Of each family the least.
fn coverage(one: Vec<Coverage>, other: Vec<Coverage>) -> Vec<Coverage> {
    let mut all: BTreeMap<String, Coverage> = BTreeMap::new();
    let mut order = Vec::new();
    for coverage in one.into_iter().chain(other) {
        match all.get_mut(&coverage.family) {
            None => {
                order.push(coverage.family.clone());
                all.insert(coverage.family.clone(), coverage);
            }
            Some(known) if coverage.status < known.status => *known = coverage,
            Some(_) => {}
        }
    }
    order
        .iter()
        .filter_map(|family| all.remove(family))
        .collect()
}

fn findings(one: Vec<Finding>, other: Vec<Finding>) -> Vec<Finding> {
    let mut all = one;
    for finding in other {
        let same = |known: &&mut Finding| {
            known.fingerprint.is_some()
                && known.fingerprint == finding.fingerprint
                && known.rule == finding.rule
                && known.level == finding.level
                && known.scope == finding.scope
                && known.suppressed_by == finding.suppressed_by
        };
        match all.iter_mut().find(same) {
            Some(known) => {
                known.count += finding.count;
                known.instances.extend(finding.instances);
                known.caused.extend(finding.caused);
                known.kept_alive_by.extend(finding.kept_alive_by);
            }
            None => all.push(finding),
        }
    }
    all
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
