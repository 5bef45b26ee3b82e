//! `leaktrace top`: the live terminal UI.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::Args;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Ending, Failure, Outcome,
    args::{LaunchArgs, TargetArgs},
    aside::Aside,
    attach::{self, Attached},
    command::{self, Prepared, failed},
    exit, policy,
    target::Choice,
    value,
};
use crate::{
    bpf::{self, ExitTimes, LoadOptions},
    census::host,
    id::{KtimeNs, ProcessKey},
    launch::{Found, Running},
    model::snapshot::Snapshot,
    policy::Policy,
    report::{Because, Clock, Tool},
    session::{self, Gallery, Paced, Request},
    source::{Item, Kernel, Start},
    tui::{self, Ended, Next, Options, Site, SnapshotSource},
};

/// Arguments of `top`.
#[derive(Debug, Default, Args)]
pub(super) struct TopArgs {
    /// Play a capture instead of looking at this machine; needs no privileges.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    targets: TargetArgs,
    /// The policy; without it, leaktrace.toml from the working directory upwards.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    policy: Option<PathBuf>,
    /// Run CMD as this user; without it, under sudo, as the user that ran sudo.
    #[arg(long, value_name = "USER", requires = "command")]
    user: Option<OsString>,
    /// CMD and its arguments: show its tree only. Where its standard streams are the terminal
    /// it gets /dev/null.
    #[arg(last = true, value_name = "CMD", conflicts_with = "from")]
    command: Vec<OsString>,
    /// Panic after this time: how the tests see that the terminal survives it.
    #[arg(long, hide = true, value_name = "TIME", value_parser = value::duration)]
    panic_after: Option<Duration>,
}

pub(super) fn run(args: TopArgs, found: Found) -> Outcome {
    host::use_one_heap();
    let choice = Choice::new(&args.targets)?;
    let (duration, panic_after) = (args.targets.duration, args.panic_after);
    let options = |site| Options {
        site,
        duration,
        panic_after,
    };
    let ended = match &args.from {
        Some(path) => {
            let paced = Paced::open(path)?;
            let site = site_recorded(path, paced.start());
            show(
                Played {
                    paced,
                    choice,
                    is_told: false,
                },
                options(site),
            )
        }
        None => {
            drop(super::target::open(&args.targets)?);
            tui::check_terminal()?;
            let policy = policy::load(args.policy.as_deref())?;
            live(prepare(args, found)?, policy, choice, options(site_here()?))?
        }
    }?;
    Ok(match ended {
        Ended::Quit => Ending::Code(0),
        Ended::Signal(signal) => Ending::Signal(signal),
    })
}

/// Holds CMD, if there is one.
fn prepare(args: TopArgs, found: Found) -> Result<Option<Prepared>, Failure> {
    if args.command.is_empty() {
        return Ok(None);
    }
    let launch = LaunchArgs {
        user: args.user,
        command: args.command,
        ..LaunchArgs::default()
    };
    let _aside = Aside::put().map_err(|error| failed("put /dev/null before CMD", &error))?;
    command::prepare(&launch, found).map(Some)
}

/// Reads records on a thread of its own and shows them on this one.
fn live(
    prepared: Option<Prepared>,
    policy: Policy,
    choice: Choice,
    options: Options,
) -> Result<anyhow::Result<Ended>, Failure> {
    let (ask, asked) = mpsc::channel(1);
    let (ready, is_ready) = oneshot::channel();
    let reader = thread::Builder::new()
        .name("leaktrace-reader".to_owned())
        .spawn(move || read(prepared, policy, asked, ready))
        .context("cannot start a thread")?;
    let child = is_ready
        .blocking_recv()
        .map_err(|_| Failure::internal("the reader of records ended"))??;
    let source = Live {
        ask,
        choice,
        child,
        root_reaped: Arc::default(),
    };
    let shown = show(source, options);
    // The last asker is gone, so the reader detaches and ends.
    let read = reader
        .join()
        .map_err(|_| anyhow!("the reader of records failed"));
    Ok(read.and_then(|result| result).and(shown))
}

/// Tells the reader's begin, with CMD's root process if there is one, or why there is none.
type Ready = oneshot::Sender<Result<Option<Running>, Failure>>;

fn read(
    prepared: Option<Prepared>,
    policy: Policy,
    requests: mpsc::Receiver<Request>,
    ready: Ready,
) -> anyhow::Result<()> {
    let run = async {
        let begun = match prepared {
            Some(prepared) => begin_command(prepared),
            None => attach::load(ExitTimes::Off, 0).map(|attached| (attached, None)),
        };
        let (mut attached, child) = match begun {
            Ok(begun) => begun,
            Err(failure) => {
                drop(ready.send(Err(failure)));
                return Ok(());
            }
        };
        let mut gallery = Gallery::new();
        gallery.set_policy(policy);
        gallery.feed(Item::Start(Box::new(attached.start)));
        gallery.feed(Item::Records(attached.there));
        for key in gallery.living() {
            if let Some(mapped) = attached.kernel.mapped(key) {
                gallery.feed(Item::Records(mapped));
            }
        }
        drop(ready.send(Ok(child)));
        session::serve(attached.kernel, attached.census, gallery, requests).await
    };
    command::runtime()
        .map_err(|failure| anyhow!("{failure}"))?
        .block_on(run)
}

