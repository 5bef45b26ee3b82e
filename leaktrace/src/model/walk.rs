//! Tables as the kernel has them: parts come one by one, a whole walk replaces a table.

use std::collections::BTreeSet;

use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        file::{FdAcquire, WalkEntry, walk_cause},
        socket::SocketAcquire,
    },
};

use super::{
    Model,
    created::file_id,
    description::DescriptionId,
    facts::{Families, Held, How, Kind, ResourceFacts, Trust},
    kind::{self, SocketState},
    process,
    runtime::Part,
    table::{Inherited, Slot},
    thing::Thing,
};
use crate::{
    decode::{Text, Walk},
    id::{KtimeNs, ProcessKey},
    parity::{Difference, What},
};

/// A walk whose parts are coming.
#[derive(Debug)]
pub(super) struct Walking {
    cause: u32,
    table: u32,
    total: u32,
    pub(super) seq: u32,
    /// Numbers told so far, reserved ones too.
    taken: u32,
    /// Numbers below are done.
    pub(super) next: u32,
    /// Number of the record that began it.
    pub(super) began: u64,
    entries: Vec<(u32, WalkEntry)>,
}

impl Walking {
    /// The open fds.
    pub(super) fn entries(&self) -> &[(u32, WalkEntry)] {
        &self.entries
    }

    /// Whether every open fd has come.
    pub(super) fn is_complete(&self) -> bool {
        self.taken == self.total
    }
}

/// Differences at exit that are told one by one.
pub(super) const DIFFERED: usize = 64;

/// Walks that may be under way at once; parts of more wait in vain for lost ones.
const UNDER_WAY: usize = 256;

impl Model {
    pub(super) fn fd_walk(&mut self, header: &Header, walk: &Walk<'_>) {
        let walking = self.walks.entry(walk.walk).or_insert_with(|| Walking {
            cause: walk.cause,
            table: header.table,
            total: walk.total,
            seq: header.seq as u32,
            taken: 0,
            next: 0,
            began: self.read.records,
            entries: Vec::new(),
        });
        if walk.cause == walk_cause::ITERATOR {
            return self.reread_part(header, walk);
        }
        walking.taken += walk.mask.count_ones();
        // A number without a file is only reserved: an open is under way there.
        let open = walk.entries().filter(|(_, entry)| entry.identity.file != 0);
        walking.entries.extend(open);
        let complete = walking.is_complete();
        let at_once = walking.cause != walk_cause::EXIT;
        if complete
            && at_once
            && let Some(whole) = self.walks.remove(&walk.walk)
        {
            self.replace_table(header, &whole);
        }
        if self.walks.len() > UNDER_WAY
            && let Some(oldest) = self.walks.keys().min().copied()
        {
            self.walks.remove(&oldest);
            self.evicted += 1;
        }
    }

    /// An fd that was there at attach. What records have told of that number since is newer.
    pub(super) fn fd_seed(&mut self, header: &Header, fd: &FdAcquire, text: &Text<'_>) {
        if let Some(description) = self.seeded(header, fd)
            && !text.is_none()
        {
            self.name_description(description, text);
        }
    }

    /// A socket that was there at attach.
    pub(super) fn socket_seed(&mut self, header: &Header, socket: &SocketAcquire) {
        if let Some(description) = self.seeded(header, &socket.fd) {
            self.socket_ends(description, socket);
        }
    }

    fn seeded(&mut self, header: &Header, fd: &FdAcquire) -> Option<DescriptionId> {
        let number = u32::try_from(fd.fd).ok()?;
        let known = self.tables.get(&header.table);
        if known.is_some_and(|table| table.get(number).is_some()) {
            return None;
        }
        let entry = WalkEntry {
            identity: fd.identity,
            open_flags: fd.open_flags,
            cred: 0,
        };
        let slot = Slot {
            how: Some(How::Before),
            ..self.walked_slot(None, &entry)
        };
        let kind = self.descriptions.get(slot.description).kind;
        let table = self.tables.entry(header.table).or_default();
        table.user = process::key(header.pid, header.start_ns);
        table.put(number, slot, kind);
        Some(slot.description)
    }

