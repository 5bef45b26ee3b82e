//! Fingerprints over whole runs.

use crate::{
    audit::fixture::{self, Run, at},
    census::Found,
    model::facts::Kind,
    policy::baseline::Baseline,
    report::Report,
};

/// A suite of scripts below `checkout`, each leaving a file; pids and random names by `seed`.
fn suite(checkout: &str, seed: u32, scripts: &[&str]) -> Run {
    let mut run = Run::new();
    run.start.cwd = checkout.as_bytes().to_vec();
    for (n, script) in scripts.iter().enumerate() {
        let number = u32::try_from(n).unwrap_or(0) + seed;
        let ms = 2 + n as u64;
        let root = run.root();
        let sh = run.process(5000 + 2 * number, root, ms, &["sh", script]);
        run.of(sh).cwd = Some(checkout.to_owned().into());
        let mktemp = run.process(5001 + 2 * number, sh, ms, &["mktemp"]);
        let path = format!("/tmp/tmp.x{number:09}");
        let id = fixture::file_id(u64::from(number));
        run.creates(mktemp, ms, Kind::File, &path, Some(id));
        run.exits(mktemp, ms + 1, 0);
        run.exits(sh, ms + 1, 0);
    }
    run.answer(|question| match question {
        crate::census::Question::Path { path, .. } => {
            let number = String::from_utf8_lossy(&path[b"/tmp/tmp.x".len()..]).into_owned();
            fixture::file(fixture::file_id(number.parse().unwrap_or(0)), 0o100_600)
        }
        _ => Found::Gone,
    });
    run
}

fn fingerprints(report: &Report) -> Vec<String> {
    let instances = report.findings.iter().flat_map(|f| &f.instances);
    let mut all: Vec<_> = instances.filter_map(|it| it.fingerprint.clone()).collect();
    all.sort();
    all
}

#[test]
fn another_run_has_the_same_fingerprints() {
    let scripts = ["./a.sh", "./sub/b.sh", "./c.sh", "./c.sh"];
    let first = suite("/ws", 1, &scripts).judge();
    let all = fingerprints(&first);
    assert_eq!(all.len(), 4, "{first:?}");
    let mut distinct = all.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 4);
    let turned = ["./c.sh", "./sub/b.sh", "./c.sh", "./a.sh"];
    for report in [
        suite("/ws", 700, &scripts).judge(),
        suite("/home/ci/other", 300, &scripts).judge(),
        suite("/ws", 9000, &turned).judge(),
    ] {
        assert_eq!(fingerprints(&report), all);
        assert_eq!(
            report.findings[0].fingerprint,
            first.findings[0].fingerprint
        );
    }
}

#[test]
fn with_a_baseline_only_the_new_leak_is_an_error() {
    let scripts: Vec<String> = (0..20).map(|n| format!("./test_{}.sh", n % 7)).collect();
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let known = Baseline {
        known: suite("/ws", 1, &scripts).judge().errors,
        ..Baseline::default()
    };
    let mut again = suite("/other", 500, &scripts);
    again.policy.baseline = Some(known.clone());
    let report = again.judge();
    assert_eq!(report.verdict, crate::report::Verdict::Clean);
    assert_eq!(report.errors.len(), 20, "a new baseline has them again");
    let used = report.policy.baseline.unwrap_or_default();
    assert_eq!((used.known, used.again), (20, 20));

    let mut more = scripts;
    more.insert(9, "./test_5.sh");
    let mut run = suite("/third", 900, &more);
    run.policy.baseline = Some(known);
    let report = run.judge();
    let new = report.findings.iter().filter(|f| f.suppressed_by.is_none());
    let new: Vec<_> = new.collect();
    assert_eq!((new.len(), new[0].count), (1, 1), "{new:?}");
    let fingerprint = new[0].fingerprint.as_deref().unwrap_or_default();
    assert!(
        fingerprint.ends_with("-4"),
        "its fourth of that script: {fingerprint}"
    );
    let parent = report.processes.iter().find(|it| it.key == new[0].process);
    assert!(parent.is_some_and(|it| it.start_ns >= at(0).0));
}
