//! Great numbers of processes.

use std::collections::{BTreeMap, BTreeSet};

use leaktrace_tests::{Place, Run};

const SPIN: &str = env!("CARGO_BIN_EXE_spin");

/// More numbers than this take too long to use up.
const FEW: usize = 40_000;

/// Processes where the numbers are too many to use up: there none may come twice.
const SOME: usize = 5_000;

#[test]
fn processes_that_have_the_same_number_are_told_apart() {
    let most: usize = std::fs::read_to_string("/proc/sys/kernel/pid_max")
        .expect("read pid_max")
        .trim()
        .parse()
        .expect("a number");
    let wraps = most <= FEW;
    let count = if wraps { most + 500 } else { SOME };
    let place = Place::new();
    let outcome = Run::check([SPIN, "fork", &count.to_string()])
        .at(&place)
        .end();
    outcome.clean();
    let processes = outcome.processes("spin");
    assert_eq!(processes.len(), count + 1, "each once, with the first");
    let keys: BTreeSet<_> = processes.iter().map(|it| it["key"].to_string()).collect();
    assert_eq!(keys.len(), count + 1);
    let mut numbers: BTreeMap<u64, usize> = BTreeMap::new();
    for process in &processes {
        *numbers
            .entry(process["pid"].as_u64().unwrap_or(0))
            .or_default() += 1;
    }
    assert_eq!(numbers.values().any(|count| *count > 1), wraps);
}

#[test]
fn a_tree_of_two_thousand_ends_and_nothing_is_left() {
    let outcome = Run::check([SPIN, "tree", "2000"]).end();
    outcome.clean();
    assert_eq!(outcome.processes("spin").len(), 2001);
}
