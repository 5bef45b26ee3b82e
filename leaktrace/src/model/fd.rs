//! fds come and go.

use leaktrace_common::{
    abi::Op,
    record::{
        FileIdentity, Header, SocketType,
        file::{FdAcquire, FdRange, FdRelease, acquire_flag},
        ring::RingSetup,
        socket::SocketAcquire,
    },
};
use zerocopy::FromBytes;

use super::{
    Model,
    description::DescriptionId,
    facts::{Refused, SampleKind},
    kind,
    phase::Logged,
    process::ProcessId,
    table::{Inherited, Parked, Slot, after},
    thing::{self, Thing},
};
use crate::{decode::Text, id::KtimeNs};

/// CLOSE_RANGE_CLOEXEC (include/uapi/linux/close_range.h).
const CLOSE_RANGE_CLOEXEC: u32 = 4;
const EBADF: i32 = 9;

/// One explicit release of an fd.
#[derive(Clone, Copy, Debug)]
struct Release {
    fd: u32,
    begin: u64,
    end: u64,
    tid: u32,
}

impl Model {
    pub(super) fn fd_acquire(&mut self, header: &Header, fd: &FdAcquire, text: &Text<'_>) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        // The mark stays with the file (f_mode), so a dup of it has the flag as well.
        let opened = matches!(Op(fd.op), Op::OPEN | Op::OPENAT | Op::OPENAT2 | Op::CREAT);
        let created =
            fd.flags & acquire_flag::CREATED != 0 && fd.flags & acquire_flag::TMPFILE == 0;
        if created && opened {
            self.file_created(header, process, fd, text);
        }
        let added = self.acquire(header, process, fd);
        if let Some(description) = added
            && !text.is_none()
        {
            self.name_description(description, text);
        }
    }

