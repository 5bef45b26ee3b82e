//! `leaktrace serve`: watches for as long as it runs, and is scraped meanwhile.
//!
//! Records are read on a thread of their own; this one answers HTTP, waits for signals and writes
//! findings, a line of JSON each, as they are found.

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    Ending, Failure, Outcome,
    args::TargetArgs,
    attach::{self, Attached},
    command::{self, failed},
    output::{self, Content},
    policy,
    scrape::{self, Page},
};
use crate::{
    bpf::ExitTimes,
    census::{cgroup, host},
    launch::{Signals, signals},
    model::snapshot::Snapshot,
    policy::Policy,
    session::{self, Gallery, Request},
    sink::{
        jsonl,
        metrics::{self, Form, Own},
    },
    source::{Item, Kernel},
};

/// How often findings are asked for.
const LOOK: Duration = Duration::from_secs(1);

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Where to be scraped; only this machine can unless another address is given.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9479")]
    listen: SocketAddr,
    /// Where findings go, a line of JSON each; `-` is stdout. A file is appended to.
    #[arg(short, long, value_name = "PATH", default_value = "-")]
    output: PathBuf,
    /// The policy; without it, leaktrace.toml from the working directory upwards.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Say nothing on stderr.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    targets: TargetArgs,
}

pub(super) fn run(args: &ServeArgs) -> Outcome {
    host::use_one_heap();
    let policy = policy::load(args.policy.as_deref())?;
    let out = sink(&args.output)?;
    let runtime = command::runtime()?;
    let listener = runtime
        .block_on(scrape::listen(args.listen))
        .map_err(|error| Failure::usage(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().unwrap_or(args.listen);
    // Before there is another thread, so that the signals come to this one only.
    let signals = Signals::block().map_err(|error| failed("block signals", &error))?;
    let (ask, reader) = start(args.targets.clone(), policy)?;
    if !args.quiet {
        super::complain(&format!("leaktrace: metrics on http://{address}/metrics\n"));
    }
    let page = Arc::new(Serving {
        ask,
        unwritten: AtomicU64::new(0),
        cgroups: Mutex::default(),
    });
    let ended = runtime.block_on(async {
        let signals = signals.register().context("watch signals")?;
        let answering = tokio::spawn(scrape::answer(listener, Arc::clone(&page)));
        let deadline = args.targets.duration.map(|time| Instant::now() + time);
        let ended = watch(&page, &signals, deadline, out).await;
        answering.abort();
        ended
    });
    // Connections go with the runtime, and the last asker with them: the reader detaches.
    drop(runtime);
    drop(page);
    let read = reader
        .join()
        .map_err(|_| anyhow!("the reader of records failed"))?;
    read?;
    ended?;
    Ok(Ending::Code(0))
}

type Out = Box<dyn Write>;

fn sink(path: &Path) -> Result<Out, Failure> {
    match path == Path::new("-") {
        true => Ok(Box::new(std::io::stdout())),
        false => Ok(Box::new(output::open(path, Content::Kept)?)),
    }
}

type Reader = thread::JoinHandle<anyhow::Result<()>>;

/// Starts the reading of records, and waits until they are read.
fn start(targets: TargetArgs, policy: Policy) -> Result<(mpsc::Sender<Request>, Reader), Failure> {
    let (ask, asked) = mpsc::channel(4);
    let (ready, is_ready) = oneshot::channel();
    let reader = thread::Builder::new()
        .name("leaktrace-reader".to_owned())
        .spawn(move || read(&targets, policy, asked, ready))
        .context("cannot start a thread")?;
    is_ready
        .blocking_recv()
        .map_err(|_| Failure::internal("the reader of records ended"))??;
    Ok((ask, reader))
}

fn read(
    targets: &TargetArgs,
    policy: Policy,
    requests: mpsc::Receiver<Request>,
    ready: oneshot::Sender<Result<(), Failure>>,
) -> anyhow::Result<()> {
    let run = async {
        let begun = match targets.names_some() {
            true => attach::load_targets(targets, ExitTimes::Told),
            false => attach::load(ExitTimes::Told, 0),
        };
        let Attached {
            mut kernel,
            census,
            start,
            there,
        } = match begun {
            Ok(attached) => attached,
            Err(failure) => {
                drop(ready.send(Err(failure)));
                return Ok(());
            }
        };
        let mut gallery = Gallery::judging(policy);
        gallery.feed(Item::Start(Box::new(start)));
        gallery.feed(Item::Records(there));
        for key in gallery.living() {
            if let Some(mapped) = kernel.mapped(key) {
                gallery.feed(Item::Records(mapped));
            }
        }
        drop(ready.send(Ok(())));
        session::serve(kernel, census, gallery, requests).await
    };
    command::runtime()
        .map_err(|failure| anyhow!("{failure}"))?
        .block_on(run)
}

/// Writes findings until a signal comes, the time is over, or records cannot be read any more.
async fn watch(
    page: &Serving,
    signals: &tokio::io::unix::AsyncFd<Signals>,
    deadline: Option<Instant>,
    mut out: Out,
) -> anyhow::Result<()> {
    let over = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            received = signals::next(signals) => {
                received.context("read signals")?;
                break;
            }
            () = &mut over => break,
            _ = look.tick() => {
                let Some(mut picture) = page.picture(Wants::Findings).await else {
                    // The reader says why.
                    return Ok(());
                };
                page.write(&mut out, &mut picture);
            }
        }
    }
    if let Some(mut picture) = page.picture(Wants::Findings).await {
        page.write(&mut out, &mut picture);
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    Findings,
    Figures,
}

/// What asks the reader.
struct Serving {
    ask: mpsc::Sender<Request>,
    /// Findings whose line could not be written.
    unwritten: AtomicU64,
    cgroups: Mutex<cgroup::Paths>,
}

impl Serving {
    async fn picture(&self, wants: Wants) -> Option<Box<Snapshot>> {
        let (reply, picture) = oneshot::channel();
        let request = Request {
            selected: None,
            root_reaped: None,
            takes_findings: wants == Wants::Findings,
            reply,
        };
        self.ask.send(request).await.ok()?;
        picture.await.ok()
    }

    /// A full disk, or a reader that went away, costs lines, not the metrics: they count them.
    fn write(&self, out: &mut Out, picture: &mut Snapshot) {
        for finding in picture.fresh.drain(..) {
            let line = jsonl::finding(&finding).map_err(std::io::Error::other);
            let written = line.and_then(|line| out.write_all(line.as_bytes()));
            if written.and_then(|()| out.flush()).is_err() {
                self.unwritten.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Page for Serving {
    async fn metrics(&self, form: Form) -> Option<String> {
        let picture = self.picture(Wants::Figures).await?;
        let own = Own {
            resident_bytes: host::resident_bytes(),
            unwritten: self.unwritten.load(Ordering::Relaxed),
        };
        let ids = picture.live.iter().map(|row| row.cgroup).collect();
        let paths = match self.cgroups.lock() {
            Ok(mut cgroups) => cgroups.of(&ids),
            Err(_) => BTreeMap::new(),
        };
        metrics::render(*picture, paths, host::tool(), own, form).ok()
    }
}
