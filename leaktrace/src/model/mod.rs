//! The model: per-process resource tables rebuilt from records. Pure and deterministic.
//!
//! Inputs are records and the time; outputs are [`facts::Facts`] for audit,
//! [`snapshot::Snapshot`] for the terminal, and [`facts::Sample`]s for histograms. It judges
//! nothing, reads no clock and asks the kernel nothing.
//!
//! What it refuses to do: guess. A release of what it does not know waits until something
//! explains it; a gap in the records taints every process that lived through it.

#![forbid(unsafe_code)]

mod address_space;
mod aio;
#[cfg(test)]
mod aio_tests;
mod alike;
mod budget;
mod call;
mod collect;
pub mod conduct;
mod created;
mod description;
mod doubt;
mod end;
#[cfg(test)]
mod end_tests;
pub mod facts;
mod fd;
mod forget;
#[cfg(test)]
mod found_tests;
mod hash;
mod heap;
mod holdings;
mod index;
mod ipc;
mod kind;
mod ledger;
mod life;
mod mapping;
mod names;
mod open_ranks;
mod page;
mod path;
mod phase;
mod process;
mod rate;
#[cfg(test)]
mod reference_tests;
mod release;
mod remains;
mod remap;
mod reread;
mod ring;
mod run;
mod runtime;
mod scope;
mod signal;
pub mod snapshot;
mod socket_ring;
mod space;
pub mod stack;
mod sweep;
mod table;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod thing;
mod total;
mod trend;
pub mod trigger;
mod view;
#[cfg(test)]
mod view_tests;
mod walk;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use leaktrace_common::record::{Header, header_flag};

use self::{
    description::Descriptions,
    facts::{Families, Gap, Sample, SampleKind},
    hash::NumberMap,
    ledger::{Extent, Ledger},
    names::Names,
    page::Page,
    process::{Origin, Process, ProcessId, Processes},
    remains::Remains,
    reread::MapSeeds,
    ring::Rings,
    scope::Scopes,
    space::{Cut, Space},
    table::Table,
    walk::Walking,
};
use crate::{
    decode::{self, Body, Record},
    id::{KtimeNs, ProcessKey},
    parity::Difference,
};

/// What is kept of processes that have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All of them, for the report.
    #[default]
    Tree,
    /// The last 2,000, and nothing else: memory stays bounded.
    System,
}

/// Whether durations are kept for [`Model::take_samples`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Samples {
    /// No.
    #[default]
    Dropped,
    /// Yes; they are to be taken after every batch.
    Kept,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelConfig {
    /// What is kept of processes that have ended.
    pub mode: Mode,
    /// Whether durations are kept.
    pub samples: Samples,
}

/// What is known of lost records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LossIs {
    /// That there were some: they may be of anyone.
    #[default]
    Anywhere,
    /// Whose they were: the next record of that task says so.
    Marked,
}

/// Ends that the system-wide mode keeps.
const EXITS: usize = 2_000;
/// Gaps told one by one; later ones are added to the last.
const GAPS: usize = 4_096;

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Records understood.
    pub records: u64,
    /// Records of kinds that this version does not know.
    pub unknown: u64,
    /// Records that are malformed.
    pub malformed: u64,
}

/// The model.
#[derive(Debug, Default)]
pub struct Model {
    config: ModelConfig,
    now: KtimeNs,
    root: Option<ProcessKey>,
    processes: Processes,
    tables: NumberMap<u32, Box<Table>>,
    descriptions: Descriptions,
    names: Names,
    spaces: NumberMap<u64, Space>,
    page: Page,
    /// Kept between calls, so that an munmap takes no memory.
    cuts: Vec<Cut>,
    walks: NumberMap<u32, Walking>,
    rings: Rings,
    socket_rings: socket_ring::SocketRings,
    /// Lists of mappings that are coming.
    map_seeds: BTreeMap<ProcessKey, MapSeeds>,
    loss: LossIs,
    forgetting: forget::Forgetting,
    /// Tables and address spaces that were read again after a loss.
    rereads: u64,
    ledger: Ledger,
    remains: Remains,
    scopes: Scopes,
    stacking: stack::Stacking,
    /// Budgets of all programs.
    budgets: Vec<conduct::Budget>,
    /// What the record that is being applied has put into tables, if there are budgets.
    acquired_fds: Vec<(ProcessId, u32, u32)>,
    /// In the place of a process that is not known.
    nobody: Box<call::Followed>,
    /// What ended processes held.
    alike: alike::Alike,
    /// Exited and not reaped, as far as we know; oldest first.
    zombies: Vec<ProcessId>,
    /// In order of their ends; system-wide mode only keeps the last.
    exits: VecDeque<ProcessId>,
    ended: u64,
    /// Number of the next acquisition of anything by anyone.
    next_rank: u64,
    samples: Vec<Sample>,
    gaps: Vec<Gap>,
    dropped: u32,
    lost: u64,
    /// Facts that were given up for want of room.
    evicted: u64,
    self_check: (u64, u64),
    /// Address spaces whose pages were compared, and how many differed.
    space_check: (u64, u64),
    /// The first things in which a table differed at its end.
    differed: Vec<Difference>,
    read: Read,
}

