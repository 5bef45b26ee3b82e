//! LT103, LT104, LT105: SysV objects live until somebody removes them.

use std::process::Command;
use std::time::Duration;

use leaktrace_tests::{Outcome, Run, alone};

use crate::{check_sh, check_steps};

/// Removes what a scenario leaves, whatever becomes of the scenario.
struct Removed {
    option: &'static str,
    id: String,
}

impl Removed {
    /// `ipcmk` ends its one line with the id.
    fn made_by(outcome: &Outcome, option: &'static str) -> Self {
        let id = outcome.stdout.trim().rsplit(' ').next().unwrap_or_default();
        Self {
            option,
            id: id.to_owned(),
        }
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = Command::new("ipcrm").args([self.option, &self.id]).status();
    }
}

#[test]
fn shared_memory_that_outlives_its_creator_is_an_error() {
    let alone = alone();
    let outcome = Run::check(["ipcmk", "-M", "4096"]).alone(&alone).end();
    let made = Removed::made_by(&outcome, "-m");
    let finding = outcome.only_error("LT103");
    assert_eq!(finding["name"], "sysv-shm-left");
    assert_eq!(finding["group"], "residue");
    assert_eq!(finding["kind"], "sysv-shm");
    assert_eq!(finding["comm"], "ipcmk");
    assert_eq!(finding["resource"]["id"].to_string(), made.id, "{outcome}");
    assert_eq!(finding["resource"]["bytes"], 4096, "{outcome}");
    assert_eq!(finding["pid"], outcome.process("ipcmk")["pid"], "{outcome}");
    // Far below the deadline of settling, far above what a busy machine takes to start.
    let limit = Duration::from_millis(1500);
    assert!(
        outcome.elapsed <= limit || leaktrace_tests::is_emulated(),
        "nothing to wait for, yet {:?}",
        outcome.elapsed
    );
    // The second opinion: creator and size as the kernel tells ipcs.
    let ipcs = Command::new("ipcs")
        .args(["-m", "-i", &made.id])
        .output()
        .expect("run ipcs");
    let ipcs = String::from_utf8_lossy(&ipcs.stdout).into_owned();
    assert!(ipcs.contains("bytes=4096"), "{ipcs}");
    assert!(
        ipcs.contains(&format!("cpid={}\t", finding["pid"])),
        "{ipcs} {finding}"
    );
}

#[test]
fn semaphores_that_outlive_their_creator_are_an_error() {
    let outcome = Run::check(["ipcmk", "-S", "2"]).end();
    let made = Removed::made_by(&outcome, "-s");
    let finding = outcome.only_error("LT104");
    assert_eq!(finding["name"], "sysv-sem-left");
    assert_eq!(finding["comm"], "ipcmk");
    assert_eq!(finding["resource"]["id"].to_string(), made.id, "{outcome}");
}

#[test]
fn a_message_queue_that_outlives_its_creator_is_an_error() {
    let outcome = Run::check(["ipcmk", "-Q"]).end();
    let made = Removed::made_by(&outcome, "-q");
    let finding = outcome.only_error("LT105");
    assert_eq!(finding["name"], "sysv-msg-left");
    assert_eq!(finding["comm"], "ipcmk");
    assert_eq!(finding["resource"]["id"].to_string(), made.id, "{outcome}");
}

#[test]
fn objects_removed_by_another_process_of_the_tree_are_gone() {
    for (make, remove, rule) in [
        ("-M 4096", "-m", "LT103"),
        ("-S 2", "-s", "LT104"),
        ("-Q", "-q", "LT105"),
    ] {
        let script = format!("id=$(ipcmk {make}); ipcrm {remove} ${{id##* }}");
        check_sh(&script).end().twin_clean(rule);
    }
}

#[test]
fn objects_removed_by_their_creator_are_gone() {
    check_steps(&["shmget a 8192", "shmat a", "shmdt a", "shmrm a"])
        .end()
        .spotless();
    check_steps(&["semget a", "semrm a", "msgget b", "msgrm b"])
        .end()
        .spotless();
}

#[test]
fn an_object_marked_for_removal_while_attached_goes_with_its_last_user() {
    check_steps(&["shmget a 4096", "shmat a", "shmrm a"])
        .end()
        .clean();
}

#[test]
fn every_object_of_a_loop_is_one_instance_of_one_finding() {
    let alone = alone();
    let script = "for i in 1 2 3; do ipcmk -M 4096; done";
    let outcome = check_sh(script).alone(&alone).end();
    let made: Vec<Removed> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, id)| Removed {
            option: "-m",
            id: id.to_owned(),
        })
        .collect();
    assert_eq!(made.len(), 3, "{outcome}");
    let finding = outcome.only_error("LT103");
    assert_eq!(finding["count"], 3, "{outcome}");
    assert_eq!(
        finding["instances"].as_array().map(Vec::len),
        Some(3),
        "{outcome}"
    );
}