    /// Takes a walk that has come whole or in part.
    pub(super) fn take_walk(&mut self, walk: u32) -> Option<Walking> {
        self.walks.remove(&walk)
    }

    /// Makes the table what the kernel says it is.
    fn replace_table(&mut self, header: &Header, walk: &Walking) {
        let old = self.tables.remove(&header.table).unwrap_or_default();
        let mut table = old.successor();
        table.user = process::key(header.pid, header.start_ns);
        for (fd, entry) in &walk.entries {
            let mut slot = self.walked_slot(old.get(*fd), entry);
            if walk.cause == walk_cause::FORK {
                slot.how = Some(How::Fork);
            } else if old.open.all == 0 {
                // The command's own first exec: nothing of its table was known before.
                slot.how = Some(How::Before);
            }
            let kind = self.descriptions.get(slot.description).kind;
            table.put(*fd, slot, kind);
        }
        table.inherit_all(self.next_rank);
        let process = self.processes.find(header.pid, header.start_ns);
        for (fd, slot) in &old.displaced {
            self.gone_untold(process, slot, old.is_inherited(*fd, slot));
        }
        let displaced = old.displaced.iter().map(|(_, slot)| slot);
        for slot in old.iter().map(|(_, slot)| slot).chain(displaced) {
            self.descriptions.release(slot.description, &mut self.names);
        }
        self.tables.insert(header.table, Box::new(table));
        if let Some(process) = process.and_then(|id| self.processes.get_mut(id)) {
            process.reread(KtimeNs(header.time_ns), Families::FDS);
        }
    }

    /// The slot for what the kernel tells, with a reference. What was known of it stays.
    pub(super) fn walked_slot(&mut self, old: Option<&Slot>, entry: &WalkEntry) -> Slot {
        if let Some(old) = old
            && self.descriptions.get(old.description).is(&entry.identity)
        {
            self.descriptions.keep(old.description);
            self.descriptions.see(old.description, &entry.identity);
            return *old;
        }
        let description = match self.descriptions.find_same(&entry.identity) {
            Some(known) => {
                self.descriptions.keep(known);
                self.descriptions.see(known, &entry.identity);
                known
            }
            None => {
                let kind = kind::of_walked(&entry.identity);
                self.descriptions.add(&entry.identity, kind)
            }
        };
        Slot {
            acquired: 0,
            rank: 0,
            description,
            seq: 0,
            tid: 0,
            op: Op::NONE.0,
            inherited: Inherited::Yes,
            part: Part::Takes,
            how: None,
        }
    }

    /// What a walk at exit says is held; what is known of each fd is added from the table.
    pub(super) fn held_by_walk(&self, table: u32, walk: &Walking) -> Vec<Held> {
        let table = self.tables.get(&table);
        let held = walk.entries.iter().map(|(fd, entry)| {
            let known = table
                .and_then(|table| table.get(*fd))
                .filter(|slot| self.descriptions.get(slot.description).is(&entry.identity));
            let thing = match known {
                Some(slot) => Thing::of_slot(*fd, slot, self.descriptions.get(slot.description)),
                None => self.walked_thing(*fd, entry),
            };
            let inherited = match (table, known) {
                (Some(table), Some(slot)) => table.is_inherited(*fd, slot),
                _ => *fd <= 2,
            };
            let thing = Thing {
                id: file_id(&entry.identity),
                ..thing
            };
            Held {
                resource: ResourceFacts {
                    state: SocketState::of(&entry.identity).word(),
                    ..self.with_ring(entry.identity.file, thing.facts(&self.names))
                },
                inherited,
                count: u32::from(entry.identity.count),
                description: entry.identity.file,
                cred: entry.cred,
            }
        });
        held.collect()
    }

