//! Starting CMD, traced where that is possible.

use std::{
    ffi::CString,
    fs::File,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use super::{
    Ending, Failure,
    args::{IfUnavailable, LaunchArgs, SETTLE},
    exit,
    output::{self, Content},
};
use crate::{
    bpf::{self, Diagnostics, ExitTimes, LoadOptions, Programs, Stacks, Unavailable},
    census::{LiveCensus, host},
    id::KtimeNs,
    launch::{
        self, Found, Held, HoldError, HoldSpec, Signals, StartError, Status, User,
        environment::{Environment, Origin},
    },
    policy::Policy,
    report::Because,
    session::{Live, Pipeline, Purpose, Watched},
    sink::escape_str,
    source::{End, Kernel, Start, capture::CaptureWriter},
};

/// What became of CMD.
pub(super) enum Ran {
    /// It ran and was traced.
    Traced(Box<Pipeline>),
    /// It ran untraced, as `--if-unavailable run` wants it.
    Untraced(Status),
}

/// How often the held child is asked again to make itself known, should the programs have
/// missed its call.
const ANNOUNCE_TRIES: u32 = 3;

/// What the runtime has open; it panics where it cannot have that.
const RUNTIME_FILES: u32 = 8;

/// A run to make.
pub(super) struct RunSpec<'a> {
    /// What to run.
    pub(super) launch: &'a LaunchArgs,
    /// Where to write a capture.
    pub(super) capture: Option<&'a Path>,
    /// Decides what the census is asked.
    pub(super) policy: &'a Policy,
    /// What the run is for.
    pub(super) purpose: Purpose,
    /// Whether stacks are wanted.
    pub(super) stacks: Stacks,
    /// Whether the parts of exit are timed.
    pub(super) exit_times: ExitTimes,
    /// As counted on the command line.
    pub(super) verbose: u8,
}

/// Holds, loads, runs, settles.
pub(super) fn run(spec: RunSpec<'_>, found: Found) -> Result<Ran, Failure> {
    let capture = spec
        .capture
        .map(|path| output::open(path, Content::Replaced))
        .transpose()?;
    let Prepared {
        held,
        start,
        command,
        origin,
    } = prepare(spec.launch, found)?;
    let run = Run {
        command,
        origin,
        start,
        capture,
        if_unavailable: spec.launch.if_unavailable.unwrap_or_default(),
        spec,
    };
    let signals = Signals::block().map_err(|error| failed("block signals", &error))?;
    runtime()?.block_on(run.go(held, signals))
}

/// CMD, held.
pub(super) struct Prepared {
    pub(super) held: Held,
    /// What only this side knows of the run's start.
    pub(super) start: Start,
    /// CMD's name, for messages.
    pub(super) command: String,
    pub(super) origin: Origin,
}

/// Forks the child that will be CMD.
pub(super) fn prepare(args: &LaunchArgs, found: Found) -> Result<Prepared, Failure> {
    let Some(name) = args.command.first() else {
        return Err(Failure::usage(
            "there is nothing to run; put the command behind `--`, as in `-- make test`",
        ));
    };
    let environment = Environment::of_caller();
    let user = user(args)?;
    let origin = environment.origin;
    let start = start(args, &environment, user.as_ref());
    // From here on there are two processes; nothing before may have made a thread, a limit or
    // a BPF fd that CMD would inherit.
    let held = launch::hold(HoldSpec {
        argv: c_strings(args),
        environment,
        user,
        found,
    })
    .map_err(not_held)?;
    Ok(Prepared {
        held,
        start,
        command: escape_str(&name.to_string_lossy()),
        origin,
    })
}

const TOO_FEW_FILES: &str =
    "the limit of open files (ulimit -n) leaves leaktrace next to none; raise it";

/// A runtime of this one thread.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    if !launch::has_room_for(RUNTIME_FILES) {
        return Err(Failure::internal(TOO_FEW_FILES));
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| failed("start the runtime", &error))
}

/// One run, from held to judged.
struct Run<'a> {
    spec: RunSpec<'a>,
    /// CMD's name, for messages.
    command: String,
    origin: Origin,
    start: Start,
    capture: Option<File>,
    if_unavailable: IfUnavailable,
}

