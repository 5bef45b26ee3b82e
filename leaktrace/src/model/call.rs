//! Calls that are told as they are.

use std::collections::{BTreeMap, VecDeque};

use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        call::{Call, ExitPending, call_flag},
        file::WalkEntry,
    },
};

use super::{
    Model,
    aio::Contexts,
    conduct::{Conduct, Hazard, HazardKind, Nearest, TOLD, Wait, named, tell},
    description::DescriptionId,
    facts::{Kind, Refused, ResourceFacts, SignalSets},
    mapping::thing_of,
    process::{Extent, Process, ProcessId},
    space::{Mapping, Sync},
    thing::Thing,
};
use crate::id::{Fd, KtimeNs, Tid};

/// include/uapi/linux/eventpoll.h
const EPOLL_CTL_ADD: u64 = 1;
const EPOLL_CTL_DEL: u64 = 2;
const ITIMER_REAL: usize = 0;
/// The signal of each interval timer: ALRM, VTALRM, PROF (setitimer(2)).
const ITIMER_SIGNALS: [u32; 3] = [14, 26, 27];
const ITIMER_NAMES: [&str; 3] = ["ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"];

/// Members of epoll sets, registered buffers, that are followed in one process.
const FOLLOWED: usize = 65_536;

/// A fd that is in another process too is stale in an epoll set only if that goes on for longer:
/// a child between fork and exec holds everything for a moment.
const FORK_TO_EXEC_NS: u64 = 100_000_000;

/// What is followed of a process's calls.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub(super) conduct: Conduct,
    timers: BTreeMap<u32, (u64, u32)>,
    itimers: [Option<Armed>; 3],
    locked: BTreeMap<u64, u64>,
    locks_all: Option<u64>,
    pending: u64,
    blocked: u64,
    /// (file, fd) that an epoll set watches.
    watched: BTreeMap<(u64, i32), Watch>,
    /// Closed, watched, and alive in another process only.
    doubtful: Vec<(DescriptionId, u64, Hazard)>,
    /// Registered buffers: ring's file, address, length.
    buffers: Vec<(u64, u64, u64)>,
    /// The last things that are no fds and were given back: the call, and what it was given.
    gone: VecDeque<(Op, u64)>,
    /// aio contexts.
    pub(super) aio: Contexts,
    /// Ranks of what it made that lives by an id or a name of its own: by when, and by which thread.
    pub(super) ipc: BTreeMap<(u64, u32), u64>,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    at: u64,
    /// When a timer that fires once does; 0: it fires again and again.
    once_at: u64,
    op: Op,
    tid: u32,
}

#[derive(Clone, Copy, Debug)]
struct Watch {
    epoll: u64,
    epfd: i32,
}

impl Followed {
    /// Another program runs: POSIX timers and locks go, interval timers stay (execve(2)).
    pub(super) fn exec(&mut self) {
        let itimers = self.itimers;
        let conduct = std::mem::take(&mut self.conduct);
        *self = Followed {
            itimers,
            conduct,
            ..Followed::default()
        };
    }

