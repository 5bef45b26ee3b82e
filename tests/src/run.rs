//! One run of the binary.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::patience;
use crate::outcome::Outcome;
use crate::place::Place;
use crate::turn::{Alone, among_others};

/// A run may not take longer than this, unless it is known to be long; one that does is killed
/// and fails its scenario.
const PATIENCE: Duration = Duration::from_secs(90);

/// What makes a run one of a user who can trace nothing.
pub const NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// A call of leaktrace, built up and then ended by [`Run::end`].
#[derive(Debug)]
pub struct Run<'a> {
    verb: OsString,
    args: Vec<OsString>,
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    place: Option<&'a Place>,
    binary: PathBuf,
    wrapper: Vec<OsString>,
    report: Report,
    alone: Option<&'a Alone>,
    patience: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Json,
    Text,
}

impl<'a> Run<'a> {
    /// `leaktrace check -- command`, its JSON report read.
    #[must_use]
    pub fn check<I: AsRef<OsStr>>(command: impl IntoIterator<Item = I>) -> Self {
        Self::of("check", command)
    }

    /// `leaktrace VERB -- command`.
    #[must_use]
    pub fn of<I: AsRef<OsStr>>(verb: &str, command: impl IntoIterator<Item = I>) -> Self {
        Self {
            verb: verb.into(),
            args: Vec::new(),
            command: owned(command),
            env: Vec::new(),
            stdin: Vec::new(),
            place: None,
            binary: crate::leaktrace().to_path_buf(),
            wrapper: Vec::new(),
            patience: PATIENCE,
            report: Report::Json,
            alone: None,
        }
    }

    /// An option, with its value if it has one, before `--`.
    #[must_use]
    pub fn args<I: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.args.extend(owned(args));
        self
    }

    /// A variable of the environment of leaktrace and so of the command.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// What the command can read.
    #[must_use]
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// Runs in `place`, which outlives the run.
    #[must_use]
    pub fn at(mut self, place: &'a Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Asks for no JSON: what leaktrace says by itself is on stderr.
    #[must_use]
    pub fn text(mut self) -> Self {
        self.report = Report::Text;
        self
    }

    /// Runs another binary than the one under test, such as a copy that everybody may read.
    #[must_use]
    pub fn binary(mut self, binary: &Path) -> Self {
        self.binary = binary.to_path_buf();
        self
    }

    /// Runs leaktrace through another program, such as `setpriv`.
    #[must_use]
    pub fn through<I: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = I>) -> Self {
        self.wrapper = owned(wrapper);
        self
    }

    /// Waits for so long, if that is longer than usual.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = self.patience.max(patience);
        self
    }

    /// Runs while the caller keeps all others out.
    #[must_use]
    pub fn alone(mut self, alone: &'a Alone) -> Self {
        self.alone = Some(alone);
        self
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// If leaktrace cannot be started, does not end in time or writes no readable report.
    #[must_use]
    pub fn end(self) -> Outcome {
        let _turn = self.alone.is_none().then(among_others);
        let own = self.place.is_none().then(Place::new);
        let place = self.place.or(own.as_ref()).expect("one of the two");
        let started = Instant::now();
        let (mut child, files) = self.start(place);
        let status = wait(&mut child, started, patience(self.patience));
        Outcome::new(
            status,
            started.elapsed(),
            &files,
            self.report == Report::Json,
            self.names_rules(),
        )
    }

    /// Whether the options say which rules are judged.
    fn names_rules(&self) -> bool {
        let naming = ["--fail-on", "--policy", "--order"];
        self.args.iter().any(|arg| {
            arg.to_str()
                .is_some_and(|arg| naming.iter().any(|option| arg.starts_with(option)))
        })
    }

    /// Starts it and leaves ending it to the caller, who reads nothing but its status.
    ///
    /// # Panics
    /// If leaktrace cannot be started.
    #[must_use]
    pub fn spawn(self, place: &Place) -> Child {
        self.start(place).0
    }

    /// Output goes to files: a survivor that keeps a pipe open would hold up its reader.
    fn start(&self, place: &Place) -> (Child, Files) {
        let files = Files::new(place);
        std::fs::write(&files.stdin, &self.stdin).expect("write stdin");
        let mut whole = self.wrapper.clone();
        whole.push(self.binary.clone().into_os_string());
        whole.push(self.verb.clone());
        if self.report == Report::Json {
            whole.push("-f".into());
            whole.push(format!("json:{}", files.report.display()).into());
        }
        whole.extend(self.args.iter().cloned());
        if !self.command.is_empty() {
            whole.push("--".into());
            whole.extend(self.command.iter().cloned());
        }
        let mut command = Command::new(&whole[0]);
        command
            .args(&whole[1..])
            .current_dir(place.cwd())
            .env("TMPDIR", place.tmp())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(File::open(&files.stdin).expect("open stdin")))
            .stdout(Stdio::from(
                File::create(&files.stdout).expect("make stdout"),
            ))
            .stderr(Stdio::from(
                File::create(&files.stderr).expect("make stderr"),
            ));
        pristine(&mut command);
        (command.spawn().expect("start leaktrace"), files)
    }
}