impl Run<'_> {
    async fn go(self, mut held: Held, signals: Signals) -> Result<Ran, Failure> {
        let mut kernel = match bpf::load(&load_options(
            LoadOptions {
                stacks: self.spec.stacks,
                exit_times: self.spec.exit_times,
                ..LoadOptions::tree()
            },
            self.spec.verbose,
        )) {
            Ok(kernel) => kernel,
            Err(why) => return self.unavailable(&why, held, signals).await,
        };
        if self.spec.purpose == Purpose::Verdict {
            say_untimed(&kernel.start());
        }
        let census = kernel.census()?;
        announce(&mut held, &kernel)?;
        let mut temp_roots = self.start.temp_roots.clone();
        host::add_temp_roots(&mut temp_roots, self.spec.policy.temp_roots.iter().cloned());
        let start = Start {
            command: self.start.command.clone(),
            cwd: self.start.cwd.clone(),
            repository: self.start.repository.clone(),
            temp_roots,
            settle_ns: self.start.settle_ns,
            ..kernel.start()
        };
        let capture = self.capture.as_ref().map(begin_capture).transpose()?;
        let spec = &self.spec;
        let mut live = Live::begin(
            kernel,
            census,
            start,
            spec.policy.clone(),
            spec.purpose,
            capture,
        )?;
        let child = match held.go() {
            Ok(child) => child,
            Err(error) => return Err(self.not_started(live, error)),
        };
        let watched = Watched::new(child, signals).map_err(|error| failed("watch CMD", &error))?;
        let status = match live.watch(&watched).await {
            Ok(status) => status,
            Err(error) => {
                // CMD goes on without us, but not without somebody who waits for it.
                drop(live);
                drop(watched.forward().await);
                return Err(error.into());
            }
        };
        let reaped = host::boottime_ns();
        let settled = live.settle(watched.signals(), KtimeNs(reaped)).await?;
        let pipeline = live.finish(End {
            child: status.into(),
            child_reaped_ns: reaped,
            settle: settled.settle,
            cut_short: settled.cut_short,
            ..End::default()
        })?;
        Ok(Ran::Traced(Box::new(pipeline)))
    }

    /// CMD could not be executed: the capture says so, and there is nothing to judge.
    fn not_started(&self, live: Live<Programs, LiveCensus>, error: StartError) -> Failure {
        let code = error.exit_code();
        let end = End {
            start_failed: Some(code),
            ..End::default()
        };
        match live.finish(end) {
            Ok(_) => start_failure(&self.command, self.origin, &error),
            Err(error) => error.into(),
        }
    }

    async fn unavailable(
        self,
        why: &Unavailable,
        held: Held,
        signals: Signals,
    ) -> Result<Ran, Failure> {
        let failure = |code, because| Failure {
            code,
            because,
            text: format!("cannot trace here: {why}; {} was not run", self.command),
        };
        match self.if_unavailable {
            IfUnavailable::Skip => Err(failure(exit::UNAVAILABLE, Because::Unavailable)),
            IfUnavailable::Fail => Err(failure(125, Because::Internal)),
            IfUnavailable::Run => {
                let command = &self.command;
                super::complain(&format!(
                    "leaktrace: cannot trace here: {why}; {command} runs untraced, nothing is judged\n"
                ));
                let child = held
                    .go()
                    .map_err(|error| start_failure(&self.command, self.origin, &error))?;
                let watched =
                    Watched::new(child, signals).map_err(|error| failed("watch CMD", &error))?;
                let status = watched.forward().await;
                status
                    .map(Ran::Untraced)
                    .map_err(|error| failed("wait for CMD", &error))
            }
        }
    }
}

/// Says why the parts of exit are not timed, where they were asked for and are not.
pub(super) fn say_untimed(start: &Start) {
    if let Some(why) = &start.untimed {
        super::complain(&format!(
            "leaktrace: the parts of exit are not timed: {}\n",
            escape_str(why)
        ));
    }
}

/// Diagnostics from `-vv` on.
pub(super) fn load_options(options: LoadOptions, verbose: u8) -> LoadOptions {
    LoadOptions {
        diagnostics: match verbose {
            0 | 1 => Diagnostics::Off,
            _ => Diagnostics::Stderr,
        },
        ..options
    }
}

