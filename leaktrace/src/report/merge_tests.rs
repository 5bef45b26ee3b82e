#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{
    audit::fixture::{Run, sysv},
    model::facts::Kind,
    report::{CoverageStatus, Level},
};

fn leaky(pid: u32) -> Report {
    let mut run = Run::new();
    let child = run.process(pid, run.root(), 10, &["ipcmk"]);
    run.exits(child, 30, 0);
    run.creates_sysv(child, 20, Kind::SysvShm, 7);
    run.answer(|_| sysv(Some(pid)));
    let mut report = run.judge();
    for finding in &mut report.findings {
        finding.fingerprint = Some("f".to_owned());
    }
    report
}

#[test]
fn one_report_stays_as_it_is() {
    let report = leaky(5000);
    assert_eq!(merge(vec![report.clone()]), Some(report));
    assert_eq!(merge(Vec::new()), None);
}

#[test]
fn the_worst_counts_and_counts_are_added_up() {
    let clean = Run::new().judge();
    for reports in [
        vec![clean.clone(), leaky(5000)],
        vec![leaky(5000), clean.clone()],
    ] {
        let merged = merge(reports).unwrap();
        assert_eq!(merged.verdict, Verdict::Findings);
        assert_eq!(merged.exit.code, 100);
        assert_eq!(merged.events.received, 824);
        assert_eq!(merged.processes.len(), 3);
        assert_eq!(merged.findings.len(), 1);
    }
}

#[test]
fn the_same_finding_of_two_runs_is_one_with_both_instances() {
    let mut other = leaky(6000);
    let merged = merge(vec![leaky(5000), other.clone()]).unwrap();
    assert_eq!(merged.findings.len(), 1);
    assert_eq!(merged.findings[0].count, 2);
    assert_eq!(merged.findings[0].instances.len(), 2);
    other.findings[0].level = Level::Note;
    assert_eq!(merge(vec![leaky(5000), other]).unwrap().findings.len(), 2);
}

#[test]
fn missing_evidence_of_one_run_is_missing_in_all() {
    let mut blind = Run::new().judge();
    blind.verdict = Verdict::Inconclusive;
    blind.inconclusive_because = vec!["12 records lost".to_owned()];
    blind.exit = Exit {
        code: 75,
        because: Because::Inconclusive,
    };
    blind.not_judged = vec!["ring".to_owned()];
    blind.events.not_run = None;
    blind.coverage = vec![Coverage {
        family: "ring".to_owned(),
        status: CoverageStatus::None,
        reason: None,
    }];
    let mut clean = Run::new().judge();
    clean.events.not_run = Some(0);
    clean.coverage = vec![Coverage {
        family: "ring".to_owned(),
        status: CoverageStatus::Full,
        reason: None,
    }];
    let merged = merge(vec![clean.clone(), blind, clean]).unwrap();
    assert_eq!(merged.verdict, Verdict::Inconclusive);
    assert_eq!(merged.exit.code, 75);
    assert_eq!(merged.not_judged, ["ring"]);
    assert_eq!(merged.events.not_run, None);
    assert_eq!(merged.coverage[0].status, CoverageStatus::None);
}

#[test]
fn a_command_s_own_failure_wins() {
    let mut failed = Run::new().judge();
    failed.child.exit_code = Some(3);
    failed.exit = Exit {
        code: 3,
        because: Because::Child,
    };
    let merged = merge(vec![leaky(5000), failed]).unwrap();
    assert_eq!((merged.exit.code, merged.child.exit_code), (3, Some(3)));
    assert_eq!(merged.verdict, Verdict::Findings);
}