    /// How many timers, or aio contexts, there are.
    pub(super) fn count(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Aio => self.aio.count(),
            _ => self.timers.len() as u64,
        }
    }

    /// Notes the rank of something that lives by an id or a name; false if there are too many.
    pub(super) fn made_ipc(&mut self, key: (u64, u32), rank: u64) -> bool {
        let room = self.ipc.len() < FOLLOWED;
        if room {
            self.ipc.insert(key, rank);
        }
        room
    }

    /// False if there are too many to note one more.
    fn lock(&mut self, from: u64, to: u64) -> bool {
        self.unlock(from, to);
        let room = self.locked.len() < FOLLOWED;
        if room && from < to {
            self.locked.insert(from, to);
        }
        room
    }

    /// Takes a range out of what is locked.
    pub(super) fn unlock(&mut self, from: u64, to: u64) {
        if let Some((&start, &end)) = self.locked.range(..from).next_back()
            && end > from
        {
            self.locked.insert(start, from);
            if end > to {
                self.locked.insert(to, end);
            }
        }
        while let Some((&start, &end)) = self.locked.range(from..to).next() {
            self.locked.remove(&start);
            if end > to {
                self.locked.insert(to, end);
            }
        }
    }

    /// Signals, timers and locks that are there at the end.
    fn left(&self, at: u64) -> Vec<ResourceFacts> {
        let pending = (1..=64).filter(|signal| self.pending >> (signal - 1) & 1 == 1);
        let pending = pending.map(|signal| ResourceFacts {
            kind: Kind::PendingSignal,
            ipc_id: Some(signal),
            ..ResourceFacts::default()
        });
        let timers = self
            .timers
            .iter()
            .map(|(id, (acquired, tid))| ResourceFacts {
                kind: Kind::PosixTimer,
                ipc_id: Some(*id as i32),
                acquired: Some(KtimeNs(*acquired)),
                tid: Some(Tid(*tid)),
                op: Some(Op::TIMER_CREATE),
                ..ResourceFacts::default()
            });
        let armed = self.itimers.iter().enumerate();
        let armed = armed.filter_map(|(which, armed)| Some((which, (*armed)?)));
        let armed = armed.filter(|(which, armed)| {
            *which != ITIMER_REAL || armed.once_at == 0 || armed.once_at > at
        });
        let armed = armed.map(|(which, armed)| ResourceFacts {
            kind: Kind::Itimer,
            path: named(ITIMER_NAMES[which]),
            acquired: Some(KtimeNs(armed.at)),
            tid: Some(Tid(armed.tid)),
            op: Some(armed.op),
            ..ResourceFacts::default()
        });
        let locked = self.locked.iter().map(|(from, to)| ResourceFacts {
            kind: Kind::LockedMemory,
            address: Some(*from),
            bytes: Some(to - from),
            op: Some(Op::MLOCK),
            ..ResourceFacts::default()
        });
        let all = self.locks_all.map(|at| ResourceFacts {
            kind: Kind::LockedMemory,
            path: named("all of it"),
            acquired: Some(KtimeNs(at)),
            op: Some(Op::MLOCKALL),
            ..ResourceFacts::default()
        });
        pending
            .chain(timers)
            .chain(armed)
            .chain(locked)
            .chain(all)
            .collect()
    }
}

