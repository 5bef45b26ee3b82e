//! Residue in private namespaces and on file systems whose stat tells another device than the
//! kernel has. Each step leaves something; its twin cleans up.

use std::path::Path;
use std::process::Command;

use leaktrace_tests::{Outcome, Place, Run, needs_a_module};

use crate::STEPS;

const UNSHARE: [&str; 6] = ["unshare", "-pfm", "--mount-proc", "sh", "-c", ""];
/// What leaves a file, a directory, a fifo and a socket in $TMPDIR, who makes it, and the rule.
const NAMES: [(&str, &str, &str); 4] = [
    ("touch $TMPDIR/left; :", "touch", "LT109"),
    ("mkdir $TMPDIR/left; :", "mkdir", "LT110"),
    ("mkfifo $TMPDIR/left; :", "mkfifo", "LT112"),
    (
        "python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX); \
         s.bind(os.environ[\"TMPDIR\"] + \"/left\")'; :",
        "python3",
        "LT111",
    ),
];

/// A mounted file system, unmounted at the end.
struct Mounted(String);

impl Mounted {
    fn new(mount: &[&str], at: &Path) -> Self {
        let done = Command::new("mount").args(mount).arg(at).status();
        assert!(done.is_ok_and(|status| status.success()), "mount {mount:?}");
        Self(at.display().to_string())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Runs a script in new pid and mount namespaces with $TMPDIR at `tmp`.
fn check(script: &str, tmp: &Path, place: &Place) -> Outcome {
    let mut command = UNSHARE;
    command[5] = script;
    Run::check(command).env("TMPDIR", tmp).at(place).end()
}

/// Every name that is left is found, with both pids; removed, it is nothing.
fn names_on(tmp: &Path, place: &Place) {
    for (script, comm, rule) in NAMES {
        let outcome = check(script, tmp, place);
        let finding = outcome.only_error(rule);
        let left = tmp.join("left").display().to_string();
        assert_eq!(finding["resource"]["path"], left, "{outcome}");
        assert_eq!(finding["comm"], comm, "{outcome}");
        let process = outcome.process(comm);
        assert_eq!(finding["pid"], process["pid"], "{outcome}");
        assert_eq!(process["ns_pid"], 2, "{outcome}");
        let removed = Command::new("rm").arg("-r").arg(&left).status();
        assert!(removed.is_ok_and(|status| status.success()), "{left}");
        let twin = script.replace("; :", "; rm -r $TMPDIR/left");
        check(&twin, tmp, place).twin_clean(rule);
    }
}

#[test]
fn names_left_on_the_usual_file_system() {
    let place = Place::new();
    names_on(&place.tmp(), &place);
}

#[test]
fn names_left_on_overlayfs() {
    needs_a_module();
    let place = Place::new();
    for dir in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(place.root().join(dir)).expect("make a directory");
    }
    let at = |dir: &str| place.root().join(dir).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        at("lower"),
        at("upper"),
        at("work")
    );
    let merged = place.root().join("merged");
    let mount = ["-t", "overlay", "overlay", "-o", &options];
    let _mounted = Mounted::new(&mount, &merged);
    names_on(&merged, &place);
}

#[test]
fn names_left_on_btrfs() {
    needs_a_module();
    let place = Place::new();
    let image = place.root().join("image");
    let file = std::fs::File::create(&image).expect("make an image");
    file.set_len(128 << 20).expect("make it large enough");
    let made = Command::new("mkfs.btrfs").arg("-q").arg(&image).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfs.btrfs");
    let at = place.root().join("btrfs");
    std::fs::create_dir(&at).expect("make a directory");
    let image = image.display().to_string();
    let _mounted = Mounted::new(&["-o", "loop", &image], &at);
    names_on(&at, &place);
}

#[test]
fn sysv_objects_left_by_a_private_pid_namespace() {
    let place = Place::new();
    for (make, remove, rule) in [
        ("-M 4096", "-m", "LT103"),
        ("-S 2", "-s", "LT104"),
        ("-Q", "-q", "LT105"),
    ] {
        let outcome = check(&format!("ipcmk {make}; :"), &place.tmp(), &place);
        let id = outcome.stdout.trim().rsplit(' ').next().unwrap_or_default();
        let removed = Command::new("ipcrm").args([remove, id]).status();
        let finding = outcome.only_error(rule);
        assert!(
            removed.is_ok_and(|status| status.success()),
            "it was left\n{outcome}"
        );
        assert_eq!(finding["resource"]["id"].to_string(), id, "{outcome}");
        assert_eq!(outcome.process("ipcmk")["ns_pid"], 2, "{outcome}");
        let twin = format!("id=$(ipcmk {make}); ipcrm {remove} ${{id##* }}");
        check(&twin, &place.tmp(), &place).twin_clean(rule);
    }
}

#[test]
fn posix_shared_memory_left_by_a_private_pid_namespace() {
    let place = Place::new();
    let path = format!("/dev/shm/leaktrace-private-{}", std::process::id());
    let outcome = check(&format!("touch {path}; :"), &place.tmp(), &place);
    let removed = std::fs::remove_file(&path);
    outcome.only_error("LT106");
    removed.expect("it was left");
    check(&format!("touch {path}; rm {path}"), &place.tmp(), &place).twin_clean("LT106");
}

