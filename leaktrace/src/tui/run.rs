//! The loop: events in, effects out. Pictures come from a task of their own, so that neither a
//! slow terminal holds up the reading of records nor a busy reader holds up the keys.

use std::{
    fs::OpenOptions,
    future::Future,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use crossterm::event::{self, Event};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    format,
    input::{self, Intent},
    state::{Site, State},
    terminal::{self, Guard},
    update::{self, Effect},
    view,
};
use crate::{id::ProcessKey, model::snapshot::Snapshot};

/// Time between pictures.
const EVERY: Duration = Duration::from_millis(250);
/// How long the key reader waits before it looks whether it is still wanted.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Where pictures come from.
pub trait SnapshotSource: Send + 'static {
    /// The model as it is now, with the detail of the selected process.
    fn next(&mut self, selected: Option<ProcessKey>) -> impl Future<Output = Next> + Send;
}

/// What a source gives.
#[derive(Clone, Debug)]
pub enum Next {
    /// A picture.
    Picture(Box<Snapshot>),
    /// Nothing will change any more, and why, in a clause. The last picture stays on the
    /// screen; only for another process's detail a picture is asked for again.
    Over(String),
}

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Host, kernel, clocks.
    pub site: Site,
    /// Leave after this time.
    pub duration: Option<Duration>,
    /// Panic after this time: how the tests see that the terminal survives it.
    pub panic_after: Option<Duration>,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The user left.
    Quit,
    /// By this signal. The terminal has been given back; the caller re-raises it.
    Signal(i32),
}

/// Shows pictures until the user leaves or a signal says so. The terminal is as before when
/// this returns, and after a panic.
///
/// # Errors
/// There is no terminal, or it went away.
pub async fn run(source: impl SnapshotSource, options: Options) -> anyhow::Result<Ended> {
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let mut guard = Guard::enter()?;
    let mut state = State::new(options.site.clone(), guard.size()?);
    let mut keys = Keys::start().context("cannot listen to keys")?;
    let (select, selected) = watch::channel(None);
    let (send, mut pictures) = mpsc::channel(1);
    let feeding = tokio::spawn(feed(source, selected, send));
    let (leave, panic) = (after(options.duration), after(options.panic_after));
    tokio::pin!(leave, panic);
    let ended = loop {
        guard.draw(&state).context("cannot draw")?;
        select.send_if_modified(|key| {
            let now = state.selected();
            std::mem::replace(key, now) != now
        });
        let intent = tokio::select! {
            signal = signals.next() => match signal {
                Caught::End(number) => break Ended::Signal(number),
                Caught::Stop => { stop(&mut guard)?; None }
                Caught::Continued => { again(&mut guard)?; None }
            },
            Some(event) = keys.next() => input::intent(&event, update::mode(&state)),
            Some(intent) = pictures.recv() => Some(intent),
            () = &mut leave => break Ended::Quit,
            () = &mut panic => panic!("asked to panic"),
        };
        let Some(intent) = intent else { continue };
        let (next, effect) = update::update(state, intent);
        state = next;
        match effect {
            None => {}
            Some(Effect::Quit) => break Ended::Quit,
            Some(Effect::Redraw) => guard.clear()?,
            // To the whole group, as the terminal itself does for ^Z.
            Some(Effect::Suspend) => send_group(libc::SIGTSTP),
            Some(Effect::Save) => {
                let told = Intent::Tell(save(&state));
                state = update::update(state, told).0;
            }
        }
    };
    feeding.abort();
    Ok(ended)
}

/// Waits this long; forever if no time is given.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Asks for pictures: in time, and at once when another process is selected.
async fn feed(
    mut source: impl SnapshotSource,
    mut selected: watch::Receiver<Option<ProcessKey>>,
    out: mpsc::Sender<Intent>,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut goes_on = true;
    loop {
        tokio::select! {
            _ = ticks.tick(), if goes_on => {}
            changed = selected.changed() => if changed.is_err() { return },
        }
        let key = *selected.borrow_and_update();
        let intent = match source.next(key).await {
            Next::Picture(picture) => Intent::Arrived(Arc::from(picture)),
            Next::Over(over) => {
                goes_on = false;
                Intent::Over(over)
            }
        };
        if out.send(intent).await.is_err() {
            return;
        }
    }
}

/// The thread that reads the terminal.
struct Keys {
    events: mpsc::UnboundedReceiver<Event>,
    wanted: Arc<AtomicBool>,
}

impl Keys {
    fn start() -> std::io::Result<Keys> {
        let wanted = Arc::new(AtomicBool::new(true));
        let (send, events) = mpsc::unbounded_channel();
        let still = Arc::clone(&wanted);
        std::thread::Builder::new().spawn(move || {
            while still.load(Ordering::Relaxed) {
                let event = match event::poll(KEY_WAIT) {
                    Ok(true) => event::read(),
                    Ok(false) => continue,
                    Err(error) => Err(error),
                };
                // An error means that the terminal is gone; HUP ends the loop then.
                let Ok(event) = event else { return };
                if send.send(event).is_err() {
                    return;
                }
            }
        })?;
        Ok(Keys { events, wanted })
    }

    async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
    }
}

enum Caught {
    End(i32),
    Stop,
    Continued,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    quit: Signal,
    stop: Signal,
    resume: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            resume: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }

    async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.terminate.recv() => Caught::End(libc::SIGTERM),
            _ = self.interrupt.recv() => Caught::End(libc::SIGINT),
            _ = self.hangup.recv() => Caught::End(libc::SIGHUP),
            _ = self.quit.recv() => Caught::End(libc::SIGQUIT),
            _ = self.stop.recv() => Caught::Stop,
            _ = self.resume.recv() => Caught::Continued,
        }
    }
}

fn send_group(number: i32) {
    // SAFETY: kill(2) reads no memory; 0 means our own process group.
    unsafe { libc::kill(0, number) };
}

/// Stops with the terminal given back, and takes it again when continued.
fn stop(guard: &mut Guard) -> io::Result<()> {
    terminal::leave();
    // SAFETY: raise(3) reads no memory. SIGTSTP has a handler now (that is why we are here), so
    // SIGSTOP does what its default action would have done.
    unsafe { libc::raise(libc::SIGSTOP) };
    guard.resume()
}

/// Somebody stopped us without asking (SIGSTOP): the shell has set the terminal its own way.
fn again(guard: &mut Guard) -> io::Result<()> {
    terminal::leave();
    guard.resume()
}

/// Writes the picture into a new file in the working directory; says what came of it.
fn save(state: &State) -> String {
    let site = &state.site;
    let time = format::time_of_day(&site.clock, site.utc_offset_s, state.picture().at);
    let name = format!("leaktrace-{}.txt", time.replace(':', ""));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&name)
        .and_then(|mut file| file.write_all(view::page(state).as_bytes()));
    match written {
        Ok(()) => format!("saved to {name}"),
        Err(error) => format!("cannot save {name}: {error}"),
    }
}