/// Where a run's input and output are.
#[derive(Debug)]
pub(crate) struct Files {
    pub stdin: PathBuf,
    pub stdout: PathBuf,
    pub stderr: PathBuf,
    pub report: PathBuf,
}

impl Files {
    fn new(place: &Place) -> Self {
        let file = |name: &str| place.root().join(name);
        let report = file("report.json");
        // From a run before this one in the same place.
        let _ = std::fs::remove_file(&report);
        Self {
            stdin: file("stdin"),
            stdout: file("stdout"),
            stderr: file("stderr"),
            report,
        }
    }
}

fn wait(child: &mut Child, started: Instant, patience: Duration) -> std::process::ExitStatus {
    loop {
        if let Some(status) = child.try_wait().expect("wait for leaktrace") {
            return status;
        }
        if started.elapsed() > patience {
            child.kill().expect("kill leaktrace");
            child.wait().expect("reap leaktrace");
            panic!("leaktrace did not end within {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn owned<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Vec<OsString> {
    args.into_iter()
        .map(|arg| arg.as_ref().to_owned())
        .collect()
}

/// The command line of the fixture program `program` (the path of `steps`) that does `steps`.
#[must_use]
pub fn steps<'a>(program: &'a str, steps: &[&'a str]) -> Vec<&'a str> {
    let mut command = vec![program];
    command.extend(steps);
    command
}

/// Starts a command with nothing of what a runner may have changed: signals that it ignores, files
/// that it has open.
pub fn pristine(command: &mut Command) -> &mut Command {
    // SAFETY: only sets dispositions and flags, which is allowed between fork and exec.
    unsafe { command.pre_exec(default_signals).pre_exec(no_more_fds) }
}

/// What the signals do that a shell or a runner may have set to be ignored: a shell does so for
/// jobs in the background, and what is ignored at the start of a shell cannot be trapped there.
fn default_signals() -> std::io::Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: passes no memory.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// What a runner may have left open (`flock(1)` does) is not handed on: tests expect the numbers
/// behind the standard streams to be free.
fn no_more_fds() -> std::io::Result<()> {
    let (from, to) = (3_u32, u32::MAX);
    // SAFETY: passes no memory.
    match unsafe { libc::syscall(libc::SYS_close_range, from, to, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => one_by_one(std::io::Error::last_os_error()),
    }
}

/// The flag is of Linux 5.11.
fn one_by_one(refused: std::io::Error) -> std::io::Result<()> {
    if refused.raw_os_error() != Some(libc::EINVAL) {
        return Err(refused);
    }
    for fd in 3..1024 {
        // SAFETY: passes no memory; a number that is not open is no harm.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}
