//! Timing histograms: every process counted once, under its own key.

use leaktrace_tests::Run;
use serde_json::Value;

const LOOP: &str = "for i in $(seq 200); do ls >/dev/null; done";

fn groups(by: &[&str]) -> Vec<Value> {
    let outcome = Run::of("hist", ["sh", "-c", LOOP]).args(by).end();
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(outcome.report["schema"], "leaktrace.hist/1", "{outcome}");
    outcome.report["groups"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn every_process_has_its_own_histogram() {
    let groups = groups(&[]);
    let mut pids: Vec<u64> = groups.iter().filter_map(|it| it["pid"].as_u64()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 202, "sh, seq and 200 ls: {groups:?}");
    for group in &groups {
        let kernel = &group["samples"]["kernel"];
        assert_eq!(kernel["n"], 1, "{group}");
        assert!(
            kernel["p99_ns"].is_null(),
            "no percentile of one sample: {group}"
        );
    }
}

#[test]
fn by_comm_they_are_added_up() {
    let groups = groups(&["--by", "comm"]);
    let samples = |comm: &str| {
        groups
            .iter()
            .find(|it| it["comm"] == comm)
            .map(|it| it["samples"]["kernel"]["n"].clone())
    };
    assert_eq!(samples("sh"), Some(1.into()), "{groups:?}");
    assert_eq!(samples("seq"), Some(1.into()), "{groups:?}");
    assert_eq!(samples("ls"), Some(200.into()), "{groups:?}");
    let of_ls = groups
        .iter()
        .find(|it| it["comm"] == "ls")
        .cloned()
        .unwrap_or_default();
    assert!(
        of_ls["samples"]["kernel"]["p99_ns"].as_u64() > Some(0),
        "{of_ls}"
    );
}