impl Model {
    pub(super) fn call(&mut self, header: &Header, call: &Call) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        if call.flags & call_flag::NO_ROOM != 0 {
            self.no_room(header, id, call);
            return;
        }
        if call.flags & call_flag::LONG != 0 {
            self.waited(header, id, call);
            return;
        }
        let [first, second, third, _] = call.arguments;
        let at = header.time_ns;
        match Op(call.op) {
            Op::EPOLL_CTL => self.epoll_ctl(header, id, call),
            Op::FSYNC | Op::FDATASYNC => self.synced_file(header, id, first as i32),
            Op::MSYNC => self.synced_range(id, first, first.saturating_add(second)),
            Op::BRK => self.heap(header, id, call),
            Op::SETSOCKOPT => self.socket_ring(header, id, call),
            Op::MADVISE => self.advised(id, first, first.saturating_add(second), third),
            Op::MLOCK | Op::MLOCK2 => {
                let room = self.follow(id).lock(first, first.saturating_add(second));
                self.evicted += u64::from(!room);
            }
            Op::MUNLOCK => self.follow(id).unlock(first, first.saturating_add(second)),
            Op::MLOCKALL => self.follow(id).locks_all = Some(at),
            Op::MUNLOCKALL => {
                let followed = self.follow(id);
                followed.locks_all = None;
                followed.locked.clear();
            }
            Op::TIMER_CREATE => {
                let timers = &mut self.follow(id).timers;
                timers.insert(call.value as u32, (at, header.tid));
                let held = timers.len() as u32;
                self.count(id, |process| {
                    process.counts.acquired(Kind::PosixTimer, held)
                });
            }
            Op::TIMER_DELETE => self.timer_deleted(id, first as u32),
            Op::SETITIMER => self.set_itimer(header, id, first as usize, call),
            Op::ALARM => self.set_itimer(header, id, ITIMER_REAL, call),
            Op::IO_SETUP => self.aio_setup(header, id, call),
            Op::IO_SUBMIT => self.aio_submitted(header, id, call),
            Op::IO_DESTROY => self.aio_destroy(header, id, call),
            Op::IO_URING_REGISTER => self.ring_buffer(id, call.file, third, call.value),
            Op::CLOSE => self.ring_closing(header, id, call),
            Op::SETRLIMIT => self.limited(id, call.value),
            // The first argument of prlimit is whose.
            Op::PRLIMIT64 if first == 0 || first as u32 == header.ns_pid => {
                self.limited(id, call.value);
            }
            _ => {}
        }
    }

    fn timer_deleted(&mut self, id: ProcessId, timer: u32) {
        if self.follow(id).timers.remove(&timer).is_some() {
            self.count(id, |process| {
                process.gave_back(Kind::PosixTimer, 0, Extent::Whole);
            });
        }
    }

    /// What is followed of a process.
    pub(super) fn follow(&mut self, id: ProcessId) -> &mut Followed {
        match self.processes.get_mut(id) {
            Some(process) => process.followed.get_or_insert_default(),
            // The caller has found it a moment ago.
            None => &mut self.nobody,
        }
    }

    fn count(&mut self, id: ProcessId, change: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(id) {
            change(process);
        }
    }

    fn no_room(&mut self, header: &Header, id: ProcessId, call: &Call) {
        let op = Op(call.op);
        if !acquires(op) {
            return;
        }
        let conduct = &mut self.follow(id).conduct;
        conduct.no_room_count += 1;
        tell(
            &mut conduct.no_room,
            Refused {
                op,
                errno: i32::try_from(-call.result).unwrap_or(0),
                at: KtimeNs(header.time_ns),
                argument: call.arguments[0],
                resource: None,
                again: false,
            },
        );
    }

    /// A call that went on for long; one in flight is told again and again.
    fn waited(&mut self, header: &Header, id: ProcessId, call: &Call) {
        let op = Op(call.op);
        let fd = u32::try_from(call.arguments[0] as i32).ok();
        let fd = fd.filter(|_| !is_of_aio(op));
        let resource = fd.and_then(|fd| {
            let slot = self.tables.get(&header.table)?.get(fd)?;
            let description = self.descriptions.get(slot.description);
            Some(Thing::of_slot(fd, slot, description).facts(&self.names))
        });
        let resource = resource.or_else(|| match is_of_aio(op) {
            true => self.aio_context(id, call.arguments[0]),
            false => None,
        });
        let wait = Wait {
            op,
            tid: Tid(header.tid),
            begin: KtimeNs(call.begin_ns),
            until: KtimeNs(header.time_ns),
            returned: call.flags & call_flag::IN_FLIGHT == 0,
            resource,
        };
        let waits = &mut self.follow(id).conduct.waits;
        let same = |known: &&mut Wait| known.tid == wait.tid && known.begin == wait.begin;
        match waits.iter_mut().find(same) {
            Some(known) => {
                known.until = wait.until;
                known.returned = wait.returned;
            }
            None => tell(waits, wait),
        }
    }

    fn epoll_ctl(&mut self, header: &Header, id: ProcessId, call: &Call) {
        let [epfd, what, fd, _] = call.arguments;
        let key = (call.file, fd as i32);
        let Some(epoll) = self.file_at(header.table, epfd as i32) else {
            return;
        };
        let watched = &mut self.follow(id).watched;
        match what {
            EPOLL_CTL_ADD if watched.len() < FOLLOWED && call.file != 0 => {
                let epfd = epfd as i32;
                watched.insert(key, Watch { epoll, epfd });
            }
            EPOLL_CTL_ADD if call.file != 0 => self.evicted += 1,
            EPOLL_CTL_DEL => {
                watched.remove(&key);
            }
            _ => {}
        }
    }

    /// Address of the `struct file` of an fd.
    fn file_at(&self, table: u32, fd: i32) -> Option<u64> {
        let slot = self.tables.get(&table)?.get(u32::try_from(fd).ok()?)?;
        Some(self.descriptions.get(slot.description).file)
    }

    /// Whether a file of this kind is open at this address.
    fn is_open(&self, file: u64, kind: Kind) -> bool {
        self.descriptions
            .find(file)
            .is_some_and(|id| self.descriptions.get(id).kind == kind)
    }

    /// An fd has been closed; `description` is still counted. If an epoll set watches it and the
    /// description lives on, its events go on and nobody can take it out of the set any more.
    pub(super) fn closed_while_watched(
        &mut self,
        id: ProcessId,
        table: u32,
        description: DescriptionId,
        thing: &Thing,
        at: u64,
    ) {
        let known = *self.descriptions.get(description);
        let Some(followed) = self.processes.get_mut(id).and_then(|p| p.followed.as_mut()) else {
            return;
        };
        let Some(watch) = followed.watched.remove(&(known.file, thing.fd)) else {
            return;
        };
        if known.refs <= 1 || !self.is_open(watch.epoll, Kind::Epoll) {
            return;
        }
        let hazard = Hazard {
            what: HazardKind::EpollStale,
            at: KtimeNs(at),
            resource: thing.facts(&self.names),
            other: Some(ResourceFacts {
                kind: Kind::Epoll,
                fd: Some(Fd(watch.epfd)),
                ..ResourceFacts::default()
            }),
        };
        let here = self.tables.get(&table).is_some_and(|table| {
            table
                .iter()
                .any(|(fd, slot)| slot.description == description && fd as i32 != thing.fd)
        });
        let followed = self.follow(id);
        match here {
            true => tell(&mut followed.conduct.hazards, hazard),
            false => tell(&mut followed.doubtful, (description, known.file, hazard)),
        }
    }

    /// mmap made a range that is locked from the beginning.
    pub(super) fn lock_range(&mut self, id: ProcessId, from: u64, to: u64) {
        let room = self.follow(id).lock(from, to);
        self.evicted += u64::from(!room);
    }

    /// A mapping of a file went that was written and not synced.
    pub(super) fn not_synced(
        &mut self,
        id: ProcessId,
        start: u64,
        bytes: u64,
        mapping: &Mapping,
        at: u64,
    ) {
        let hazard = Hazard {
            what: HazardKind::NotSynced,
            at: KtimeNs(at),
            resource: ResourceFacts {
                path: mapping.path().cloned(),
                ..thing_of(start, bytes, mapping).facts(&self.names)
            },
            other: None,
        };
        tell(&mut self.follow(id).conduct.hazards, hazard);
    }

    /// Mappings that end with the process and were not synced.
    fn not_synced_at_exit(&mut self, id: ProcessId, at: u64) {
        let space = self.processes.get(id).and_then(|p| self.spaces.get(&p.mm));
        let needed: Vec<_> = space
            .filter(|space| space.users.len() <= 1)
            .into_iter()
            .flat_map(|space| space.own_ranges(Kind::SharedMapping))
            .filter(|(_, mapping)| mapping.sync == Sync::Needed)
            .map(|(start, mapping)| (start, mapping.clone()))
            .collect();
        for (start, mapping) in needed {
            self.not_synced(id, start, mapping.end - start, &mapping, at);
        }
    }

    /// Huge pages that a process leaves mapped.
    fn huge_pages(&self, mm: u64) -> Vec<ResourceFacts> {
        let space = self.spaces.get(&mm).filter(|space| space.users.len() <= 1);
        let ranges = space
            .into_iter()
            .flat_map(|space| space.own_ranges(Kind::Hugetlb));
        let facts = ranges.map(|(start, mapping)| {
            thing_of(start, mapping.end - start, mapping).facts(&self.names)
        });
        facts.collect()
    }

    /// A ring of a process that ends, as the walk of its table tells it.
    pub(super) fn ring_at_exit(&mut self, id: ProcessId, at: u64, walk: &[(u32, WalkEntry)]) {
        for (fd, entry) in walk {
            let (name, in_flight) = entry.identity.detail.split_at(12);
            let Ok(in_flight) = <[u8; 4]>::try_from(in_flight) else {
                continue;
            };
            let in_flight = u32::from_ne_bytes(in_flight);
            let known = self.descriptions.find_same(&entry.identity);
            let known = known.map(|known| *self.descriptions.get(known));
            let ours = known.filter(|known| known.kind == Kind::IoUring && known.refs == 1);
            let (Some(known), true, true) = (ours, name.starts_with(b"[io_uring]"), in_flight > 0)
            else {
                continue;
            };
            let thing = Thing {
                fd: *fd as i32,
                id: known.id(),
                ..Thing::of(Kind::IoUring)
            };
            let hazard = Hazard {
                what: HazardKind::RingInFlight(in_flight),
                at: KtimeNs(at),
                resource: thing.facts(&self.names),
                other: None,
            };
            tell(&mut self.follow(id).conduct.hazards, hazard);
        }
    }

    fn ring_buffer(&mut self, id: ProcessId, ring: u64, address: u64, bytes: u64) {
        let buffers = &mut self.follow(id).buffers;
        match address {
            0 => buffers.retain(|(file, ..)| *file != ring),
            _ if buffers.len() < FOLLOWED => buffers.push((ring, address, bytes)),
            _ => self.evicted += 1,
        }
    }

    /// A range is unmapped: what was locked there is not any more, and no ring ought to write
    /// to it.
    pub(super) fn range_gone(&mut self, id: ProcessId, from: u64, to: u64, at: u64) {
        let Some(followed) = self.processes.get_mut(id).and_then(|p| p.followed.as_mut()) else {
            return;
        };
        followed.unlock(from, to);
        if followed.buffers.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        followed.buffers.retain(|(ring, address, bytes)| {
            let stays = *address >= to || address.saturating_add(*bytes) <= from;
            if !stays {
                gone.push((*ring, *address, *bytes));
            }
            stays
        });
        for (ring, address, bytes) in gone {
            if !self.is_open(ring, Kind::IoUring) {
                continue;
            }
            let hazard = Hazard {
                what: HazardKind::BufferUnmapped,
                at: KtimeNs(at),
                resource: ResourceFacts {
                    kind: Kind::Anonymous,
                    address: Some(address),
                    bytes: Some(bytes),
                    op: Some(Op::MUNMAP),
                    ..ResourceFacts::default()
                },
                other: Some(ResourceFacts {
                    kind: Kind::IoUring,
                    ..ResourceFacts::default()
                }),
            };
            tell(&mut self.follow(id).conduct.hazards, hazard);
        }
    }

    fn ring_closing(&mut self, header: &Header, id: ProcessId, call: &Call) {
        let Some(description) = self.descriptions.find(call.file) else {
            return;
        };
        let known = *self.descriptions.get(description);
        // Another fd keeps the ring.
        if known.refs > 1 {
            return;
        }
        let slot = self.tables.get(&header.table).and_then(|table| {
            let (fd, slot) = table
                .iter()
                .find(|(_, slot)| slot.description == description)?;
            Some(Thing::of_slot(fd, slot, &known))
        });
        let thing = slot.unwrap_or(Thing::of(Kind::IoUring));
        let hazard = Hazard {
            what: HazardKind::RingInFlight(call.value as u32),
            at: KtimeNs(header.time_ns),
            resource: thing.facts(&self.names),
            other: None,
        };
        tell(&mut self.follow(id).conduct.hazards, hazard);
    }

    fn set_itimer(&mut self, header: &Header, id: ProcessId, which: usize, call: &Call) {
        let at = header.time_ns;
        let armed = Armed {
            at,
            once_at: match call.interval {
                0 => at.saturating_add(call.value.saturating_mul(1_000)),
                _ => 0,
            },
            op: Op(call.op),
            tid: header.tid,
        };
        if let Some(timer) = self.follow(id).itimers.get_mut(which) {
            *timer = (call.value != 0).then_some(armed);
        }
    }

    /// A signal was generated: a timer that fires once has.
    pub(super) fn timer_fired(&mut self, id: ProcessId, signal: u32) {
        let Some(which) = ITIMER_SIGNALS.iter().position(|of| *of == signal) else {
            return;
        };
        let Some(followed) = self.processes.get_mut(id).and_then(|p| p.followed.as_mut()) else {
            return;
        };
        let timer = &mut followed.itimers[which];
        *timer = timer.filter(|armed| armed.once_at == 0);
    }

    /// Notes that something which is no fd was given back.
    pub(super) fn note_given_back(&mut self, id: ProcessId, op: Op, what: u64) {
        let gone = &mut self.follow(id).gone;
        if gone.len() >= TOLD {
            gone.pop_front();
        }
        gone.push_back((op, what));
    }

    /// Whether it was given back before.
    pub(super) fn gave_back(&self, id: ProcessId, op: Op, what: u64) -> bool {
        let followed = self.processes.get(id).and_then(|p| p.followed.as_ref());
        followed.is_some_and(|followed| followed.gone.contains(&(op, what)))
    }

    fn limited(&mut self, id: ProcessId, limit: u64) {
        // Until now it was the old limit that counted.
        self.note_nearest(id);
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.nofile = limit;
        if let Some(table) = self.tables.get_mut(&process.table.0) {
            table.open.peak = table.open.all;
        }
    }

    /// Compares the most fds so far with the limit now.
    fn note_nearest(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get(id) {
            let nearest = self.nearest(process);
            self.follow(id).conduct.nearest = nearest;
        }
    }

    fn nearest(&self, process: &Process) -> Nearest {
        let known = process.followed.as_ref().map(|f| f.conduct.nearest);
        let table = self.tables.get(&process.table.0);
        let peak = table.map_or(0, |table| table.open.peak);
        known.unwrap_or_default().or(peak, process.nofile)
    }

    pub(super) fn exit_pending(&mut self, header: &Header, pending: &ExitPending) {
        if let Some(id) = self.live_of(header) {
            let followed = self.follow(id);
            (followed.pending, followed.blocked) = (pending.pending, pending.blocked);
        }
    }

    /// What signals would meet a process with that ends now.
    pub(super) fn signals_at_end(&self, id: ProcessId) -> SignalSets {
        let Some(process) = self.processes.get(id) else {
            return SignalSets::default();
        };
        let followed = process.followed.as_ref();
        let (pending, blocked) = followed.map_or((0, 0), |it| (it.pending, it.blocked));
        SignalSets {
            handled: process.handled,
            ignored: process.ignored,
            blocked,
            pending,
        }
    }

    /// What a process did, told while it lives.
    pub(super) fn conduct(&self, process: &Process) -> Conduct {
        self.conduct_at(process, self.now)
    }

    fn conduct_at(&self, process: &Process, now: KtimeNs) -> Conduct {
        let followed = process.followed.as_ref();
        let mut conduct = followed.map(|f| f.conduct.clone()).unwrap_or_default();
        if process.end.is_some() {
            return conduct;
        }
        conduct.nearest = self.nearest(process);
        if let Some(table) = self.tables.get(&process.table.0) {
            conduct.growth = table.trend.points(self.now.0, table.open.all);
        }
        self.settle_doubts(followed.map(|followed| &**followed), &mut conduct);
        self.settle_aio(process, now, &mut conduct);
        conduct
    }

    /// Watched descriptions that another process went on to hold.
    fn settle_doubts(&self, followed: Option<&Followed>, conduct: &mut Conduct) {
        for (id, file, hazard) in followed.iter().flat_map(|f| &f.doubtful) {
            let lives = self.descriptions.find(*file) == Some(*id);
            let long = self.now.since(hazard.at) >= Some(FORK_TO_EXEC_NS);
            if lives && long {
                tell(&mut conduct.hazards, hazard.clone());
            }
        }
    }

    /// Completes what is told of a process that ends. Called before its table goes.
    pub(super) fn finish_conduct(&mut self, header: &Header, id: ProcessId) {
        self.not_synced_at_exit(id, header.time_ns);
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let key = process.key;
        let mut conduct = self.conduct_at(process, KtimeNs(u64::MAX));
        let followed = process.followed.as_ref();
        if let Some(followed) = followed {
            conduct.left = followed.left(header.time_ns);
        }
        conduct.left.extend(self.huge_pages(process.mm));
        if process.exit_group.is_some() {
            conduct.threads_left = process.threads_at_exit;
        }
        let runs = |child: &&Process| {
            child.end.is_none() && child.maker.is_some_and(|(maker, _)| maker == key)
        };
        if process.children > 0 {
            let children = self.processes.iter().filter(runs);
            conduct.children_left = children.map(|child| child.key).collect();
            conduct.children_left.sort();
        }
        if conduct != Conduct::default() {
            self.follow(id).conduct = conduct;
        }
    }
}

/// Whether what a call is given first is an aio context, and no fd.
fn is_of_aio(op: Op) -> bool {
    matches!(op, Op::IO_SUBMIT | Op::IO_GETEVENTS | Op::IO_DESTROY)
}

/// Whether a call acquires something: a refused release is another matter.
fn acquires(op: Op) -> bool {
    !matches!(
        op,
        Op::CLOSE
            | Op::CLOSE_RANGE
            | Op::MUNMAP
            | Op::SHMDT
            | Op::SHMCTL
            | Op::SEMCTL
            | Op::MSGCTL
            | Op::MQ_UNLINK
            | Op::UNLINK
            | Op::UNLINKAT
            | Op::RMDIR
            | Op::EXIT_GROUP
            | Op::FSYNC
            | Op::FDATASYNC
            | Op::MSYNC
            | Op::MADVISE
            | Op::MUNLOCK
            | Op::MUNLOCKALL
            | Op::WAIT4
            | Op::WAITID
    )
}
