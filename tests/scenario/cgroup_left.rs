//! LT120: a control group that nobody removed.

use leaktrace_tests::Run;

use crate::check_sh;

/// Removes a group, whatever becomes of the scenario.
struct Group(String);

impl Group {
    /// A name for one in the version 2 hierarchy, which is mounted in one place or another.
    fn new(what: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("read the mounts");
        let root = mounts
            .lines()
            .find(|line| line.split(' ').nth(2) == Some("cgroup2"))
            .and_then(|line| line.split(' ').nth(1))
            .expect("control groups version 2 are mounted");
        Self(format!("{root}/leaktrace-{what}-{}", std::process::id()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(format!("{}/inner", self.0));
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_group_that_stays_is_one_error_with_what_is_in_it() {
    let group = Group::new("left");
    let inner = format!("{}/inner", group.0);
    let outcome = Run::check(["mkdir", &group.0, &inner]).end();
    let finding = outcome.only_error("LT120");
    assert_eq!(finding["name"], "cgroup-left");
    assert_eq!(finding["kind"], "cgroup");
    assert_eq!(finding["comm"], "mkdir");
    assert_eq!(finding["resource"]["path"], group.0, "{outcome}");
    assert_eq!(finding["count"], 1, "{outcome}");
}

#[test]
fn a_group_that_is_removed_is_gone() {
    let group = Group::new("gone");
    check_sh(&format!(
        "mkdir {0}; echo $$ >{0}/cgroup.procs; echo $$ >{0}/../cgroup.procs; rmdir {0}",
        group.0
    ))
    .end()
    .twin_clean("LT120");
}