    /// An fd that came without our seeing it; another slot may know its description.
    fn walked_thing(&self, fd: u32, entry: &WalkEntry) -> Thing {
        let identity = &entry.identity;
        let known = self.descriptions.find_same(identity);
        let known = known.map(|known| *self.descriptions.get(known));
        let mut thing = match known {
            Some(known) => Thing {
                name: known.name,
                ends: known.ends,
                ..Thing::of(known.kind)
            },
            None => Thing::of(kind::of_walked(identity)),
        };
        thing.fd = fd as i32;
        thing.id = file_id(identity);
        thing
    }

    /// What our own table says is held.
    pub(super) fn held_by_table(&self, table: u32) -> Vec<Held> {
        let Some(table) = self.tables.get(&table) else {
            return Vec::new();
        };
        let held = table.iter().map(|(fd, slot)| {
            let description = self.descriptions.get(slot.description);
            Held {
                resource: self.with_ring(
                    description.file,
                    Thing::of_slot(fd, slot, description).facts(&self.names),
                ),
                inherited: table.is_inherited(fd, slot),
                count: 0,
                description: description.file,
                cred: 0,
            }
        });
        held.collect()
    }

    /// A walk of which parts are missing was not compared with anything: that is no agreement.
    /// Walks of a table's beginning have come before its end, so what of them is still awaited
    /// then never comes.
    pub(super) fn check_walks(&mut self, table: u32, at_exit_missing: bool) {
        let before = self.walks.len();
        self.walks.retain(|_, walk| {
            walk.table != table || !matches!(walk.cause, walk_cause::FORK | walk_cause::EXEC)
        });
        let mut missing = (before - self.walks.len()) as u64;
        missing += u64::from(at_exit_missing);
        self.self_check.0 += missing;
        self.self_check.1 += missing;
    }

    /// Compares our table with the kernel's word.
    pub(super) fn check_self(&mut self, key: ProcessKey, table: u32, walk: &Walking) {
        let ours = self.tables.get(&table).map_or(0, |table| table.open.all);
        let same = |(fd, entry): &(u32, WalkEntry)| {
            let slot = self.tables.get(&table).and_then(|table| table.get(*fd));
            slot.is_some_and(|slot| {
                self.descriptions.get(slot.description).file == entry.identity.file
            })
        };
        let equal = ours as usize == walk.entries.len() && walk.entries.iter().all(same);
        let id = self.processes.find_key(key);
        // What is in doubt was to be read again: it was not claimed to be right.
        if !equal && id.is_some_and(|id| self.is_in_doubt(id)) {
            return;
        }
        self.self_check.0 += 1;
        self.self_check.1 += u64::from(!equal);
        // Where records are known to be missing a difference is no surprise.
        let process = id.and_then(|id| self.processes.get(id));
        let trusted = process.is_none_or(|process| !matches!(process.trust, Trust::Tainted { .. }));
        if !equal && trusted && self.differed.len() < DIFFERED {
            let differed = self.differences(key, table, walk);
            self.differed.extend(differed);
        }
    }

    /// In which fds.
    #[cold]
    fn differences(&self, key: ProcessKey, table: u32, walk: &Walking) -> Vec<Difference> {
        let table = self.tables.get(&table);
        let ours = table.into_iter().flat_map(|table| table.iter());
        let numbers = ours
            .map(|(fd, _)| fd)
            .chain(walk.entries.iter().map(|(fd, _)| *fd));
        let numbers: BTreeSet<u32> = numbers.collect();
        let differ = numbers.into_iter().filter_map(|fd| {
            let slot = table.and_then(|table| table.get(fd));
            let description = slot.map(|slot| self.descriptions.get(slot.description));
            let entry = walk.entries.iter().find(|(of, _)| *of == fd);
            let (ours, kernel) = (
                description.map(|it| it.file),
                entry.map(|(_, it)| it.identity.file),
            );
            let told = |kind: Kind, ino: u64| format!("{} (inode {ino})", kind.name());
            (ours != kernel).then(|| Difference {
                process: key,
                comm: self.comm(key),
                what: What::Fd { fd },
                ours: description.map(|it| told(it.kind, it.id().ino)),
                kernel: entry.map(|(_, it)| told(kind::of_walked(&it.identity), it.identity.ino)),
            })
        });
        differ.collect()
    }
}