    pub(super) fn socket_acquire(&mut self, header: &Header, socket: &SocketAcquire) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        if let Some(description) = self.acquire(header, process, &socket.fd) {
            let Ok(type_) = SocketType::read_from_bytes(&socket.fd.identity.detail) else {
                return;
            };
            self.set_ends(
                description,
                &thing::ends(type_.family, &socket.local, &socket.peer),
            );
        }
    }

    pub(super) fn ring_setup(&mut self, header: &Header, ring: &RingSetup) {
        if let Some(process) = self.live_of(header) {
            self.acquire(header, process, &ring.fd);
        }
    }

    /// Puts an fd into its table. Gives back the description if it is new and still open.
    pub(super) fn acquire(
        &mut self,
        header: &Header,
        process: ProcessId,
        fd: &FdAcquire,
    ) -> Option<DescriptionId> {
        let number = u32::try_from(fd.fd).ok()?;
        let op = Op(fd.op);
        let known = match kind::shares_description(op) {
            true => self.descriptions.find_same(&fd.identity),
            false => None,
        };
        let description = self.describe(known, &fd.identity, op);
        let slot = Slot {
            acquired: header.time_ns,
            rank: self.next_rank,
            description,
            seq: header.seq as u32,
            tid: header.tid,
            op: fd.op,
            inherited: Inherited::No,
        };
        self.next_rank += 1;
        self.put(header, process, number, slot);
        let still_open = self.unpark(header, process, number, fd.identity.file);
        (known.is_none() && still_open).then_some(description)
    }

    /// The description of an fd that is about to be put, with a reference for it.
    fn describe(
        &mut self,
        known: Option<DescriptionId>,
        identity: &FileIdentity,
        op: Op,
    ) -> DescriptionId {
        match known {
            Some(known) => {
                self.descriptions.keep(known);
                known
            }
            None => self.descriptions.add(identity, kind::of_file(identity, op)),
        }
    }

    fn put(&mut self, header: &Header, process: ProcessId, fd: u32, slot: Slot) {
        let kind = self.descriptions.get(slot.description).kind;
        let table = self.tables.entry(header.table).or_default();
        table.rate.note(header.time_ns, table.open.all);
        // Records of a table may change places by a few: this one may be older than the slot.
        let newest = table.get(fd).is_none_or(|there| after(slot.seq, there.seq));
        let out = match newest {
            true => table.put(fd, slot, kind),
            false => Some(slot),
        };
        let inherited = table.is_inherited(fd, &slot);
        if let Some(out) = out {
            if newest {
                let kind = self.descriptions.get(out.description).kind;
                table.uncount(fd, &out, kind);
            }
            let file = |slot: &Slot| self.descriptions.get(slot.description).file;
            // What an iterator read, told once more by its own acquisition, waits for nothing.
            let same = out.seq == 0 && file(&out) == file(&slot);
            let gone = match same {
                true => Some(out),
                false => table.displace(fd, out),
            };
            if let Some(gone) = gone {
                self.descriptions.release(gone.description, &mut self.names);
            }
        }
        let held = table.open.own[kind as usize];
        if inherited {
            return;
        }
        if let Some(process) = self.processes.get_mut(process) {
            process.counts.acquired(kind, held);
            process.phase.acquired(slot.rank);
        }
    }

    /// Applies a release of this fd that came before its acquisition. Whether the fd is still
    /// open.
    fn unpark(&mut self, header: &Header, process: ProcessId, fd: u32, file: u64) -> bool {
        let Some(table) = self.tables.get_mut(&header.table) else {
            return false;
        };
        if table.parked.is_empty() {
            return true;
        }
        let seq = header.seq as u32;
        let waits =
            |parked: &Parked| parked.fd == fd && parked.file == file && after(parked.seq, seq);
        let Some(place) = table.parked.iter().position(waits) else {
            return true;
        };
        let parked = table.parked.remove(place);
        let release = Release {
            fd,
            begin: parked.begin,
            end: parked.end,
            tid: parked.tid,
        };
        !self.release(header.table, process, file, parked.seq, release)
    }

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
        if !self.release(header.table, process, release.file, seq, how) {
            self.park(header, release.file, how);
        }
    }

    /// Takes the fd that a release means out of its table, or from among those that were pushed
    /// out of it. Whether it was there.
    fn release(
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
                place.map(|place| table.displaced.remove(place).1)
            }
        };
        let Some(slot) = slot else {
            return false;
        };
        let inherited = match table.is_inherited(how.fd, &slot) {
            true => Inherited::Yes,
            false => Inherited::No,
        };
        self.released(process, slot, inherited, how);
        true
    }

    /// Counts, times and logs a release, and gives the reference back.
    fn released(&mut self, id: ProcessId, slot: Slot, inherited: Inherited, how: Release) {
        let description = *self.descriptions.get(slot.description);
        let duration = how.end.saturating_sub(how.begin);
        let class = description.kind.class();
        if let Some(process) = self.processes.get_mut(id) {
            process.spent(class, duration);
            let key = process.key;
            if inherited == Inherited::No {
                process.counts.released(description.kind);
                let release = Logged {
                    thing: Thing::of_slot(how.fd, &slot, &description),
                    rank: slot.rank,
                    released: how.end,
                    by: how.tid,
                    duration,
                    place: 0,
                };
                process
                    .phase
                    .released(release, self.next_rank, &mut self.names);
            }
            self.sample(key, SampleKind::Release, Some(class), duration);
            if inherited == Inherited::No && slot.acquired != 0 {
                let held = how.end.saturating_sub(slot.acquired);
                self.sample(key, SampleKind::Hold, Some(class), held);
            }
        }
        self.descriptions.release(slot.description, &mut self.names);
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
            self.release(header.table, process, file, seq, how);
        }
    }

    /// Gives a description its path or name.
    pub(super) fn name_description(&mut self, id: DescriptionId, text: &Text<'_>) {
        let Some(path) = text.path() else {
            return;
        };
        let name = self.names.intern(&path);
        let description = self.descriptions.get_mut(id);
        let old = std::mem::replace(&mut description.name, name);
        self.names.release(old);
    }

    /// Gives a socket its two ends.
    pub(super) fn set_ends(&mut self, id: DescriptionId, ends: &[u8]) {
        if ends.is_empty() {
            return;
        }
        let ends = self.names.intern(ends);
        let description = self.descriptions.get_mut(id);
        let old = std::mem::replace(&mut description.ends, ends);
        self.names.release(old);
    }

    /// The description behind an fd, if it is the one that the kernel tells.
    pub(super) fn described(
        &self,
        table: u32,
        fd: i32,
        identity: &FileIdentity,
    ) -> Option<DescriptionId> {
        let fd = u32::try_from(fd).ok()?;
        let slot = self.tables.get(&table)?.get(fd)?;
        let description = self.descriptions.get(slot.description);
        (description.file == identity.file).then_some(slot.description)
    }

    /// Forgets a table with everything in it.
    pub(super) fn drop_table(&mut self, table: u32) {
        let Some(table) = self.tables.remove(&table) else {
            return;
        };
        let displaced = table.displaced.iter().map(|(_, slot)| slot);
        for slot in table.iter().map(|(_, slot)| slot).chain(displaced) {
            self.descriptions.release(slot.description, &mut self.names);
        }
    }

    /// One task more uses the table; it is made if it is not known.
    pub(super) fn table_user(&mut self, table: u32) {
        self.tables.entry(table).or_default().tasks += 1;
    }
}
