//! Timing is true: known delays come back as what they were.

use leaktrace_tests::{Outcome, alone, at_own_speed};
use serde_json::Value;

use crate::check_steps;

/// A child with `bytes` touched that at SIGTERM sleeps 50 ms, then closes a socket that lingers
/// one second; its parent reaps it 300 ms late.
fn run(bytes: u64) -> (Outcome, Value) {
    let alone = alone();
    let child = format!(
        "fork k handle-term, mmap m {bytes}, touch m, connection s c, linger s 1, fill s, \
         ready ready, await-handler, sleep 50, close s, exit 0"
    );
    let outcome = check_steps(&[&child, "await ready", "kill k 15", "wait-late k 300"])
        .alone(&alone)
        .end();
    let child = outcome
        .processes("steps")
        .into_iter()
        .find(|it| !it["parent"].is_null())
        .cloned()
        .unwrap_or_else(|| panic!("no child\n{outcome}"));
    (outcome, child)
}

#[track_caller]
fn within(value: &Value, ns: f64, share: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("no time: {value}"));
    let off = (value - ns).abs() / ns;
    assert!(
        off <= share,
        "{value} ns is {:.1} % off {ns} ns",
        off * 100.0
    );
}

#[test]
fn known_delays_come_back_as_what_they_were() {
    at_own_speed();
    let (outcome, child) = run(2 << 30);
    outcome.clean();
    let timing = &child["timing_ns"];
    let ns = |name: &str| {
        timing[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {timing}"))
    };
    within(&(ns("teardown") - ns("kernel")).into(), 1.05e9, 0.1);
    within(&timing["reap"], 0.3e9, 0.1);
    within(&timing["by_class"]["socket"], 1.0e9, 0.1);
    let phases = &timing["kernel_phases"];
    let sum: f64 = ["stop", "exit_mmap", "files"]
        .iter()
        .map(|name| {
            phases[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {timing}"))
        })
        .sum();
    within(&sum.into(), ns("kernel"), 0.05);
    let (_, small) = run(1 << 20);
    let unmap = |timing: &Value| {
        timing["kernel_phases"]["exit_mmap"]
            .as_f64()
            .unwrap_or(f64::NAN)
    };
    let (large, small) = (unmap(timing), unmap(&small["timing_ns"]));
    assert!(
        large >= 20.0 * small,
        "exit_mmap {large} ns of 2 GiB, {small} ns of 1 MiB"
    );
}