impl Model {
    /// An empty one.
    pub fn new(config: ModelConfig) -> Model {
        let extent = match config.mode {
            Mode::Tree => Extent::All,
            Mode::System => Extent::Latest,
        };
        Model {
            config,
            ledger: Ledger::new(extent),
            // Rank 0 is older than everything that is seen to be acquired.
            next_rank: 1,
            ..Model::default()
        }
    }

    /// Applies every record of a batch. Malformed ones are counted and passed over.
    pub fn feed(&mut self, batch: &Bytes) {
        let mut records = decode::records(batch);
        for record in records.by_ref() {
            match record {
                Ok(record) => self.apply(&record),
                Err(_) => self.read.malformed += 1,
            }
        }
        self.read.unknown += records.unknown();
    }

    /// Applies one record.
    pub fn apply(&mut self, record: &Record<'_>) {
        let header = &record.header;
        self.read.records += 1;
        if header.dropped != self.dropped {
            self.note_gap(header);
        }
        self.now = self.now.max(KtimeNs(header.time_ns));
        if self.forgetting.is_due(self.now) {
            self.forget_unused();
        }
        if header.flags & header_flag::LOST != 0 {
            self.marked(header);
        }
        if header.flags & header_flag::STACK != 0 {
            self.note_stack(header, &record.body);
        }
        match &record.body {
            Body::FdAcquire(fd, text) => self.fd_acquire(header, fd, text),
            Body::FdRelease(release) => self.fd_release(header, release),
            Body::FdRange(range) => self.fd_range(header, range),
            Body::FdGone(gone) => self.fd_gone(header, gone),
            Body::FdWalk(walk) => self.fd_walk(header, walk),
            Body::FdSeed(fd, text) => self.fd_seed(header, fd, text),
            Body::SocketSeed(socket) => self.socket_seed(header, socket),
            Body::FdLock(lock) => self.fd_lock(header, lock),
            Body::FdTable(table) => self.fd_table(header, table),
            Body::SocketAcquire(socket) => self.socket_acquire(header, socket),
            Body::SocketName(name, texts) => self.socket_name(header, name, texts),
            Body::Map(map) => self.map(header, map),
            Body::Unmap(unmap) => self.unmap(header, unmap),
            Body::Remap(remap) => self.remap(header, remap),
            Body::MapSeed(seed, text) => self.map_seed(header, seed, text),
            Body::RingSetup(ring) => self.ring_setup(header, ring),
            Body::RingState(state) => self.ring_state(state),
            Body::AioState(state) => self.aio_state(header, state),
            Body::RingExit(exit) => self.ring_exit(header, exit),
            Body::SignalGenerate(signal) => self.signal_generate(header, signal),
            Body::SignalDeliver(_) => {}
            Body::SignalAction(action) => self.signal_action(header, action),
            Body::IpcGet(get) => self.ipc_get(header, get),
            Body::IpcRemove(remove) => self.ipc_remove(header, remove),
            Body::ShmAttach(attach) => self.shm_attach(header, attach),
            Body::ShmDetach(detach) => self.shm_detach(header, detach),
            Body::MqOpen(open, text) => self.mq_open(header, open, text),
            Body::MqUnlink(unlink, text) => self.mq_unlink(header, unlink, text),
            Body::Name(name, texts) => self.name(header, name, texts),
            Body::TaskNew(new) => self.task_new(header, new),
            Body::Exec(exec, texts) => self.exec(header, exec, texts),
            Body::Reap(reap) => self.reap(header, reap),
            Body::Free(_) => self.free(header),
            Body::Taint(taint) => self.task_taint(header, taint),
            Body::Namespaces(made) => self.namespaces_made(header, made),
            Body::Root(seed) => self.root(header, seed),
            Body::Seed(seed) => self.seed(header, seed),
            Body::Target(seed) => self.target(header, seed),
            Body::Reread(reread) => self.reread(header, reread),
            Body::Marked => {}
            Body::Stack(stack) => self.stack(header, stack),
            Body::Image(image, text) => self.image(header, image, text),
            Body::Scope(scope, text) => self.scope(header, scope, text),
            Body::ExitGroup(exit) => self.exit_group(header, exit),
            Body::ExitThread(_) => self.exit_thread(header),
            Body::ExitProcess(exit) => self.exit_process(header, exit),
            Body::ExitMm(exit) => self.exit_mm(header, exit),
            Body::ExitNotify(_) => self.exit_notify(header),
            Body::ExitPending(pending) => self.exit_pending(header, pending),
            Body::ExitTimes(times) => self.exit_times(header, times),
            Body::Call(call) => self.call(header, call),
        }
        if !self.acquired_fds.is_empty() {
            self.check_acquired_fds();
        }
    }

