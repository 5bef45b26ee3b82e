//! Judging: from facts, answers and policy to the report.

use std::collections::BTreeMap;

use crate::{
    audit::{
        case::Case,
        finding::{self, Findings},
        location, orphan,
        outcome::{self, Command},
        process, resource,
        rule::ring_pending,
        settle, tolerated, trust,
    },
    census::Answer,
    id::ProcessKey,
    model::facts::Facts,
    policy::Policy,
    report::{self, CoverageStatus, Known, Process, Report, SelfCheck, Settle, Verdict},
    source::{End, Start},
};

/// Judges a run. Deterministic: equal values give equal reports, live and from a capture.
///
/// The exit is that of `check` without `--error-exitcode`; see [`outcome::exit`] for others.
pub fn judge(
    facts: &Facts,
    answers: &[Answer],
    start: &Start,
    end: &End,
    policy: &Policy,
) -> Report {
    let case = Case::new(facts, answers, start, end, policy);
    let mut findings = finding::collect(&case);
    location::put(&case, answers, &mut findings.shown);
    location::put(&case, answers, &mut findings.off);
    let inconclusive_because = trust::inconclusive(&case);
    let policy_use = tolerated::policy(&case, &findings);
    let verdict = if !findings.guilty.is_empty() || !policy_use.complaints.is_empty() {
        Verdict::Findings
    } else if !inconclusive_because.is_empty() {
        Verdict::Inconclusive
    } else {
        Verdict::Clean
    };
    Report {
        schema: report::SCHEMA.to_owned(),
        tool: start.tool.clone(),
        clock: start.clock.clone(),
        command: start.command.clone(),
        policy: policy_use,
        child: end.child,
        exit: outcome::exit(verdict, end, Command::Check, None),
        verdict,
        inconclusive_because,
        not_judged: not_judged(facts, start),
        environment: orphan::environment(facts, answers),
        events: report::Events {
            evicted: facts.evicted,
            ..end.events.clone()
        },
        self_check: SelfCheck {
            compared: facts.self_check.0,
            differed: facts.self_check.1,
            spaces_compared: facts.space_check.0,
            spaces_differed: facts.space_check.1,
        },
        settle: settling(facts, end),
        coverage: start.coverage.clone(),
        known: known(&case, &findings),
        processes: processes(&case, &findings),
        scopes: case.scopes.report(&findings.shown),
        findings: findings.shown,
        off: findings.off,
        errors: findings.errors,
    }
}

/// Families that are not seen, and the rule that needs one in full where it would have had something to
/// say.
fn not_judged(facts: &Facts, start: &Start) -> Vec<String> {
    let families = start
        .coverage
        .iter()
        .filter(|coverage| coverage.status == CoverageStatus::None)
        .map(|coverage| coverage.family.clone());
    let rings = settle::has_unjudged_rings(facts, start);
    let rule = rings.then(|| ring_pending::RULE.id.to_owned());
    families.chain(rule).collect()
}

/// What was waited for, and what of the kernel's teardown was still going on at the deadline:
/// a note, not a finding.
fn settling(facts: &Facts, end: &End) -> Settle {
    let mut settle = end.settle.clone();
    let draining = settle::unsettled(facts)
        .filter(|process| settle::is_exiting(process))
        .filter(|process| {
            // Seen in exit only a moment ago: the record of its end may just be missing.
            let since = process.end.as_ref().map_or(0, |exit| exit.at.0);
            end.judged_ns.saturating_sub(since) > 1_000_000_000
        });
    for process in draining {
        let comm = resource::text(&process.comm);
        settle
            .r#for
            .push(format!("still draining: {} ({comm})", process.key.pid));
    }
    settle
}

fn known(case: &Case<'_>, findings: &Findings) -> Known {
    let suppressed = findings
        .shown
        .iter()
        .filter(|finding| finding.suppressed_by.is_some())
        .count();
    Known {
        caches: case.caches,
        daemons: case.daemons.len() as u64,
        suppressed: suppressed as u64,
    }
}

/// Every process, in the order of their start.
fn processes(case: &Case<'_>, findings: &Findings) -> Vec<Process> {
    let residue = residue_counts(case, findings);
    let mut facts: Vec<_> = case.facts.processes.values().collect();
    facts.sort_by_key(|process| (process.key.start, process.key.pid));
    let mut alike = process::Alike::default();
    facts
        .into_iter()
        .map(|facts| {
            let verdict = if findings.guilty.contains_key(&facts.key) {
                Verdict::Findings
            } else if trust::is_doubtful(case, facts) {
                Verdict::Inconclusive
            } else {
                Verdict::Clean
            };
            let residue = residue.get(&facts.key).copied().unwrap_or(0);
            process::report(case, facts, residue, verdict, &mut alike)
        })
        .collect()
}

/// Things left by creator: findings of their own, and what survivors hold.
fn residue_counts(case: &Case<'_>, findings: &Findings) -> BTreeMap<ProcessKey, u64> {
    let mut counts = findings.residue.clone();
    for left in &case.left_by_survivors {
        if !case.daemons.contains(&left.creator) {
            *counts.entry(left.creator).or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
