//! A run on a live kernel: watch CMD, settle, ask, detach.

use std::{fs::File, io, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep},
};

use super::{
    Pipeline, Purpose,
    mend::{Haste, Mending},
};
use crate::{
    audit::{Scope, Settling},
    census::{Census, Question, holder, host, present},
    id::KtimeNs,
    launch::{Received, Running, Sender, Signals, Status, signals},
    policy::Policy,
    report::Settle,
    source::{End, Item, Kernel, Start, capture::CaptureWriter},
};

/// How often settling looks again when no record comes. CMD's caller waits for this.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How often settling asks whether those it waits for are still there; records tell sooner,
/// unless they were lost.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// What a rehearsal took, times this, is kept for judging, for what comes after it, and for a
/// machine that has more to do by then.
const REHEARSED: u32 = 2;
/// How often calls that wait for long are looked for.
const LOOK_FOR_WAITING: Duration = Duration::from_secs(1);
/// How often the time is noted while nothing happens.
const TICK: Duration = Duration::from_millis(100);
/// More bytes than the rings hold: what comes after them was not there when reading began.
const ALL: usize = 64 << 20;
/// Bytes that are taken to catch up: some 10 ms' worth.
const CAUGHT_UP: usize = 1 << 20;
/// How often what was lost is read again before something is judged.
const MEND_TRIES: u32 = 4;
/// Phrases in the report's `settle.for`.
const MAX_REASONS: usize = 32;

/// What a run on a live kernel is made of.
pub struct Live<K, C> {
    kernel: K,
    census: C,
    pipeline: Pipeline,
    capture: Option<CaptureWriter<File>>,
    policy: Policy,
    scope: Scope,
    ticked: Instant,
    looked: Instant,
    mending: Mending,
}

/// The child that is watched, and the signals meant for it.
pub struct Watched {
    pub(super) child: Running,
    pub(super) signals: AsyncFd<Signals>,
}

impl Watched {
    /// Registers both with the current runtime.
    ///
    /// # Errors
    /// epoll refuses.
    pub fn new(child: Running, signals: Signals) -> io::Result<Watched> {
        Ok(Watched {
            child,
            signals: signals.register()?,
        })
    }

    /// Where the signals come.
    pub fn signals(&self) -> &AsyncFd<Signals> {
        &self.signals
    }

    /// Waits for the child's end and passes on signals meant for it; for a child that nobody
    /// traces.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn forward(&self) -> io::Result<Status> {
        let ended = self.child.wait();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                status = &mut ended => return status,
                received = signals::next(&self.signals) => self.pass_on(received?),
            }
        }
    }

    pub(super) fn pass_on(&self, received: Received) {
        match received.sender {
            Sender::Process => self.child.signal(received.signal),
            // A terminal has sent it to CMD as well.
            Sender::Kernel => {}
        }
    }
}

/// Why settling went on or stopped.
enum Woken {
    /// Time to look again.
    Look,
    /// A signal says that it is enough.
    CutShort,
}

impl<K: Kernel, C: Census> Live<K, C> {
    /// Begins a run; `capture` gets everything that the pipeline gets.
    ///
    /// # Errors
    /// The capture cannot be written.
    pub fn begin(
        kernel: K,
        census: C,
        start: Start,
        policy: Policy,
        purpose: Purpose,
        capture: Option<CaptureWriter<File>>,
    ) -> anyhow::Result<Live<K, C>> {
        // A capture may be judged by another policy later, so it gets every answer.
        let scope = match capture {
            Some(_) => Scope::Everything,
            None => Scope::Judged,
        };
        let mut live = Live {
            kernel,
            census,
            pipeline: Pipeline::new(purpose),
            capture,
            policy,
            scope,
            ticked: Instant::now(),
            looked: Instant::now(),
            mending: Mending::default(),
        };
        live.pipeline.set_budgets(&live.policy);
        live.take(Item::Start(Box::new(start)));
        Ok(live)
    }