    /// The time goes on: nothing older will come.
    pub fn advance(&mut self, now: KtimeNs) {
        self.now = self.now.max(now);
    }

    /// Processes that have not ended.
    pub fn living(&self) -> impl Iterator<Item = ProcessKey> {
        let live = self.processes.iter().filter(|process| process.lives());
        live.map(|process| process.key)
    }

    /// The held child, if it has announced itself.
    pub fn root_key(&self) -> Option<ProcessKey> {
        self.root
    }

    /// How much was read so far.
    pub fn read(&self) -> Read {
        self.read
    }

    /// Records lost so far, and when the first was.
    pub fn lost(&self) -> (u64, Option<KtimeNs>) {
        (self.lost, self.gaps.first().map(|gap| gap.after))
    }

    /// Tables and address spaces that were read again after a loss.
    pub fn rereads(&self) -> u64 {
        self.rereads
    }

    /// Durations since the last call. Empty unless the configuration keeps them.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.samples)
    }

    /// Live fds and the bytes that the model takes for them: tables, descriptions and their
    /// index; not the interned names.
    pub fn footprint(&self) -> (usize, usize) {
        let fds = self.tables.values().map(|table| table.open.all as usize);
        let tables: usize = self.tables.values().map(|table| table.bytes()).sum();
        let ranks: usize = self
            .processes
            .iter()
            .map(|process| process.phase.bytes())
            .sum();
        (fds.sum(), tables + ranks + self.descriptions.bytes())
    }

    /// The header's process; one that is not known is adopted.
    #[inline]
    fn process_of(&mut self, header: &Header) -> ProcessId {
        match self.processes.find(header.pid, header.start_ns) {
            Some(id) => id,
            None => self.adopt(header),
        }
    }

    /// The header's process, if it has not ended.
    #[inline]
    fn live_of(&mut self, header: &Header) -> Option<ProcessId> {
        let id = self.process_of(header);
        let ended = self.processes.get(id)?.end.is_some();
        (!ended).then_some(id)
    }

    /// A process whose birth was not seen.
    fn adopt(&mut self, header: &Header) -> ProcessId {
        let task = leaktrace_common::record::task::TaskFacts {
            pid: header.pid,
            tid: header.tid,
            ns_pid: header.ns_pid,
            start_ns: header.start_ns,
            table: header.table,
            ..Default::default()
        };
        let mut process = Process::new(&task, KtimeNs(header.time_ns), Origin::Preexisting);
        let since = KtimeNs(header.time_ns);
        process.taint(since, Families::ANY, || {
            "its beginning was not seen".to_owned()
        });
        self.table_user(header.table, process.key);
        self.processes.add(process)
    }

    /// The programs count what the ring had no room for; a rise is a gap just before here.
    /// A record that was reserved before and filled after another may tell less: not a gap.
    #[cold]
    fn note_gap(&mut self, header: &Header) {
        let risen = header.dropped.wrapping_sub(self.dropped);
        if risen == 0 || risen > u32::MAX / 2 {
            return;
        }
        self.dropped = header.dropped;
        self.lost += u64::from(risen);
        self.forgetting.gap(KtimeNs(header.time_ns).max(self.now));
        let gap = Gap {
            after: self.now,
            before: KtimeNs(header.time_ns),
            lost: u64::from(risen),
        };
        if self.loss == LossIs::Anywhere {
            let live = self
                .processes
                .iter_mut()
                .filter(|process| process.end.is_none());
            let why = || format!("{risen} records lost");
            live.for_each(|process| process.taint(gap.after, Families::ANY, why));
        }
        let full = self.gaps.len() >= GAPS;
        match self.gaps.last_mut() {
            Some(last) if full => {
                last.before = gap.before;
                last.lost += gap.lost;
            }
            _ => self.gaps.push(gap),
        }
    }

    /// Gives a duration, if anyone wants it.
    #[inline]
    fn sample(
        &mut self,
        process: ProcessKey,
        kind: SampleKind,
        class: Option<facts::Class>,
        ns: u64,
    ) {
        if self.config.samples == Samples::Kept {
            self.samples.push(Sample {
                process,
                kind,
                class,
                ns,
            });
        }
    }
}