/// Says that a capture is not whole. The report has been written by then.
pub(super) fn captured(pipeline: &Pipeline) -> Result<(), Failure> {
    match pipeline.capture_failure() {
        None => Ok(()),
        Some(why) => Err(Failure::internal(format!(
            "cannot write the capture ({why}); the report is whole, the capture is cut short"
        ))),
    }
}

/// Lets the child make its call until the programs have seen it.
pub(super) fn announce(held: &mut Held, kernel: &impl Kernel) -> Result<(), Failure> {
    for _ in 0..ANNOUNCE_TRIES {
        held.announce(kernel.nonce()).map_err(not_held)?;
        if kernel.root_held()? {
            return Ok(());
        }
    }
    Err(Failure::internal(
        "the programs did not see the held child, so CMD was not run",
    ))
}

pub(super) fn begin_capture(file: &File) -> Result<CaptureWriter<File>, Failure> {
    let begin = || {
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        CaptureWriter::new(file.try_clone()?)
    };
    begin().map_err(|error| failed("write the capture", &error))
}

/// What only this side knows of the run's start: CMD, and where it works.
fn start(args: &LaunchArgs, environment: &Environment, user: Option<&User>) -> Start {
    let cwd = std::env::current_dir().unwrap_or_default();
    let own = || rustix::process::getuid().as_raw();
    let uid = user.map_or_else(own, |user| user.uid);
    let tmpdir = environment.get("TMPDIR").map(OsStrExt::as_bytes);
    Start {
        command: args
            .command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        repository: host::repository(&cwd),
        temp_roots: host::temp_roots(tmpdir, &cwd, uid),
        cwd: cwd.into_os_string().into_vec(),
        settle_ns: u64::try_from(args.settle.unwrap_or(SETTLE).as_nanos()).unwrap_or(u64::MAX),
        ..Start::default()
    }
}

fn user(args: &LaunchArgs) -> Result<Option<User>, Failure> {
    match &args.user {
        Some(name) => User::named(name)
            .map(Some)
            .map_err(|error| Failure::usage(format!("--user: {error}"))),
        None => User::invoking().map_err(|error| Failure::internal(error.to_string())),
    }
}

/// Words from the command line have no NUL byte in them: the kernel passed them as C strings.
fn c_strings(args: &LaunchArgs) -> Vec<CString> {
    args.command
        .iter()
        .filter_map(|word| CString::new(word.as_bytes()).ok())
        .collect()
}

/// Why CMD did not start, in one sentence, with the exit code that shells use.
pub(super) fn start_failure(command: &str, origin: Origin, error: &StartError) -> Failure {
    let code = error.exit_code();
    let because = match error {
        StartError::Exec(_) => Because::Child,
        StartError::Held(_) => Because::Internal,
    };
    let text = match (code, origin) {
        (127, Origin::ResetBySudo) => format!(
            "{command} was not found; sudo resets PATH, so give its whole path or use sudo env \
             PATH=\"$PATH\""
        ),
        (127, Origin::Own | Origin::Sudo) => format!("{command} was not found: {error}"),
        _ => format!("{command} cannot be run: {error}"),
    };
    Failure {
        code,
        because,
        text,
    }
}

fn not_held(error: HoldError) -> Failure {
    if let HoldError::Ended(Status::Signaled(signal)) = error {
        // ^C while the programs are loaded: the child had it, as CMD would have.
        return Failure {
            code: Status::Signaled(signal).shell_code(),
            because: Because::Child,
            text: format!("signal {signal} came before CMD was started"),
        };
    }
    // What the C library says of it does not name the limit, and not every one says the same.
    if let HoldError::System(_, why) = &error
        && why.raw_os_error() == Some(libc::EMFILE)
    {
        return Failure::internal(format!("CMD was not run: {TOO_FEW_FILES}"));
    }
    Failure::from(anyhow::Error::new(error).context("CMD was not run"))
}

pub(super) fn failed(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::internal(format!("cannot {what}: {error}"))
}

/// Ends as an untraced CMD did, and says so.
pub(super) fn untraced(status: Status) -> Ending {
    let code = status.shell_code();
    super::complain(&format!(
        "leaktrace: nothing was traced; exit {code} ({})\n",
        exit::whose(Because::Child)
    ));
    match status {
        Status::Exited(code) => Ending::Code(code),
        Status::Signaled(signal) => Ending::Signal(signal),
    }
}