    /// Runs until CMD's root process was reaped, passing on signals meant for it.
    ///
    /// # Errors
    /// Records cannot be read, the capture not be written, or the child not be waited for.
    pub async fn watch(&mut self, watched: &Watched) -> anyhow::Result<Status> {
        let ended = watched.child.wait();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                status = &mut ended => return status.context("wait for CMD"),
                received = signals::next(&watched.signals) => {
                    watched.pass_on(received.context("read signals")?);
                }
                batch = self.kernel.next_batch() => {
                    let batch = batch?;
                    self.take(Item::Records(batch));
                    self.tick();
                    self.look_for_waiting()?;
                    self.mend(Haste::InTurn)?;
                }
            }
        }
    }

    /// Once in a while, looks for calls that wait: a kernel that cannot tell is no reason to end.
    pub(super) fn look_for_waiting(&mut self) -> anyhow::Result<()> {
        if self.looked.elapsed() < LOOK_FOR_WAITING {
            return Ok(());
        }
        self.looked = Instant::now();
        // What the ring has is older than what is the case now.
        self.catch_up()?;
        if let Ok(waiting) = self.kernel.waiting() {
            self.take(Item::Records(waiting));
        }
        Ok(())
    }

    /// Has read again what is wrong since records were lost.
    ///
    /// # Errors
    /// The kernel or /proc cannot be read.
    pub(super) fn mend(&mut self, haste: Haste) -> anyhow::Result<()> {
        let tries = match haste {
            Haste::InTurn => 1,
            // What a busy process did meanwhile may have been lost once more.
            Haste::Now => MEND_TRIES,
        };
        for _ in 0..tries {
            let model = self.pipeline.model();
            let records =
                self.mending
                    .mend(&mut self.kernel, model, self.pipeline.start(), haste)?;
            for records in records {
                self.take(Item::Records(records));
            }
            if haste == Haste::InTurn {
                break;
            }
            self.drain_all()?;
            if self.pipeline.model().tainted().is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Waits, on evidence and until the deadline, for what can still go by itself; then asks
    /// everything that judging needs to know.
    ///
    /// # Errors
    /// Records cannot be read.
    pub async fn settle(
        &mut self,
        signals: &AsyncFd<Signals>,
        reaped: KtimeNs,
    ) -> anyhow::Result<Settled> {
        let mut settled = Settled::default();
        let mut asked = Instant::now();
        let mut deadline = self.pipeline.deadline(reaped, Duration::ZERO);
        // While it waits there is time to find out what is to be done after that.
        let mut rehearsal = Some(reaped.0.saturating_add((deadline.0 - reaped.0) / 4));
        loop {
            self.catch_up()?;
            let now = KtimeNs(host::boottime_ns());
            let reasons = match self.pipeline.settle(deadline, now) {
                Settling::Done => break,
                Settling::WaitFor { reasons, .. } => reasons,
            };
            settled.note(reasons);
            if rehearsal.is_some_and(|at| now.0 >= at) {
                rehearsal = None;
                let judging = self.rehearse().await;
                deadline = self.pipeline.deadline(reaped, judging * REHEARSED);
            } else if asked.elapsed() >= ASK_AGAIN {
                let questions = self.pipeline.settle_questions();
                self.answer(questions).await;
                asked = Instant::now();
            }
            match wake(signals).await? {
                Woken::Look => {}
                Woken::CutShort => {
                    settled.cut_short = true;
                    break;
                }
            }
        }
        settled.settle.waited_ns = host::boottime_ns().saturating_sub(reaped.0);
        self.mend(Haste::Now)?;
        self.ask_in_turn().await;
        Ok(settled)
    }

    /// Everything that judging needs to know: later questions follow from earlier answers.
    async fn ask_in_turn(&mut self) {
        self.ask().await;
        self.ask_for_holders();
        self.ask_for_stacks().await;
        let sources = self.pipeline.sources(&self.policy, self.scope);
        self.answer(sources).await;
    }

    /// How long asking and judging takes here and now. What is answered is asked again at the end.
    async fn rehearse(&mut self) -> Duration {
        let begun = Instant::now();
        self.ask_in_turn().await;
        drop(self.pipeline.judge(&self.policy));
        begun.elapsed()
    }

    /// Who has what is left. A failure is an answer too.
    fn ask_for_holders(&mut self) {
        let questions = self.pipeline.holder_questions(&self.policy, self.scope);
        if questions.is_empty() {
            return;
        }
        let found = self.kernel.holders(&holder::keys(&questions));
        let found = found.map_err(|why| format!("{why:#}"));
        for answer in holder::answers(questions, found) {
            self.take(Item::Answer(Box::new(answer)));
        }
    }

    /// Asks everything that judging needs to know of what goes on.
    ///
    /// # Errors
    /// The census has ended.
    pub async fn ask_all(&mut self) -> anyhow::Result<()> {
        self.ask().await;
        self.ask_for_stacks().await;
        Ok(())
    }

    /// The functions that acquired what findings are about.
    async fn ask_for_stacks(&mut self) {
        let stacks = self.pipeline.stack_questions(&self.policy, self.scope);
        self.answer(stacks).await;
    }

    async fn ask(&mut self) {
        let questions = self.pipeline.questions(&self.policy, self.scope);
        self.answer(questions).await;
    }

    async fn answer(&mut self, questions: Vec<Question>) {
        for answer in self.census.ask(questions).await {
            self.take(Item::Answer(Box::new(answer)));
        }
    }

    /// Takes the programs out of the kernel, counts, and closes the capture. Records that came
    /// after the last question are counted and not judged: what they tell of was not asked about.
    ///
    /// # Errors
    /// The kernel does not let go, or the capture cannot be written.
    pub fn finish(mut self, mut end: End) -> anyhow::Result<Pipeline> {
        end.judged_ns = host::boottime_ns();
        self.kernel.detach().context("detach")?;
        while !self.kernel.drain()?.is_empty() {}
        end.events = self.kernel.counts()?;
        end.faults = self.kernel.faults()?;
        self.take(Item::End(Box::new(end)));
        if let Some(capture) = self.capture.take()
            && let Err(error) = capture.finish()
        {
            self.pipeline.capture_failed(error.to_string());
        }
        Ok(self.pipeline)
    }

    /// The pipeline, while it is fed.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(crate) async fn next_batch(&mut self) -> anyhow::Result<Bytes> {
        self.kernel.next_batch().await
    }

    /// Takes what the processes that are there already have mapped. Records that have come since
    /// the programs were attached are to be taken after it: they come on top.
    pub fn take_mappings(&mut self) {
        let living: Vec<_> = self.pipeline.model().living().collect();
        for key in living {
            if let Some(records) = self.kernel.mapped(key) {
                self.take(Item::Records(records));
            }
        }
    }

    /// Takes where the processes that are there already have code mapped, for their stacks.
    pub fn take_images(&mut self) {
        let living: Vec<_> = self.pipeline.model().living().collect();
        for key in living {
            if let Some(records) = self.kernel.images(key) {
                self.take(Item::Records(records));
            }
        }
    }

    /// Takes over what the processes that live call themselves and whose they are now.
    pub fn take_names(&mut self) {
        if !host::in_initial_pid_namespace() {
            return;
        }
        let living: Vec<_> = self.pipeline.model().living().collect();
        for key in living {
            if let Some(now) = present::look(key.pid) {
                self.pipeline.is_now(key, &now.comm, now.uid);
            }
        }
    }

    /// Takes the records that are there now, a few ms' worth at most.
    ///
    /// # Errors
    /// Records cannot be read, or the capture not be written.
    pub fn catch_up(&mut self) -> anyhow::Result<()> {
        self.drain(CAUGHT_UP)
    }

    /// Takes every record that there is.
    ///
    /// # Errors
    /// Records cannot be read.
    pub(super) fn drain_all(&mut self) -> anyhow::Result<()> {
        self.drain(ALL)
    }

    /// Takes records until there is none, or so many bytes were taken.
    fn drain(&mut self, enough: usize) -> anyhow::Result<()> {
        let mut taken = 0;
        while taken < enough {
            let batch = self.kernel.drain()?;
            if batch.is_empty() {
                break;
            }
            taken += batch.len();
            self.take(Item::Records(batch));
        }
        Ok(())
    }

    pub(super) fn tick(&mut self) {
        if self.ticked.elapsed() < TICK {
            return;
        }
        self.ticked = Instant::now();
        self.take(Item::Tick(host::boottime_ns()));
    }

    /// Takes an item into the capture and the pipeline.
    pub fn take(&mut self, item: Item) {
        if matches!(&item, Item::Records(records) if records.is_empty()) {
            return;
        }
        self.record(&item);
        self.pipeline.feed(item);
    }

    /// A full disk costs the capture, not the report: that is told at the end.
    fn record(&mut self, item: &Item) {
        if let Some(capture) = &mut self.capture
            && let Err(error) = capture.write(item)
        {
            self.pipeline.capture_failed(error.to_string());
            self.capture = None;
        }
    }
}

async fn wake(signals: &AsyncFd<Signals>) -> anyhow::Result<Woken> {
    tokio::select! {
        biased;
        received = signals::next(signals) => {
            received.context("read signals")?;
            Ok(Woken::CutShort)
        }
        () = sleep(LOOK_AGAIN) => Ok(Woken::Look),
    }
}

/// How settling went.
#[derive(Debug, Default)]
pub struct Settled {
    /// For the report.
    pub settle: Settle,
    /// A signal ended it.
    pub cut_short: bool,
}

impl Settled {
    fn note(&mut self, reasons: Vec<String>) {
        for reason in reasons {
            let known = &mut self.settle.r#for;
            if known.len() < MAX_REASONS && !known.contains(&reason) {
                known.push(reason);
            }
        }
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
