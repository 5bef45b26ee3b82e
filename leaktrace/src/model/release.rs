//! fds go: close, dup2 over an open number, close_range.

use std::collections::BTreeSet;

use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        file::{FdGone, FdRange, FdRelease},
    },
};

use super::{
    Model,
    facts::{Refused, SampleKind},
    phase::Logged,
    process::{Extent, ProcessId},
    runtime::Part,
    table::{Inherited, Parked, Slot, after},
    thing::Thing,
    walk::Walking,
};
use crate::id::KtimeNs;

/// CLOSE_RANGE_CLOEXEC (include/uapi/linux/close_range.h).
const CLOSE_RANGE_CLOEXEC: u32 = 4;
const EBADF: i32 = 9;

/// One explicit release of an fd.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release {
    pub(super) fd: u32,
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) tid: u32,
}

impl Model {
    pub(super) fn fd_release(&mut self, header: &Header, release: &FdRelease) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        let op = Op(release.op);
        // Only close frees the number whatever it says (close(2): EINTR, EIO).
        let freed = release.file != 0 && (release.errno == 0 || op == Op::CLOSE);
        if release.errno != 0 && op == Op::CLOSE {
            self.close_failed(header, process, release);
        } else if op == Op::CLOSE {
            self.close_succeeded(header, process, release.fd);
        }
        let Ok(fd) = u32::try_from(release.fd) else {
            return;
        };
        if !freed {
            return;
        }
        let how = Release {
            fd,
            begin: release.begin_ns,
            end: header.time_ns,
            tid: header.tid,
        };
        let seq = header.seq as u32;
        let last = self.last_of_ours(header, release);
        if !self.release(header.table, process, release.file, seq, how) {
            self.park(header, release.file, how);
            self.doubt(header, process);
        }
        if let Some(last) = last {
            self.note_kept(last, release);
        }
    }

    /// A number was taken out of the table by something else than a call of its own. What it
    /// held is what is known to be there, unless that is what the number holds by now; then it
    /// is what has been pushed out.
    pub(super) fn fd_gone(&mut self, header: &Header, gone: &FdGone) {
        let (Some(process), Ok(fd)) = (self.live_of(header), u32::try_from(gone.fd)) else {
            return;
        };
        let Some(table) = self.tables.get(&header.table) else {
            return;
        };
        let pushed_out = table.displaced.iter().filter(|(number, _)| *number == fd);
        let candidates = table.get(fd).into_iter();
        let candidates = candidates.chain(pushed_out.map(|(_, slot)| slot));
        let file = |slot: &Slot| self.descriptions.get(slot.description).file;
        let Some(file) = candidates.map(file).find(|file| *file != gone.now) else {
            return;
        };
        let how = Release {
            fd,
            begin: match gone.begin_ns {
                0 => header.time_ns,
                known => known,
            },
            end: header.time_ns,
            tid: header.tid,
        };
        self.release(header.table, process, file, header.seq as u32, how);
        self.doubt(header, process);
    }

    /// Takes the fd that a release means out of its table, or from among those that were pushed
    /// out of it. Whether it was there.
    pub(super) fn release(
        &mut self,
        table_id: u32,
        process: ProcessId,
        file: u64,
        seq: u32,
        how: Release,
    ) -> bool {
        let Some(table) = self.tables.get_mut(&table_id) else {
            return false;
        };
        table.rate.note(how.end, table.open.all);
        let descriptions = &self.descriptions;
        let is =
            |slot: &Slot| descriptions.get(slot.description).file == file && after(seq, slot.seq);
        let slot = match table.get(how.fd) {
            Some(slot) if is(slot) => {
                let kind = descriptions.get(slot.description).kind;
                table.take(how.fd, kind)
            }
            _ => {
                let meant = |(fd, slot): &(u32, Slot)| *fd == how.fd && is(slot);
                let place = table.displaced.iter().position(meant);
                place.map(|place| table.take_displaced(place))
            }
        };
        let Some(slot) = slot else {
            return false;
        };
        let inherited = match table.is_inherited(how.fd, &slot) {
            true => Inherited::Yes,
            false => Inherited::No,
        };
        self.released(table_id, process, slot, inherited, how);
        true
    }

    /// Counts, times and logs a release, and gives the reference back.
    fn released(
        &mut self,
        table: u32,
        id: ProcessId,
        slot: Slot,
        inherited: Inherited,
        how: Release,
    ) {
        let description = *self.descriptions.get(slot.description);
        let duration = how.end.saturating_sub(how.begin);
        let class = description.kind.class();
        if let Some(process) = self.processes.get_mut(id) {
            process.spent(class, duration);
            let key = process.key;
            if inherited == Inherited::No {
                process.gave_back(description.kind, 0, Extent::Whole);
            }
            if inherited == Inherited::No && slot.part == Part::Takes {
                let release = Logged {
                    thing: Thing::of_slot(how.fd, &slot, &description),
                    rank: slot.rank,
                    released: how.end,
                    by: how.tid,
                    duration,
                    place: 0,
                };
                let phase = &mut process.phase;
                phase.released(release, self.next_rank, &mut self.names);
            }
            self.sample(key, SampleKind::Release, Some(class), duration);
            if inherited == Inherited::No && slot.acquired != 0 {
                let held = how.end.saturating_sub(slot.acquired);
                self.sample(key, SampleKind::Hold, Some(class), held);
            }
        }
        if inherited == Inherited::No {
            self.stack_released(&slot);
        }
        self.socket_closes(id, slot.description, inherited);
        let thing = Thing::of_slot(how.fd, &slot, &description);
        self.closed_while_watched(id, table, slot.description, &thing, how.end);
        self.descriptions.release(slot.description, &mut self.names);
    }

    /// Counts a release that no record could be matched with: what the slot stood for is in the
    /// table no more, for its number is something else by now, or nothing. When it went is not
    /// known, so nothing is timed and no order is told.
    pub(super) fn gone_untold(&mut self, id: Option<ProcessId>, slot: &Slot, inherited: bool) {
        if inherited {
            return;
        }
        let kind = self.descriptions.get(slot.description).kind;
        if let Some(process) = id.and_then(|id| self.processes.get_mut(id)) {
            process.gave_back(kind, 0, Extent::Whole);
        }
        self.stack_released(slot);
    }

    /// At the end of a table that nobody shares: what was acquired and is not held went before,
    /// whether its release could be told apart from others or not.
    pub(super) fn gone_before_end(&mut self, id: ProcessId, table: u32, walk: &Walking) {
        let in_doubt = self.is_in_doubt(id);
        let Some(table) = self.tables.get(&table) else {
            return;
        };
        let as_many = table.open.all as usize == walk.entries().len();
        if as_many && table.displaced.is_empty() && !in_doubt {
            return;
        }
        let held = walk.entries().iter();
        let held: BTreeSet<_> = held.map(|(fd, it)| (*fd, it.identity.file)).collect();
        let file = |slot: &Slot| self.descriptions.get(slot.description).file;
        let gone = table.iter();
        let gone = gone.filter(|(fd, slot)| !held.contains(&(*fd, file(slot))));
        let displaced = table.displaced.iter().map(|(fd, slot)| (*fd, slot));
        let gone = gone.chain(displaced);
        let gone = gone.map(|(fd, slot)| (*slot, table.is_inherited(fd, slot)));
        let gone: Vec<(Slot, bool)> = gone.collect();
        for (slot, inherited) in gone {
            self.gone_untold(Some(id), &slot, inherited);
        }
    }

    /// A release of what the table does not have waits for its acquisition: with several
    /// threads a blind close may be told before the open whose fd it closed.
    fn park(&mut self, header: &Header, file: u64, how: Release) {
        let Some(table) = self.tables.get_mut(&header.table) else {
            return;
        };
        table.park(Parked {
            fd: how.fd,
            file,
            seq: header.seq as u32,
            begin: how.begin,
            end: how.end,
            tid: how.tid,
        });
    }

    /// A close that the kernel refused: EBADF may be part of a sweep, anything else is told.
    fn close_failed(&mut self, header: &Header, id: ProcessId, release: &FdRelease) {
        // The mark of an fd that is closed already or was never opened: dash closes -1 for each
        // stage of a pipeline.
        if release.fd < 0 && release.errno == EBADF {
            return;
        }
        let resource = self.fd_thing(header.table, release.fd);
        let refused = Refused {
            op: Op(release.op),
            errno: release.errno,
            at: KtimeNs(header.time_ns),
            argument: release.fd as u32 as u64,
            resource: resource
                .filter(|_| release.file != 0)
                .map(|thing| thing.facts(&self.names)),
            again: release.errno == EBADF && self.was_closed(header.table, release.fd),
        };
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        if release.errno != EBADF {
            process.refuse(refused);
            return;
        }
        let errors = process.sweep.close(header.tid, release.fd, Some(refused));
        errors.into_iter().for_each(|error| process.refuse(error));
    }

    /// Whether the process itself has closed that number before.
    fn was_closed(&self, table: u32, fd: i32) -> bool {
        let fd = u32::try_from(fd).ok();
        let table = self.tables.get(&table);
        fd.zip(table)
            .is_some_and(|(fd, table)| table.was_given_back(fd))
    }

    /// A close that found something goes on with a sweep, or ends one.
    #[inline]
    fn close_succeeded(&mut self, header: &Header, id: ProcessId, fd: i32) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        if process.sweep.is_on() {
            let errors = process.sweep.close(header.tid, fd, None);
            errors.into_iter().for_each(|error| process.refuse(error));
        }
    }

    /// The fd with this number, in short.
    fn fd_thing(&self, table: u32, fd: i32) -> Option<Thing> {
        let fd = u32::try_from(fd).ok()?;
        let slot = self.tables.get(&table)?.get(fd)?;
        let description = self.descriptions.get(slot.description);
        Some(Thing::of_slot(fd, slot, description))
    }

    pub(super) fn fd_range(&mut self, header: &Header, range: &FdRange) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        if range.errno != 0 || range.flags & CLOSE_RANGE_CLOEXEC != 0 {
            return;
        }
        self.doubt(header, process);
        let Some(table) = self.tables.get(&header.table) else {
            return;
        };
        let seq = header.seq as u32;
        let before = |fd: &u32| table.get(*fd).is_some_and(|slot| after(seq, slot.seq));
        let mut numbers = table.numbers(range.first, range.last);
        numbers.retain(before);
        let count = numbers.len().max(1) as u64;
        let duration = header.time_ns.saturating_sub(range.begin_ns) / count;
        // One call gives all of them back at once: told newest first, it is in order.
        let rank = |fd: &u32| table.get(*fd).map_or(0, |slot| slot.rank);
        numbers.sort_by_key(|fd| std::cmp::Reverse(rank(fd)));
        for fd in numbers {
            let Some(thing) = self
                .tables
                .get(&header.table)
                .and_then(|table| table.get(fd))
            else {
                continue;
            };
            let file = self.descriptions.get(thing.description).file;
            let how = Release {
                fd,
                begin: header.time_ns - duration,
                end: header.time_ns,
                tid: header.tid,
            };
            let last = self.last_of_range(header, fd);
            self.release(header.table, process, file, seq, how);
            self.note_left(last);
        }
    }
}
