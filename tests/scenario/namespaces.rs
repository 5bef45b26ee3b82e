//! What a namespace takes with it when its last member ends is not left behind.

use leaktrace_tests::{Place, Run};

use crate::check_sh;

#[test]
fn files_on_a_private_mount_are_gone_with_it() {
    let script = "mount -t tmpfs none $TMPDIR && touch $TMPDIR/gone";
    Run::check(["unshare", "--mount", "sh", "-c", script])
        .end()
        .spotless();
}

#[test]
fn objects_of_a_private_ipc_namespace_are_gone_with_it() {
    Run::check(["unshare", "--ipc", "ipcmk", "-M", "4096"])
        .end()
        .spotless();
}

#[test]
fn a_private_pid_namespace_hides_nothing() {
    let place = Place::new();
    let unshare = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        "mktemp; :",
    ];
    let outcome = Run::check(unshare).at(&place).end();
    let finding = outcome.only_error("LT109");
    let process = outcome.process("mktemp");
    assert_eq!(finding["pid"], process["pid"], "{outcome}");
    assert_ne!(process["ns_pid"], process["pid"], "{outcome}");
}

#[test]
fn a_shell_that_is_pid_1_of_its_namespace_is_a_process_like_any_other() {
    check_sh("unshare --pid --fork sh -c 'sleep 0.1 & wait'")
        .end()
        .spotless();
}
