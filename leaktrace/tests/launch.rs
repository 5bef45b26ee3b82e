//! The held child, with real programs and without BPF.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use leaktrace::launch::{
    Found, HoldError, HoldSpec, Running, StartError, Status, User, environment::Environment, hold,
    reserve_stdio,
};

/// fds, masks and dispositions belong to the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spec(argv: &[&str]) -> HoldSpec {
    HoldSpec {
        argv: argv
            .iter()
            .map(|word| CString::new(*word).unwrap())
            .collect(),
        environment: Environment::own(),
        user: None,
        found: Found::record(),
    }
}

fn sh(script: &str) -> HoldSpec {
    spec(&["/bin/sh", "-c", script])
}

fn wait(child: &Running) -> Status {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), child.wait()).await })
        .unwrap()
        .unwrap()
}

fn run(spec: HoldSpec) -> Status {
    let mut held = hold(spec).unwrap();
    held.announce(7).unwrap();
    wait(&held.go().unwrap())
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("leaktrace-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

#[test]
fn the_status_of_the_command_comes_back() {
    let _alone = alone();
    assert_eq!(run(sh("exit 0")), Status::Exited(0));
    assert_eq!(run(sh("exit 37")), Status::Exited(37));
    assert_eq!(run(sh("kill -SEGV $$")), Status::Signaled(libc::SIGSEGV));
}

#[test]
fn a_command_is_found_in_the_path_and_scripts_without_a_header_run_by_the_shell() {
    let _alone = alone();
    let scratch = Scratch::new("path");
    let script = scratch.file("script");
    fs::write(&script, "test \"$1\" = argument || exit 3\nexit 21\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut spec = spec(&["script", "argument"]);
    spec.environment.entries =
        vec![CString::new(format!("PATH=/nowhere:{}:/bin", scratch.0.display())).unwrap()];
    assert_eq!(run(spec), Status::Exited(21));
}

#[test]
fn the_errno_of_exec_comes_back() {
    let _alone = alone();
    let code = |argv: &[&str]| match hold(spec(argv)).unwrap().go() {
        Ok(_) => panic!("{argv:?} was started"),
        Err(StartError::Exec(error)) => (
            error.raw_os_error().unwrap(),
            StartError::Exec(error).exit_code(),
        ),
        Err(StartError::Held(error)) => panic!("{error}"),
    };
    assert_eq!(code(&["/no/such"]), (libc::ENOENT, 127));
    assert_eq!(code(&["no-such-command-at-all"]), (libc::ENOENT, 127));
    assert_eq!(code(&["/etc/passwd"]), (libc::EACCES, 126));
    assert_eq!(code(&["/tmp"]), (libc::EACCES, 126));
    assert_eq!(code(&[""]), (libc::ENOENT, 127));
}

#[test]
fn nothing_runs_before_go_and_nothing_at_all_when_given_up() {
    let _alone = alone();
    let scratch = Scratch::new("giveup");
    let mark = scratch.file("mark");
    let mut held = hold(sh(&format!("> {}", quoted(&mark)))).unwrap();
    held.announce(7).unwrap();
    let comm = fs::read_to_string(format!("/proc/{}/comm", held.pid())).unwrap();
    assert_ne!(comm, "sh\n", "exec before go");
    let pid = held.pid();
    drop(held);
    assert!(!mark.exists());
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "not reaped");
}

#[test]
fn a_held_child_that_is_killed_is_noticed() {
    let _alone = alone();
    let mut held = hold(sh("exit 0")).unwrap();
    // SAFETY: our own child, not reaped yet.
    unsafe { libc::kill(held.pid() as i32, libc::SIGKILL) };
    match held.announce(7) {
        Err(HoldError::Ended(status)) => assert_eq!(status, Status::Signaled(libc::SIGKILL)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_held_child_ends_with_125_when_leaktrace_is_gone() {
    let _alone = alone();
    let scratch = Scratch::new("gone");
    let mark = scratch.file("mark");
    // The middle process holds a child and dies without letting it go; as subreaper we see the
    // child's own status.
    // SAFETY: plain system calls; the forked process only calls what the test process could and
    // then _exits.
    let status = unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
        let middle = libc::fork();
        if middle == 0 {
            let held = hold(sh(&format!("> {}", quoted(&mark))));
            std::mem::forget(held);
            libc::_exit(0);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(middle, &mut status, 0), middle);
        let mut status = 0;
        assert!(libc::waitpid(-1, &mut status, 0) > 0);
        assert_eq!(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), 0);
        status
    };
    assert_eq!(
        (libc::WIFEXITED(status), libc::WEXITSTATUS(status)),
        (true, 125)
    );
    assert!(!mark.exists());
}

#[test]
fn dispositions_and_mask_are_those_found() {
    let _alone = alone();
    let scratch = Scratch::new("signals");
    let out = scratch.file("status");
    // SAFETY: plain system calls on this process.
    let spec = unsafe {
        let mut usr1: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut usr1, libc::SIGUSR1);
        libc::signal(libc::SIGUSR2, libc::SIG_IGN);
        let pipe = libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_BLOCK, &usr1, std::ptr::null_mut());
        // Not by a shell: dash clears the mask.
        let spec = spec(&["cp", "/proc/self/status", out.to_str().unwrap()]);
        libc::signal(libc::SIGUSR2, libc::SIG_DFL);
        libc::signal(libc::SIGPIPE, pipe);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &usr1, std::ptr::null_mut());
        spec
    };
    assert_eq!(run(spec), Status::Exited(0));
    let status = fs::read_to_string(&out).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line[name.len()..].trim(), 16).unwrap()
    };
    let bit = |signal: i32| 1u64 << (signal - 1);
    assert_eq!(field("SigBlk:"), bit(libc::SIGUSR1));
    assert_eq!(field("SigIgn:") & bit(libc::SIGUSR2), bit(libc::SIGUSR2));
    assert_eq!(field("SigIgn:") & bit(libc::SIGPIPE), 0);
}

