//! LT118: a mount that nobody undid.

use std::process::Command;

use leaktrace_tests::{Place, Run};

use crate::check_sh;

/// Undoes a mount, whatever becomes of the scenario.
struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_file_system_that_stays_mounted_is_an_error() {
    let place = Place::new();
    let path = place.cwd().join("m").display().to_string();
    let _mounted = Mounted(path.clone());
    let outcome = check_sh("mkdir m; mount -t tmpfs none m").at(&place).end();
    let finding = outcome.only_error("LT118");
    assert_eq!(finding["name"], "mount-left");
    assert_eq!(finding["comm"], "mount");
    assert_eq!(finding["kind"], "mount");
    assert_eq!(finding["resource"]["path"], path, "{outcome}");
}

#[test]
fn a_bind_mount_moved_elsewhere_is_found_there() {
    let place = Place::new();
    let path = place.cwd().join("to").display().to_string();
    let (_at, _above) = (
        Mounted(place.cwd().display().to_string()),
        Mounted(path.clone()),
    );
    // What is to be moved must not lie below a shared mount.
    let above = place.cwd().display().to_string();
    for args in [
        vec!["--bind", &above, &above],
        vec!["--make-private", &above],
    ] {
        assert!(
            Command::new("mount")
                .args(args)
                .status()
                .is_ok_and(|it| it.success())
        );
    }
    let script = "cd .; cd $PWD; mkdir from to; mount --bind from from; mount --move from to";
    let outcome = check_sh(script).at(&place).end();
    let finding = outcome.only_error("LT118");
    assert_eq!(finding["resource"]["path"], path, "{outcome}");
}

#[test]
fn a_mount_that_is_undone_is_gone() {
    let script = "mkdir m; mount -t tmpfs none m; mount -t tmpfs none m; umount m; umount m";
    check_sh(script).end().twin_clean("LT118");
}

#[test]
fn a_mount_in_a_namespace_of_its_own_is_gone_with_it() {
    let script = "mkdir m; mount -t tmpfs none m";
    Run::check(["unshare", "--mount", "sh", "-c", script])
        .end()
        .twin_clean("LT118");
}

#[test]
fn what_was_mounted_before_or_by_others_is_nobodys() {
    let place = Place::new();
    let path = place.cwd().join("m").display().to_string();
    std::fs::create_dir(&path).expect("make a directory");
    let _mounted = Mounted(path.clone());
    let mount = |path: &str| {
        Command::new("mount")
            .args(["-t", "tmpfs", "none", path])
            .status()
    };
    assert!(mount(&path).is_ok_and(|it| it.success()));
    let script = "mount -o remount,ro m; mount -o remount,rw m; mount --make-private m";
    check_sh(script).at(&place).end().spotless();
}
