//! What the cases are, and which findings each of them has.

use std::collections::{BTreeMap, BTreeSet};

use super::TEXT_AT_MOST;
use crate::{
    id::ProcessKey,
    report::{Finding, Level, Process, Report},
    sink::{
        escape_str, finding, human,
        text::{self, Page},
    },
};

/// One `testcase`. Empty texts are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    /// `leaktrace.scope`, `leaktrace.program` or `leaktrace`.
    pub(super) class: &'static str,
    /// The scope or program, escaped.
    pub(super) name: String,
    /// How long it took.
    pub(super) seconds: Option<f64>,
    /// Rule of its first error.
    pub(super) rule: String,
    /// What the first error says, and how many there are.
    pub(super) message: String,
    /// Every error.
    pub(super) failures: String,
    /// Every note.
    pub(super) notes: String,
    /// Why nothing is claimed.
    pub(super) inconclusive: Option<String>,
}

/// What a case is named after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Scope(String),
    /// Findings that came about in no scope, where there are some.
    OutsideScopes,
    Program(String),
}

impl Subject {
    fn class(&self) -> &'static str {
        match self {
            Subject::Scope(_) | Subject::OutsideScopes => "leaktrace.scope",
            Subject::Program(_) => "leaktrace.program",
        }
    }

    fn name(&self) -> String {
        match self {
            Subject::Scope(name) | Subject::Program(name) => escape_str(name),
            Subject::OutsideScopes => "(outside every scope)".to_owned(),
        }
    }
}

/// Every case, in the order in which they began; what says that evidence was lost comes first.
pub(super) fn of(report: &Report) -> Vec<Case> {
    let scoped = !report.scopes.is_empty();
    let processes: BTreeMap<ProcessKey, &Process> =
        report.processes.iter().map(|it| (it.key, it)).collect();
    let mut order: Vec<Subject> = Vec::new();
    let mut seconds: BTreeMap<Subject, f64> = BTreeMap::new();
    let mut findings: BTreeMap<Subject, Vec<&Finding>> = BTreeMap::new();
    let mut known: BTreeSet<Subject> = BTreeSet::new();
    for (subject, took) in subjects(report) {
        *seconds.entry(subject.clone()).or_default() += took;
        if known.insert(subject.clone()) {
            order.push(subject);
        }
    }
    for finding in finding::shown(report) {
        let subject = match (scoped, &finding.scope) {
            (true, Some(scope)) => Subject::Scope(scope.clone()),
            (true, None) => Subject::OutsideScopes,
            (false, _) => Subject::Program(
                processes
                    .get(&finding.process)
                    .map_or_else(|| finding.comm.clone(), |process| program(process)),
            ),
        };
        if known.insert(subject.clone()) {
            order.push(subject.clone());
        }
        findings.entry(subject).or_default().push(finding);
    }
    let page = Page::new(report, None);
    let mut cases: Vec<Case> = inconclusive(report)
        .into_iter()
        .chain(complaints(report))
        .collect();
    cases.extend(order.into_iter().map(|subject| {
        let findings = findings.remove(&subject).unwrap_or_default();
        Case {
            class: subject.class(),
            name: subject.name(),
            seconds: seconds.get(&subject).copied(),
            ..case(&page, &findings)
        }
    }));
    cases
}

fn program(process: &Process) -> String {
    match &process.exe {
        Some(exe) => exe.clone(),
        None => process.comm.clone(),
    }
}

/// What was seen, with how long it took in s: scopes, where there are some, else programs.
fn subjects(report: &Report) -> Vec<(Subject, f64)> {
    let took = |begin: u64, end: Option<u64>| {
        end.map_or(0.0, |end| end.saturating_sub(begin) as f64 / 1e9)
    };
    if report.scopes.is_empty() {
        return report
            .processes
            .iter()
            .map(|it| (Subject::Program(program(it)), took(it.start_ns, it.end_ns)))
            .collect();
    }
    report
        .scopes
        .iter()
        .map(|it| {
            (
                Subject::Scope(it.name.clone()),
                took(it.begin_ns, it.end_ns),
            )
        })
        .collect()
}

fn inconclusive(report: &Report) -> Option<Case> {
    (!report.inconclusive_because.is_empty()).then(|| Case {
        class: "leaktrace",
        name: "(evidence)".to_owned(),
        inconclusive: Some(joined(
            report
                .inconclusive_because
                .iter()
                .map(|why| escape_str(why)),
        )),
        ..Case::default()
    })
}

/// Suppressions that fail the run by themselves.
fn complaints(report: &Report) -> Option<Case> {
    let complaints = &report.policy.complaints;
    (!complaints.is_empty()).then(|| Case {
        class: "leaktrace",
        name: "(suppressions)".to_owned(),
        rule: "suppressions".to_owned(),
        message: human::counted(complaints.len() as u64, "complaint", "complaints"),
        failures: joined(complaints.iter().map(|it| escape_str(it))),
        ..Case::default()
    })
}

fn case(page: &Page<'_>, findings: &[&Finding]) -> Case {
    let (errors, notes): (Vec<&Finding>, Vec<&Finding>) = findings
        .iter()
        .partition(|finding| finding.level == Level::Error);
    let blocks = |findings: &[&Finding]| {
        joined(
            findings
                .iter()
                .map(|finding| text::block(page, finding).join("\n")),
        )
    };
    let first = errors.first();
    let more = match errors.len() {
        0 | 1 => String::new(),
        n => format!(
            " (and {} more)",
            human::counted(n as u64 - 1, "error", "errors")
        ),
    };
    Case {
        rule: first.map(|it| finding::title(it)).unwrap_or_default(),
        message: first
            .map(|it| format!("{}{more}", cut_text(finding::sentence(it))))
            .unwrap_or_default(),
        failures: blocks(&errors),
        notes: blocks(&notes),
        ..Case::default()
    }
}

/// Texts, one after the other, up to a limit.
fn joined(texts: impl Iterator<Item = String>) -> String {
    let mut whole = String::new();
    for text in texts {
        if !whole.is_empty() {
            whole.push('\n');
        }
        whole.push_str(&text);
        if whole.len() > TEXT_AT_MOST {
            break;
        }
    }
    cut_text(whole)
}

fn cut_text(mut text: String) -> String {
    if text.len() > TEXT_AT_MOST {
        text.truncate(text.floor_char_boundary(TEXT_AT_MOST));
        text.push_str("… (all in -f json:FILE)");
    }
    text
}

/// `kept` of the cases, those that do not pass first, and one that says what is missing.
pub(super) fn cut(cases: &[Case], kept: usize) -> Vec<Case> {
    if kept >= cases.len() {
        return cases.to_vec();
    }
    let fails = |case: &&Case| !case.failures.is_empty() || case.inconclusive.is_some();
    let failing = cases.iter().filter(fails);
    let passing = cases.iter().filter(|case| !fails(case));
    let mut all = failing.chain(passing);
    let mut cut: Vec<Case> = all.by_ref().take(kept).cloned().collect();
    let (mut failed, mut passed) = (0, 0);
    for case in all {
        match fails(&case) {
            true => failed += 1,
            false => passed += 1,
        }
    }
    let name = format!(
        "({} more: {} failed, {} passed)",
        human::count(failed + passed),
        human::count(failed),
        human::count(passed)
    );
    let failures = match failed {
        0 => String::new(),
        _ => "there is no room for these here; all in -f json:FILE".to_owned(),
    };
    cut.push(Case {
        class: "leaktrace",
        name,
        rule: "leaktrace".to_owned(),
        message: failures.clone(),
        failures,
        ..Case::default()
    });
    cut
}