/// Loads for CMD's tree and lets CMD go.
fn begin_command(prepared: Prepared) -> Result<(Attached, Option<Running>), Failure> {
    let Prepared {
        mut held,
        start,
        command,
        origin,
    } = prepared;
    let mut kernel = bpf::load(&LoadOptions::tree()).map_err(|why| Failure {
        code: exit::UNAVAILABLE,
        because: Because::Unavailable,
        text: format!("cannot trace here: {why}; {command} was not run"),
    })?;
    let census = kernel.census()?;
    command::announce(&mut held, &kernel)?;
    let start = Start {
        command: start.command,
        cwd: start.cwd,
        repository: start.repository,
        temp_roots: start.temp_roots,
        settle_ns: start.settle_ns,
        ..kernel.start()
    };
    let child = held
        .go()
        .map_err(|error| command::start_failure(&command, origin, &error))?;
    let attached = Attached {
        kernel,
        census,
        start,
        there: Bytes::new(),
    };
    Ok((attached, Some(child)))
}

fn show(source: impl SnapshotSource, options: Options) -> anyhow::Result<Ended> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(tui::run(source, options))
}

/// Pictures of this machine.
struct Live {
    ask: mpsc::Sender<Request>,
    choice: Choice,
    /// CMD's root process, until somebody waits for it.
    child: Option<Running>,
    /// When it was reaped, ns; 0: not yet.
    root_reaped: Arc<AtomicU64>,
}

impl Live {
    /// Waits for CMD beside everything else; leaktrace is its parent.
    fn wait_for_child(&mut self) {
        if let Some(child) = self.child.take() {
            let reaped = Arc::clone(&self.root_reaped);
            tokio::spawn(async move {
                if child.wait().await.is_ok() {
                    reaped.store(host::boottime_ns(), Ordering::Relaxed);
                }
            });
        }
    }
}

impl SnapshotSource for Live {
    async fn next(&mut self, selected: Option<ProcessKey>) -> Next {
        self.wait_for_child();
        let (reply, picture) = oneshot::channel();
        let root_reaped = match self.root_reaped.load(Ordering::Relaxed) {
            0 => None,
            at => Some(KtimeNs(at)),
        };
        let request = Request {
            selected,
            root_reaped,
            takes_findings: false,
            reply,
        };
        if self.ask.send(request).await.is_ok()
            && let Ok(mut picture) = picture.await
        {
            self.choice.refresh();
            choose(&self.choice, &mut picture);
            return Next::Picture(picture);
        }
        Next::Over("records cannot be read any more".to_owned())
    }
}

/// Pictures of a capture.
struct Played {
    paced: Paced,
    choice: Choice,
    /// That it is over.
    is_told: bool,
}

impl SnapshotSource for Played {
    async fn next(&mut self, selected: Option<ProcessKey>) -> Next {
        match self.paced.picture(selected, Instant::now()) {
            Ok(Some(mut picture)) => {
                choose(&self.choice, &mut picture);
                Next::Picture(Box::new(picture))
            }
            Ok(None) if !self.is_told => {
                self.is_told = true;
                Next::Over("the capture is over".to_owned())
            }
            Ok(None) => {
                let mut picture = self.paced.last(selected);
                choose(&self.choice, &mut picture);
                Next::Picture(Box::new(picture))
            }
            Err(error) => Next::Over(format!("{error:#}")),
        }
    }
}

fn choose(choice: &Choice, picture: &mut Snapshot) {
    picture
        .live
        .retain(|row| choice.has_row(row.key.pid, &row.comm, Some(row.uid)));
    picture
        .exits
        .retain(|row| choice.has_row(row.key.pid, &row.comm, None));
}

fn site_here() -> Result<Site, Failure> {
    let Tool { kernel, .. } = host::tool();
    let clock: Clock = host::clock().context("cannot read the clock")?;
    Ok(Site {
        host: host::name(),
        kernel,
        utc_offset_s: utc_offset(clock.realtime_ns),
        clock,
    })
}

/// Of a capture: its clocks are not ours.
fn site_recorded(path: &Path, start: Start) -> Site {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Site {
        host: format!("capture {name}"),
        kernel: start.tool.kernel,
        utc_offset_s: utc_offset(start.clock.realtime_ns),
        clock: start.clock,
    }
}

/// Local time less UTC, seconds.
fn utc_offset(realtime_ns: u64) -> i64 {
    let seconds = (realtime_ns / 1_000_000_000) as i64;
    // SAFETY: tm is integers and a pointer that localtime_r sets; both arguments are valid.
    unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut local);
        local.tm_gmtoff
    }
}