#[test]
fn posix_semaphores_left_by_a_private_pid_namespace() {
    let place = Place::new();
    let name = format!("leaktrace-private-sem-{}", std::process::id());
    let open = format!("{STEPS} 'sem_open /{name}'");
    let outcome = check(&format!("{open}; :"), &place.tmp(), &place);
    let removed = std::fs::remove_file(format!("/dev/shm/sem.{name}"));
    outcome.only_error("LT107");
    removed.expect("it was left");
    assert_eq!(outcome.process("steps")["ns_pid"], 2, "{outcome}");
    let twin = format!("{STEPS} 'sem_open /{name}' 'sem_unlink /{name}'; :");
    check(&twin, &place.tmp(), &place).twin_clean("LT107");
}

#[test]
fn posix_queues_left_by_a_private_pid_namespace() {
    let place = Place::new();
    let name = format!("leaktrace-private-mq-{}", std::process::id());
    let open = format!("{STEPS} 'mq_open q /{name}' 'close q'");
    let outcome = check(&format!("{open}; :"), &place.tmp(), &place);
    let unlink = format!("mq_unlink /{name}");
    let removed = Command::new(STEPS).arg(&unlink).status();
    outcome.only_error("LT108");
    assert!(removed.is_ok_and(|status| status.success()), "it was left");
    assert_eq!(outcome.process("steps")["ns_pid"], 2, "{outcome}");
    let twin = format!("{STEPS} 'mq_open q /{name}' 'close q' '{unlink}'; :");
    check(&twin, &place.tmp(), &place).twin_clean("LT108");
}

#[test]
fn an_orphan_of_a_private_pid_namespace_lives_or_dies_with_it() {
    // Without --fork the shell stays outside, and the first child is the namespace's process 1.
    let script = "sleep 30 </dev/null >/dev/null 2>&1 & echo $!; exit 0";
    let outcome = Run::check(["unshare", "-p", "sh", "-c", script])
        .args(["--settle", "300ms"])
        .end();
    let finding = outcome.only_error("LT101");
    let pid = finding["pid"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.expect("a pid");
    // SAFETY: no memory is passed; the pid is a process that this scenario started and that
    // nobody but init can have reaped within the scenario.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    assert_eq!(outcome.stdout.trim(), pid.to_string(), "{outcome}");
    assert_eq!(outcome.process("sleep")["ns_pid"], 1, "{outcome}");
    // Its process 1 ends, and the kernel kills the rest.
    let place = Place::new();
    check(script, &place.tmp(), &place).twin_clean("LT101");
}

/// A sandbox whose /tmp is a directory of the host's.
fn bound(dir: &Path, script: &str, place: &Place) -> Outcome {
    let bwrap = ["bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev"];
    let dir = dir.display().to_string();
    let private = ["--proc", "/proc", "--bind", &dir, "/tmp", "--chdir", "/"];
    let mut command = [bwrap.as_slice(), &private].concat();
    command.extend(["sh", "-c", script]);
    Run::check(command).env("TMPDIR", "/tmp").at(place).end()
}

#[test]
fn what_is_left_in_a_directory_of_the_host_is_found_there() {
    let place = Place::new();
    let dir = place.root().join("bound");
    std::fs::create_dir(&dir).expect("make a directory");
    for (script, rule) in [
        ("echo > /tmp/left", "LT109"),
        (
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/tmp/left\")'",
            "LT111",
        ),
        // Only their paths are known.
        ("mkdir /tmp/left", "LT110"),
        ("mkfifo /tmp/left", "LT112"),
    ] {
        let outcome = bound(&dir, script, &place);
        let finding = outcome.only_error(rule);
        let left = dir.join("left");
        let there = left.display().to_string();
        assert_eq!(finding["resource"]["path"], there, "{outcome}");
        match left.is_dir() {
            true => std::fs::remove_dir(&left).expect("it was left"),
            false => std::fs::remove_file(&left).expect("it was left"),
        }
        let twin = format!("{script}; rm -r /tmp/left");
        bound(&dir, &twin, &place).twin_clean(rule);
    }
}

#[test]
fn a_private_tmp_is_gone_with_its_mount_namespace() {
    let place = Place::new();
    // On the host is a file of the same name, which is nobody's fault.
    let host = format!("/tmp/leaktrace-private-{}", std::process::id());
    std::fs::write(&host, "of the host").expect("make a file");
    for script in [
        format!("echo >{host}"),
        "mktemp -d; mktemp; mkfifo /tmp/f; :".to_owned(),
    ] {
        let bwrap = ["bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev"];
        let private = ["--proc", "/proc", "--tmpfs", "/tmp", "--chdir", "/"];
        let mut command = [bwrap.as_slice(), &private].concat();
        command.extend(["sh", "-c", &script]);
        Run::check(command)
            .env("TMPDIR", "/tmp")
            .at(&place)
            .end()
            .spotless();
    }
    let content = std::fs::read_to_string(&host);
    std::fs::remove_file(&host).expect("remove it");
    assert_eq!(content.ok().as_deref(), Some("of the host"));
}
