//! The command cannot tell that it is watched: everything it inherits is the caller's.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use leaktrace_tests::Place;

/// Prints what a process gets from its parent, and nothing that differs between two runs.
const SHOW: &str = r#"
grep -E '^(Umask|TracerPid|Uid|Gid|Groups|Threads|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed)' /proc/self/status
cat /proc/$$/limits /proc/$$/cgroup /proc/$$/oom_score_adj /proc/$$/coredump_filter /proc/$$/timerslack_ns
tr '\0' '\n' </proc/$$/environ
for fd in /proc/$$/fd/*; do printf 'fd %s ' ${fd##*/}; readlink $fd; done
for ns in /proc/$$/ns/*; do printf 'ns %s ' ${ns##*/}; readlink $ns; done
umask; nice; pwd; ulimit -a
cut -d' ' -f5-8 /proc/$$/stat
"#;

/// An unusual caller: SIGPIPE ignored, SIGUSR1 blocked, fd 7 open, a umask and niceness of its
/// own, and stdin closed if asked for.
fn shown(place: &Place, leaktrace: Option<&Path>, stdin: Input) -> String {
    let mut command = match leaktrace {
        Some(binary) => Command::new(binary),
        None => Command::new("sh"),
    };
    if leaktrace.is_some() {
        command.args(["check", "-q", "--", "sh"]);
    }
    command
        .args(["-c", SHOW])
        .current_dir(place.cwd())
        .stdin(Stdio::null());
    // SAFETY: only async-signal-safe calls, on values made in the closure.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGUSR1);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            let file = libc::open(c"/etc/hosts".as_ptr(), libc::O_RDONLY);
            // The lowest free number may be the wanted one.
            if file != 7 {
                libc::dup2(file, 7);
                libc::close(file);
            }
            libc::umask(0o027);
            libc::setpriority(libc::PRIO_PROCESS, 0, 5);
            if stdin == Input::Closed {
                libc::close(0);
            }
            Ok(())
        });
    }
    let file = place.root().join("shown");
    command
        .stdout(std::fs::File::create(&file).expect("make a file"))
        .stderr(std::fs::File::create(place.root().join("complaints")).expect("make a file"));
    let status = command.status().expect("start the command");
    assert!(status.success(), "{status}");
    std::fs::read_to_string(&file).expect("text")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Null,
    Closed,
}

#[test]
fn the_command_gets_what_the_caller_would_have_given_it() {
    let place = Place::new();
    for stdin in [Input::Null, Input::Closed] {
        let without = shown(&place, None, stdin);
        let with = shown(&place, Some(leaktrace_tests::leaktrace()), stdin);
        assert!(without.contains("fd 7 /etc/hosts"), "{without}");
        assert_eq!(
            without.contains("fd 0 /dev/null"),
            stdin == Input::Null,
            "{without}"
        );
        assert_eq!(with, without);
    }
}
