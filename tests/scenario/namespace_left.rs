//! LT119: a namespace that outlives its processes.

use std::process::Command;

use leaktrace_tests::Place;

use crate::check_sh;

struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_namespace_kept_by_a_mount_is_one_error() {
    let place = Place::new();
    let path = place.cwd().join("ns").display().to_string();
    let _mounted = Mounted(path.clone());
    let outcome = check_sh("touch ns; unshare --net=ns true").at(&place).end();
    let finding = outcome.only_error("LT119");
    assert_eq!(finding["name"], "namespace-left");
    assert_eq!(finding["kind"], "namespace");
    assert_eq!(finding["resource"]["path"], path, "{outcome}");
    assert!(finding["resource"]["id"].is_u64(), "{outcome}");
}

#[test]
fn a_namespace_that_is_unmounted_is_gone() {
    check_sh("touch ns; unshare --net=ns true; umount ns; rm ns")
        .end()
        .twin_clean("LT119");
}

#[test]
fn namespaces_that_only_their_processes_kept_are_gone_with_them() {
    check_sh("unshare --net --uts --ipc --mount --pid --fork --user --map-root-user true")
        .end()
        .twin_clean("LT119");
}
