//! After a loss: whose records were lost, and tables made right again from the kernel's.
//!
//! A walk of an fd table that is in use comes in parts, through the same ring as the table's own
//! records. The kernel reads a part after it has reserved its place in the ring, so whatever
//! stands before a part in the ring had taken effect when the part was read, and whatever stands
//! behind it is applied on top. So each part is applied where it stands.

use std::borrow::Cow;

use bytes::Bytes;
use leaktrace_common::record::{
    Header,
    file::WalkEntry,
    mapping::{MapSeed, map_seed_flag},
    task::Reread,
};

use super::{
    LossIs, Model,
    facts::{Families, Kind, Trust},
    mapping,
    process::{self, Listing, Origin, ProcessId},
    space::{Backing, Mapping, Space, Sync},
    table::{Inherited, Slot, Table, after},
};
use crate::{
    decode::{Text, Walk},
    id::{FileId, KtimeNs, ProcessKey},
};

/// The mappings of one process, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct MapSeeds {
    /// Number of the record that began it.
    began: u64,
    ranges: Vec<(u64, Mapping)>,
}

impl Model {
    /// Whose records are lost will be told by their next ones.
    pub fn attribute_loss(&mut self) {
        self.loss = LossIs::Marked;
    }

    /// Processes that live and whose tables may be wrong, with what of them may.
    pub fn tainted(&self) -> Vec<(ProcessKey, Families)> {
        let live = self.processes.iter();
        let live = live.filter(|it| it.lives());
        let tainted = live.filter_map(|process| {
            let tainted = match &process.trust {
                Trust::Tainted { families, .. } => families.both(Families::READABLE),
                Trust::Sure | Trust::Reread { .. } => Families::NONE,
            };
            let late = match process.listing {
                Listing::Fits => Families::NONE,
                Listing::Late => Families::MAPPINGS,
            };
            let doubted = match process.doubted_at {
                Some(_) => Families::FDS,
                None => Families::NONE,
            };
            let families = tainted.and(late).and(doubted);
            (!families.is_empty()).then_some((process.key, families))
        });
        tainted.collect()
    }

    /// The header says that records of its task were lost. Whoever shares the table or the
    /// address space is concerned too.
    #[cold]
    pub(super) fn marked(&mut self, header: &Header) {
        let families = Families::marked(header.flags);
        let id = self.process_of(header);
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let (mm, number) = (process.mm, self.read.records);
        let since = self.now;
        for process in self.processes.iter_mut() {
            let own = process.key == process::key(header.pid, header.start_ns);
            let mut lost = match own {
                true => families,
                false => Families::NONE,
            };
            if process.end.is_none() && process.table.0 == header.table {
                lost = lost.and(families.both(Families::FDS));
            }
            if process.end.is_none() && mm != 0 && process.mm == mm {
                lost = lost.and(families.both(Families::MAPPINGS));
            }
            if !lost.is_empty() {
                process.taint(since, lost, || format!("records lost ({})", lost.names()));
                process.marked_at = number;
            }
        }
    }

    /// Part of a walk of a table in use.
    pub(super) fn reread_part(&mut self, header: &Header, walk: &Walk<'_>) {
        let (from, end) = match self.walks.get_mut(&walk.walk) {
            Some(walking) => {
                let from = walking.next;
                walking.next = walk.base.saturating_add(16);
                (from, walking.next)
            }
            None => return,
        };
        let id = self.processes.find(header.pid, header.start_ns);
        let process = id.and_then(|id| self.processes.get(id));
        if process.is_some_and(|process| process.end.is_some()) {
            return;
        }
        let mut table = self.tables.remove(&header.table).unwrap_or_default();
        table.user = process::key(header.pid, header.start_ns);
        let seq = header.seq as u32;
        // Numbers of which nothing is said were free when that was looked at, but what came
        // since stands before this part.
        self.clear_numbers(&mut table, id, from, walk.base, |slot| {
            slot.seq == 0 || after(seq, slot.seq)
        });
        let there: Vec<(u32, WalkEntry)> = walk.entries().collect();
        let told = |fd: u32| {
            there
                .iter()
                .any(|(of, it)| *of == fd && it.identity.file != 0)
        };
        let gone: Vec<u32> = table.numbers(walk.base, end.saturating_sub(1));
        for fd in gone.into_iter().filter(|fd| !told(*fd)) {
            self.clear_numbers(&mut table, id, fd, fd + 1, |_| true);
        }
        for (fd, entry) in there.iter().filter(|(_, it)| it.identity.file != 0) {
            self.put_found(&mut table, id, *fd, entry);
        }
        self.tables.insert(header.table, table);
    }

    fn clear_numbers(
        &mut self,
        table: &mut Table,
        id: Option<ProcessId>,
        from: u32,
        to: u32,
        is_old: impl Fn(&Slot) -> bool,
    ) {
        if from >= to {
            return;
        }
        for fd in table.numbers(from, to - 1) {
            let Some(slot) = table.get(fd).filter(|slot| is_old(slot)) else {
                continue;
            };
            let kind = self.descriptions.get(slot.description).kind;
            let inherited = table.is_inherited(fd, slot);
            if let Some(slot) = table.take(fd, kind) {
                self.gone_untold(id, &slot, inherited);
                self.descriptions.release(slot.description, &mut self.names);
            }
        }
    }

