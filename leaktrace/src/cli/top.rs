//! `leaktrace top`: the live terminal UI.

use std::{path::PathBuf, thread, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Ending, Failure, Outcome, args::TargetArgs, attach, command, target::Choice, value};
use crate::{
    census::host,
    id::ProcessKey,
    model::snapshot::Snapshot,
    report::{Clock, Tool},
    session::{self, Gallery, Paced, Request},
    source::Item,
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
    /// Panic after this time: how the tests see that the terminal survives it.
    #[arg(long, hide = true, value_name = "TIME", value_parser = value::duration)]
    panic_after: Option<Duration>,
}

pub(super) fn run(args: &TopArgs) -> Outcome {
    let choice = Choice::new(&args.targets)?;
    let options = Options {
        site: site()?,
        duration: args.targets.duration,
        panic_after: args.panic_after,
    };
    let ended = match &args.from {
        Some(path) => {
            let paced = Paced::open(path)?;
            show(
                Played {
                    paced,
                    choice,
                    is_told: false,
                },
                options,
            )
        }
        None => live(args, choice, options)?,
    }?;
    Ok(match ended {
        Ended::Quit => Ending::Code(0),
        Ended::Signal(signal) => Ending::Signal(signal),
    })
}

/// Reads records on a thread of its own and shows them on this one.
fn live(
    args: &TopArgs,
    choice: Choice,
    options: Options,
) -> Result<anyhow::Result<Ended>, Failure> {
    drop(super::target::open(&args.targets)?);
    let (ask, asked) = mpsc::channel(1);
    let (ready, is_ready) = oneshot::channel();
    let reader = thread::Builder::new()
        .name("leaktrace-reader".to_owned())
        .spawn(move || read(asked, ready))
        .context("cannot start a thread")?;
    is_ready
        .blocking_recv()
        .map_err(|_| Failure::internal("the reader of records ended"))??;
    let shown = show(Live { ask, choice }, options);
    // The last asker is gone, so the reader detaches and ends.
    let read = reader
        .join()
        .map_err(|_| anyhow!("the reader of records failed"));
    Ok(read.and_then(|result| result).and(shown))
}

fn read(
    requests: mpsc::Receiver<Request>,
    ready: oneshot::Sender<Result<(), Failure>>,
) -> anyhow::Result<()> {
    let run = async {
        let attached = match attach::load(0) {
            Ok(attached) => attached,
            Err(failure) => {
                drop(ready.send(Err(failure)));
                return Ok(());
            }
        };
        let mut gallery = Gallery::new();
        gallery.feed(Item::Start(Box::new(attached.start)));
        gallery.feed(Item::Records(attached.there));
        drop(ready.send(Ok(())));
        session::serve(attached.kernel, attached.census, gallery, requests).await
    };
    command::runtime()
        .map_err(|failure| anyhow!("{failure}"))?
        .block_on(run)
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
}

impl SnapshotSource for Live {
    async fn next(&mut self, selected: Option<ProcessKey>) -> Next {
        let (reply, picture) = oneshot::channel();
        let request = Request { selected, reply };
        if self.ask.send(request).await.is_ok()
            && let Ok(mut picture) = picture.await
        {
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

fn site() -> Result<Site, Failure> {
    let Tool { kernel, .. } = host::tool();
    let clock: Clock = host::clock().context("cannot read the clock")?;
    Ok(Site {
        host: host::name(),
        kernel,
        utc_offset_s: utc_offset(clock.realtime_ns),
        clock,
    })
}

/// Local time less UTC, seconds.
fn utc_offset(realtime_ns: u64) -> i64 {
    let seconds = (realtime_ns / 1_000_000_000) as libc::time_t;
    // SAFETY: tm is integers and a pointer that localtime_r sets; both arguments are valid.
    unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut local);
        local.tm_gmtoff
    }
}
