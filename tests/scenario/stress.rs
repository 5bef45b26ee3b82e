//! Many at once: nothing is lost, and our tables are the kernel's.

use leaktrace_tests::{Outcome, Place, Run, steps};

use crate::{STEPS, check_sh};

#[track_caller]
fn agrees(outcome: &Outcome) {
    let check = &outcome.report["self_check"];
    assert_eq!(check["differed"], 0, "{}: {check}", outcome.stderr);
    assert!(check["compared"].as_u64() > Some(0), "{check}");
}

#[test]
fn fifteen_hundred_short_processes() {
    let script = "i=0; while [ $i -lt 500 ]; do (:) | (:) | (:) & i=$((i+1)); done; wait";
    let outcome = check_sh(script).end();
    outcome.clean();
    agrees(&outcome);
    let processes = outcome.report["processes"].as_array().map(Vec::len);
    assert_eq!(processes, Some(1501), "{}", outcome.stderr);
}

#[test]
fn threads_that_race_for_the_same_numbers() {
    let script = "import os, threading\n\
                  def work():\n\
                  \x20   for _ in range(3000):\n\
                  \x20       os.close(os.dup(0))\n\
                  \x20       for end in os.pipe(): os.close(end)\n\
                  threads = [threading.Thread(target=work) for _ in range(8)]\n\
                  for thread in threads: thread.start()\n\
                  for thread in threads: thread.join()";
    let python = ["python3", "-c", script];
    let outcome = Run::check(python).args(["--fail-on", "held"]).end();
    assert_eq!(outcome.report["events"]["lost"], 0, "{}", outcome.stderr);
    agrees(&outcome);
    let held = outcome.of_rule("LT201");
    let ours = held.iter().filter(|it| it["kind"] == "pipe").count();
    assert_eq!(ours, 0, "{outcome}");
}

#[test]
fn a_hundred_files_left_are_one_finding() {
    let place = Place::new();
    let all: Vec<String> = (0..100)
        .map(|n| format!("create f{n} {}", place.temp(&format!("f{n}"))))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let outcome = Run::check(steps(STEPS, &all)).at(&place).end();
    let finding = outcome.only_error("LT109");
    assert_eq!(finding["count"], 100, "{outcome}");
    assert_eq!(
        outcome.process("steps")["summary"]["residue"],
        100,
        "{outcome}"
    );
}