    /// An fd that the kernel has. What a process whose beginning was seen has got since is its
    /// own, though it was not seen coming.
    fn put_found(&mut self, table: &mut Table, id: Option<ProcessId>, fd: u32, entry: &WalkEntry) {
        let old = table.get(fd).copied();
        if let Some(old) = old
            && self.descriptions.get(old.description).is(&entry.identity)
        {
            self.descriptions.see(old.description, &entry.identity);
            return;
        }
        let mut slot = self.walked_slot(None, entry);
        let process = id.and_then(|id| self.processes.get(id));
        if process.is_some_and(|process| process.origin == Origin::Born) {
            slot.inherited = Inherited::No;
            slot.rank = self.next_rank;
            self.next_rank += 1;
        }
        let kind = self.descriptions.get(slot.description).kind;
        let out = table.put(fd, slot, kind);
        let held = table.open.own[kind as usize];
        if !table.is_inherited(fd, &slot)
            && let Some(process) = id.and_then(|id| self.processes.get_mut(id))
        {
            process.counts.acquired(kind, held);
        }
        if let Some(out) = out {
            let kind = self.descriptions.get(out.description).kind;
            table.uncount(fd, &out, kind);
            self.gone_untold(id, &out, table.is_inherited(fd, &out));
            self.descriptions.release(out.description, &mut self.names);
        }
    }

    /// The walk that stands before this is whole, unless a record of the process was lost since
    /// it began.
    pub(super) fn reread(&mut self, header: &Header, reread: &Reread) {
        let walk = self.take_walk(reread.walk);
        let Some(id) = self.live_of(header) else {
            return;
        };
        self.describe_again(id, reread);
        let Some(walk) = walk else {
            return;
        };
        if let Some(mut table) = self.tables.remove(&header.table) {
            self.clear_numbers(&mut table, Some(id), walk.next, u32::MAX, |slot| {
                slot.seq == 0 || after(walk.seq, slot.seq)
            });
            self.tables.insert(header.table, table);
        }
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let was_tainted = matches!(process.trust, Trust::Tainted { .. });
        process.doubted_at = process.doubted_at.filter(|at| *at >= walk.began);
        if was_tainted && process.marked_at < walk.began {
            let families = Families::FDS.and(Families::READABLE.without(Families::MAPPINGS));
            process.reread(KtimeNs(header.time_ns), families);
            self.rereads += 1;
        }
    }

    fn describe_again(&mut self, id: ProcessId, reread: &Reread) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let (old, new) = (process.mm, reread.task.mm);
        let lost_tasks = !process.lost.both(Families::TASKS).is_empty();
        process.describe(&reread.task);
        if lost_tasks {
            process.threads = reread.threads.max(1);
        }
        if old != new {
            self.unwatch_mm(old, id);
            self.watch_mm(new, id);
        }
    }

    /// A range that /proc lists. The last one makes the address space what was listed; records
    /// behind it come on top.
    pub(super) fn map_seed(&mut self, header: &Header, seed: &MapSeed, text: &Text<'_>) {
        let key = process::key(header.pid, header.start_ns);
        if seed.flags & map_seed_flag::FIRST != 0 {
            let seeds = MapSeeds {
                began: self.read.records,
                ranges: Vec::new(),
            };
            self.map_seeds.insert(key, seeds);
        }
        let Some(seeds) = self.map_seeds.get_mut(&key) else {
            return;
        };
        if seed.bytes > 0 {
            seeds
                .ranges
                .push((seed.address, listed(header, seed, text)));
        }
        if seed.flags & map_seed_flag::LAST != 0
            && let Some(seeds) = self.map_seeds.remove(&key)
        {
            self.take_mappings(header, seeds);
        }
    }

    fn take_mappings(&mut self, header: &Header, seeds: MapSeeds) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        // 0: what is read of the process itself is on its way.
        let mm = self.processes.get(id).map_or(0, |process| process.mm);
        if mm == 0 {
            return;
        }
        let first = self.next_rank;
        self.next_rank += seeds.ranges.len() as u64;
        let space: &mut Space = self.space_of(mm, id);
        space.become_listed(seeds.ranges, first);
        space.listed_at = header.time_ns;
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.listing = Listing::Fits;
        let was_tainted = matches!(process.trust, Trust::Tainted { .. });
        if was_tainted && process.marked_at < seeds.began {
            process.reread(KtimeNs(header.time_ns), Families::MAPPINGS);
            self.rereads += 1;
        }
    }
}

fn listed(header: &Header, seed: &MapSeed, text: &Text<'_>) -> Mapping {
    let path: Option<Cow<'_, [u8]>> = text.path();
    let shared = seed.flags & map_seed_flag::SHARED != 0;
    let write = seed.flags & map_seed_flag::WRITE != 0;
    let heap = seed.flags & map_seed_flag::HEAP != 0;
    let kind = match (seed.ipc_id >= 0, shared, seed.ino != 0) {
        (true, _, _) => Kind::ShmAttach,
        (false, true, _) if !write && mapping::is_system_data(path.as_deref()) => {
            Kind::PrivateMapping
        }
        (false, true, _) => Kind::SharedMapping,
        (false, false, true) => Kind::PrivateMapping,
        (false, false, false) if heap => Kind::Heap,
        (false, false, false) => Kind::Anonymous,
    };
    Mapping {
        end: seed.address.saturating_add(seed.bytes),
        kind,
        // No call of the process's that was seen.
        op: 0,
        tid: header.tid,
        acquired: 0,
        rank: 0,
        backing: match seed.ipc_id >= 0 {
            true => Backing::segment(seed.ipc_id),
            false => Backing::file(
                FileId {
                    dev: seed.dev,
                    ino: seed.ino,
                    generation: 0,
                },
                path.map(|path| Bytes::from(path.into_owned())),
            ),
        },
        sync: Sync::NoNeed,
    }
}