#[test]
fn open_fds_stay_closed_ones_too_and_none_of_ours_is_added() {
    let _alone = alone();
    let scratch = Scratch::new("fds");
    let out = scratch.file("fds");
    let script = format!("ls -l /proc/$$/fd > {}", quoted(&out));
    // SAFETY: fd 0 is put aside and put back; nothing in this process has as high an fd as 57.
    let status = unsafe {
        let stdin = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 100);
        let null = OwnedFd::from_raw_fd(libc::open(
            c"/dev/null".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        ));
        libc::dup2(null.as_raw_fd(), 57);
        libc::close(0);
        reserve_stdio().unwrap();
        let status = run(sh(&script));
        libc::close(57);
        libc::dup2(stdin, 0);
        libc::close(stdin);
        status
    };
    assert_eq!(status, Status::Exited(0));
    let held = numbers(&out);
    let plain = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .status()
        .unwrap();
    assert!(plain.success());
    let mut expected = numbers(&out);
    expected.retain(|fd| *fd != 0);
    expected.push(57);
    expected.sort_unstable();
    assert_eq!(held, expected);
}

/// The fd numbers in what `ls -l /proc/PID/fd` wrote.
fn numbers(listing: &Path) -> Vec<i32> {
    let mut numbers: Vec<i32> = fs::read_to_string(listing)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let arrow = words.iter().position(|word| *word == "->")?;
            words[arrow - 1].parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn the_user_its_groups_and_nothing_of_root_are_set() {
    let _alone = alone();
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return; // Only root can become somebody else; CI runs this as root.
    }
    let scratch = Scratch::new("user");
    let out = scratch.file("out");
    fs::set_permissions(
        &scratch.0,
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let mut spec = sh(&format!(
        "(id -u; id -g; id -G; grep CapEff /proc/self/status) > {}",
        quoted(&out)
    ));
    spec.user = Some(User {
        uid: 12345,
        gid: 23456,
        groups: vec![23456, 34567],
    });
    assert_eq!(run(spec), Status::Exited(0));
    let out = fs::read_to_string(&out).unwrap();
    assert_eq!(
        out,
        "12345\n23456\n23456 34567\nCapEff:\t0000000000000000\n"
    );
}
