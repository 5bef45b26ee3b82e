//! fds come.

use leaktrace_common::{
    abi::Op,
    record::{
        FileIdentity, Header, SocketType,
        file::{FdAcquire, acquire_flag},
        ring::RingSetup,
        socket::SocketAcquire,
    },
};
use zerocopy::FromBytes;

use super::{
    Model,
    description::{DescriptionId, Opened},
    facts::How,
    kind,
    process::{self, ProcessId},
    release::Release,
    runtime::{self, Part},
    table::{Inherited, Parked, Slot, after},
    thing,
};
use crate::{decode::Text, id::ProcessKey};

impl Model {
    pub(super) fn fd_acquire(&mut self, header: &Header, fd: &FdAcquire, text: &Text<'_>) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        if self.is_told(header.table, fd) {
            return;
        }
        // The mark stays with the file (f_mode), so a dup of it has the flag as well.
        let opened = kind::opens(Op(fd.op));
        let created =
            fd.flags & acquire_flag::CREATED != 0 && fd.flags & acquire_flag::TMPFILE == 0;
        if created && opened {
            self.file_created(header, process, fd, text);
        }
        let part = match text.path() {
            Some(path) => runtime::part_of(&path, fd.open_flags),
            None => Part::Takes,
        };
        let added = self.acquire(header, process, fd, part);
        if let Some(description) = added
            && !text.is_none()
            && kind::has_path(&fd.identity)
        {
            self.name_description(description, text);
        }
    }

    pub(super) fn socket_acquire(&mut self, header: &Header, socket: &SocketAcquire) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        if self.is_told(header.table, &socket.fd) {
            return;
        }
        if let Some(description) = self.acquire(header, process, &socket.fd, Part::Takes) {
            self.socket_ends(description, socket);
        }
    }

    /// Gives a socket the ends that the kernel told with it.
    pub(super) fn socket_ends(&mut self, description: DescriptionId, socket: &SocketAcquire) {
        let Ok(type_) = SocketType::read_from_bytes(&socket.fd.identity.detail) else {
            return;
        };
        let ends = thing::ends(type_.family, &socket.local, &socket.peer);
        self.set_ends(description, &ends);
        self.descriptions.see(description, &socket.fd.identity);
    }

    pub(super) fn ring_setup(&mut self, header: &Header, ring: &RingSetup) {
        if let Some(process) = self.live_of(header) {
            self.acquire(header, process, &ring.fd, Part::Takes);
        }
    }

    /// Puts an fd into its table. Gives back the description if it is new and still open.
    pub(super) fn acquire(
        &mut self,
        header: &Header,
        process: ProcessId,
        fd: &FdAcquire,
        part: Part,
    ) -> Option<DescriptionId> {
        let number = u32::try_from(fd.fd).ok()?;
        let op = Op(fd.op);
        let found = fd.flags & acquire_flag::FOUND != 0;
        let known = match found || kind::shares_description(op) {
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
            part,
            how: kind::how(op),
        };
        self.next_rank += 1;
        self.put(header, process, number, slot);
        let still_open = found || self.unpark(header, process, number, fd.identity.file);
        (known.is_none() && still_open).then_some(description)
    }

    /// Whether this is an fd that was found in a table and has been told of before. What was
    /// found was there after all releases that have come so far: none of them waits for it.
    fn is_told(&mut self, table: u32, fd: &FdAcquire) -> bool {
        if fd.flags & acquire_flag::FOUND == 0 {
            return false;
        }
        let number = fd.fd.cast_unsigned();
        let Some(table) = self.tables.get_mut(&table) else {
            return false;
        };
        if let Some(slot) = table.get(number)
            && self.descriptions.get(slot.description).is(&fd.identity)
        {
            return true;
        }
        let waits = |parked: &Parked| parked.fd == number && parked.file == fd.identity.file;
        table.parked.retain(|parked| !waits(parked));
        false
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
            None => {
                let kind = kind::of_file(identity, op);
                let id = self.descriptions.add(identity, kind);
                if matches!(kind::how(op), Some(How::Made | How::Ring)) {
                    self.descriptions.get_mut(id).opened = Opened::Here;
                }
                id
            }
        }
    }

    fn put(&mut self, header: &Header, process: ProcessId, fd: u32, slot: Slot) {
        let kind = self.descriptions.get(slot.description).kind;
        let table = self.tables.entry(header.table).or_default();
        table.user = process::key(header.pid, header.start_ns);
        table.rate.note(header.time_ns, table.open.all);
        table.trend.note(header.time_ns, table.open.all);
        // Records of a table may change places by a few: this one may be older than the slot.
        let newest = table.get(fd).is_none_or(|there| after(slot.seq, there.seq));
        let out = match newest {
            true => table.put(fd, slot, kind),
            false => Some(slot),
        };
        let inherited = table.is_inherited(fd, &slot);
        let mut counted = false;
        let mut held = table.open.own[kind as usize];
        if let Some(out) = out {
            if newest {
                let kind = self.descriptions.get(out.description).kind;
                table.uncount(fd, &out, kind);
            }
            let file = |slot: &Slot| self.descriptions.get(slot.description).file;
            // What an iterator read or what was found, told once more by its own acquisition,
            // waits for nothing.
            let same = out.seq == 0 && file(&out) == file(&slot);
            counted = same && !table.is_inherited(fd, &out);
            held = table.open.own[kind as usize];
            if same {
                self.descriptions.release(out.description, &mut self.names);
            } else if let Some((fd, gone)) = table.displace(fd, out) {
                let inherited = table.is_inherited(fd, &gone);
                self.gone_untold(Some(process), &gone, inherited);
                self.descriptions.release(gone.description, &mut self.names);
            }
        }
        if inherited || counted {
            return;
        }
        let id = process;
        if let Some(process) = self.processes.get_mut(process) {
            process.counts.acquired(kind, held);
            if slot.part == Part::Takes {
                process.phase.acquired(slot.rank);
            }
        }
        if !self.budgets.is_empty() {
            // Its name comes later in the same record.
            self.acquired_fds.push((id, header.table, fd));
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
        if self.has_stacks() {
            let own = table.iter();
            let own = own.filter(|(fd, slot)| !table.is_inherited(*fd, slot));
            let own: Vec<_> = own.map(|(_, slot)| (slot.tid, slot.acquired)).collect();
            self.stacks_dropped(&own);
        }
        let displaced = table.displaced.iter().map(|(_, slot)| slot);
        for slot in table.iter().map(|(_, slot)| slot).chain(displaced) {
            self.descriptions.release(slot.description, &mut self.names);
        }
        if !self.socket_rings.is_empty() {
            self.forget_socket_rings();
        }
    }

    /// One task more uses the table; it is made if it is not known.
    pub(super) fn table_user(&mut self, table: u32, user: ProcessKey) {
        let table = self.tables.entry(table).or_default();
        table.tasks += 1;
        table.user = user;
    }
}
