//! Ranges of address spaces are mapped and unmapped.

use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        ipc::{ShmAttach, ShmDetach, what},
        mapping::{Map, Unmap},
    },
};

use super::{
    Model,
    facts::{Kind, Refused, SampleKind},
    names::NO_NAME,
    phase::Logged,
    process::{Extent, ProcessId},
    space::{Backing, Cut, Mapping, Rest, Space, Sync},
    thing::Thing,
};
use crate::id::{FileId, KtimeNs};

/// include/uapi/linux/mman.h: the low bits of mmap's flags, PROT_WRITE, MAP_LOCKED,
/// MAP_HUGETLB, MAP_STACK.
const MAP_TYPE: u32 = 0x0f;
const MAP_SHARED: u32 = 1;
const MAP_SHARED_VALIDATE: u32 = 3;
const PROT_WRITE: u32 = 2;
const MADV_DONTFORK: u64 = 10;
const MAP_LOCKED: u32 = 0x2000;
const MAP_HUGETLB: u32 = 0x4_0000;
const MAP_STACK: u32 = 0x2_0000;

/// Files under these that are mapped shared but for reading only are caches of the C library
/// and other system data (glibc's gconv-modules.cache in every localised program): runtime
/// noise, which private mappings are too.
const SYSTEM_DATA: [&[u8]; 3] = [b"/usr/", b"/lib", b"/var/cache/"];

/// One explicit release of a range.
#[derive(Clone, Copy, Debug)]
struct Release {
    begin: u64,
    end: u64,
    tid: u32,
}

impl Release {
    fn of(header: &Header, begin: u64) -> Release {
        Release {
            begin,
            end: header.time_ns,
            tid: header.tid,
        }
    }
}

impl Model {
    /// Whether what a call did was there when the address space was read from the kernel: a
    /// record is written after its call has taken effect.
    #[inline]
    pub(super) fn is_listed(&self, header: &Header, mm: u64) -> bool {
        let space = self.spaces.get(&mm);
        space.is_some_and(|space| header.time_ns <= space.listed_at)
    }

    pub(super) fn map(&mut self, header: &Header, map: &Map) {
        if self.is_listed(header, map.mm) {
            return;
        }
        let Some(process) = self.live_of(header) else {
            return;
        };
        let (kind, path) = self.classify(header, map);
        let mapping = Mapping {
            end: self.page.end_of(map.address, map.bytes),
            kind,
            op: Op::MMAP.0,
            tid: header.tid,
            acquired: header.time_ns,
            rank: 0,
            backing: Backing::file(
                FileId {
                    dev: map.dev,
                    ino: map.ino,
                    generation: 0,
                },
                path,
            ),
            sync: self.sync_of(header, map, kind),
        };
        let end = mapping.end;
        let over = self.add_mapping(header, process, map.mm, map.address, mapping);
        self.space_of(map.mm, process).is_mapped(map, over, end);
        if map.flags & MAP_LOCKED != 0 {
            self.lock_range(process, map.address, end);
        }
    }

    /// Kind of a mapping; shared ones with the path of their file.
    fn classify(&self, header: &Header, map: &Map) -> (Kind, Option<bytes::Bytes>) {
        let shared = matches!(map.flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
        if !shared {
            let kind = match map.fd < 0 {
                true if map.flags & MAP_HUGETLB != 0 => Kind::Hugetlb,
                true if map.flags & MAP_STACK != 0 => Kind::Stack,
                true => Kind::Anonymous,
                false => Kind::PrivateMapping,
            };
            return (kind, None);
        }
        let mapped = u32::try_from(map.fd).ok().and_then(|fd| {
            let slot = self.tables.get(&header.table)?.get(fd)?;
            Some(*self.descriptions.get(slot.description))
        });
        let path = mapped.and_then(|mapped| self.names.get(mapped.name));
        if mapped.is_some_and(|mapped| is_ring(mapped.kind)) {
            return (Kind::RingMapping, path);
        }
        let system = is_system_data(path.as_deref());
        match system && map.prot & PROT_WRITE == 0 {
            true => (Kind::PrivateMapping, None),
            false => (Kind::SharedMapping, path),
        }
    }

    /// Whether a mapping ought to be synced before it goes: a writable shared one of a file on a
    /// disk. Message queues, memfds and what is in /dev/shm have none.
    fn sync_of(&self, header: &Header, map: &Map, kind: Kind) -> Sync {
        if kind != Kind::SharedMapping || map.prot & PROT_WRITE == 0 {
            return Sync::NoNeed;
        }
        let slot = u32::try_from(map.fd)
            .ok()
            .and_then(|fd| self.tables.get(&header.table)?.get(fd));
        let Some(slot) = slot else {
            return Sync::NoNeed;
        };
        let description = self.descriptions.get(slot.description);
        let path = self.names.get(description.name);
        let in_memory = path.is_none_or(|path| path.starts_with(b"/dev/shm/"));
        match description.kind == Kind::File && !in_memory {
            true => Sync::Needed,
            false => Sync::NoNeed,
        }
    }

    /// fsync or fdatasync wrote the pages of a file, mapped ones too.
    pub(super) fn synced_file(&mut self, header: &Header, id: ProcessId, fd: i32) {
        let slot = u32::try_from(fd)
            .ok()
            .and_then(|fd| self.tables.get(&header.table)?.get(fd));
        let Some(file) = slot.map(|slot| self.descriptions.get(slot.description).id()) else {
            return;
        };
        if let Some(space) = self.space_of_process(id) {
            space.synced(|_, mapping| {
                let id = mapping.id();
                (id.dev, id.ino) == (file.dev, file.ino)
            });
        }
    }

    /// msync wrote the pages of a range.
    pub(super) fn synced_range(&mut self, id: ProcessId, from: u64, to: u64) {
        if let Some(space) = self.space_of_process(id) {
            space.synced(|start, mapping| start < to && mapping.end > from);
        }
    }

    /// madvise decided whether a child gets a copy of a range.
    pub(super) fn advised(&mut self, id: ProcessId, from: u64, to: u64, advice: u64) {
        let to = self.page.end_of(from, to - from);
        if let Some(space) = self.space_of_process(id) {
            match advice {
                MADV_DONTFORK => space.keep_from_children(from, to),
                _ => space.give_to_children(from, to),
            }
        }
    }

    fn space_of_process(&mut self, id: ProcessId) -> Option<&mut Space> {
        let mm = self.processes.get(id)?.mm;
        self.spaces.get_mut(&mm)
    }

    /// Adds a range in the place of what was there (MAP_FIXED), and counts it. How many bytes were
    /// there.
    pub(super) fn add_mapping(
        &mut self,
        header: &Header,
        id: ProcessId,
        mm: u64,
        start: u64,
        mut mapping: Mapping,
    ) -> u64 {
        let over = self.unmap_range(header, id, mm, start, mapping.end, header.time_ns);
        let rank = self.next_rank;
        mapping.rank = rank;
        self.next_rank += 1;
        let kind = mapping.kind;
        let thing = thing_of(start, mapping.end - start, &mapping);
        let space = self.space_of(mm, id);
        space.add(start, mapping);
        let held = space.own(kind);
        if let Some(process) = self.processes.get_mut(id) {
            process.counts.acquired(kind, held);
            if kind.counted() {
                process.phase.acquired(rank);
            }
        }
        if !self.budgets.is_empty() {
            self.check_budgets(id, thing);
        }
        over
    }

    pub(super) fn unmap(&mut self, header: &Header, unmap: &Unmap) {
        if self.is_listed(header, unmap.mm) {
            return;
        }
        let Some(process) = self.live_of(header) else {
            return;
        };
        if unmap.errno != 0 {
            self.refuse_unmap(header, process, unmap);
            return;
        }
        let end = self.page.end_of(unmap.address, unmap.bytes);
        let space = self.spaces.get(&unmap.mm);
        let later = space.map_or_else(Vec::new, |space| {
            space.mapped_since(unmap.begin_ns, unmap.address, end)
        });
        let (mut from, mut begin, mut cut) = (unmap.address, unmap.begin_ns, 0);
        for (to, next) in later.into_iter().chain([(end, end)]) {
            if from < to {
                cut += self.unmap_range(header, process, unmap.mm, from, to, begin);
                begin = header.time_ns;
            }
            from = next;
        }
        if cut != end - unmap.address {
            self.space_of(unmap.mm, process).image = None;
        }
    }

    fn refuse_unmap(&mut self, header: &Header, id: ProcessId, unmap: &Unmap) {
        let refused = Refused {
            op: Op::MUNMAP,
            errno: unmap.errno,
            at: KtimeNs(header.time_ns),
            argument: unmap.address,
            resource: None,
            again: false,
        };
        if let Some(process) = self.processes.get_mut(id) {
            process.refuse(refused);
        }
    }

    /// Unmaps a range and counts what is released by that. How many bytes of it were mapped.
    pub(super) fn unmap_range(
        &mut self,
        header: &Header,
        id: ProcessId,
        mm: u64,
        from: u64,
        to: u64,
        begin: u64,
    ) -> u64 {
        let mut cuts = std::mem::take(&mut self.cuts);
        if let Some(space) = self.spaces.get_mut(&mm) {
            space.cut(from, to, &mut cuts);
        }
        if cuts.iter().any(|cut| cut.mapping.kind == Kind::Heap)
            && let Some(space) = self.spaces.get_mut(&mm)
        {
            space.image = None;
        }
        self.range_gone(id, from, to, header.time_ns);
        let mut how = Release::of(header, begin);
        for cut in &cuts {
            self.range_released(id, mm, cut, how);
            // The duration is that of the call: it is told once.
            how.begin = how.end;
        }
        let bytes = cuts.iter().map(|cut| cut.bytes).sum();
        cuts.clear();
        self.cuts = cuts;
        bytes
    }

    fn range_released(&mut self, id: ProcessId, mm: u64, cut: &Cut, how: Release) {
        let mapping = &cut.mapping;
        let space = self.spaces.get(&mm);
        let inherited = space.is_none_or(|space| space.is_inherited(mapping));
        let released = cut.rest == Rest::None && !inherited;
        let class = mapping.kind.class();
        let duration = how.end.saturating_sub(how.begin);
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let key = process.key;
        process.spent(class, duration);
        if mapping.kind.counted() && !inherited {
            process.bytes_released += cut.bytes;
        }
        if !inherited {
            let extent = if released {
                Extent::Whole
            } else {
                Extent::Piece
            };
            process.gave_back(mapping.kind, cut.bytes, extent);
        }
        if released && mapping.kind.counted() {
            self.stacking.released(mapping.tid, mapping.acquired);
            self.log_range(id, cut, how);
        }
        if released && mapping.sync == Sync::Needed {
            self.not_synced(id, cut.start, cut.bytes, mapping, how.end);
        }
        if duration > 0 {
            self.sample(key, SampleKind::Release, Some(class), duration);
        }
        if released {
            let held = how.end.saturating_sub(mapping.acquired);
            self.sample(key, SampleKind::Hold, Some(class), held);
        }
    }

    /// The release of a shared mapping or a SysV attach may be part of teardown.
    fn log_range(&mut self, id: ProcessId, cut: &Cut, how: Release) {
        let name = match cut.mapping.path() {
            Some(path) => self.names.intern(path),
            None => NO_NAME,
        };
        let release = Logged {
            thing: Thing {
                name,
                ..thing_of(cut.start, cut.bytes, &cut.mapping)
            },
            rank: cut.mapping.rank,
            released: how.end,
            by: how.tid,
            duration: how.end.saturating_sub(how.begin),
            place: 0,
        };
        if let Some(process) = self.processes.get_mut(id) {
            process
                .phase
                .released(release, self.next_rank, &mut self.names);
        }
        self.names.release(name);
    }

    pub(super) fn shm_attach(&mut self, header: &Header, attach: &ShmAttach) {
        if self.is_listed(header, attach.mm) {
            return;
        }
        let Some(process) = self.live_of(header) else {
            return;
        };
        let known = self.ledger.ipc(&(what::SHM, attach.ipc_ns, attach.id));
        // The size of a segment that others made is not told; a page it has at least.
        let bytes = known.and_then(|made| made.resource.bytes);
        let bytes = bytes.unwrap_or(self.page.bytes());
        let mapping = Mapping {
            end: self.page.end_of(attach.address, bytes),
            kind: Kind::ShmAttach,
            op: Op::SHMAT.0,
            tid: header.tid,
            acquired: header.time_ns,
            rank: 0,
            backing: Backing::segment(attach.id),
            sync: Sync::NoNeed,
        };
        self.add_mapping(header, process, attach.mm, attach.address, mapping);
    }

    pub(super) fn shm_detach(&mut self, header: &Header, detach: &ShmDetach) {
        if self.is_listed(header, detach.mm) {
            return;
        }
        let Some(process) = self.live_of(header) else {
            return;
        };
        let space = self.spaces.get(&detach.mm);
        let known = space.and_then(|space| space.at(detach.address));
        let known = known.filter(|(_, mapping)| {
            mapping.kind == Kind::ShmAttach && !mapping.came_after(detach.begin_ns)
        });
        if detach.errno != 0 {
            let refused = Refused {
                op: Op::SHMDT,
                errno: detach.errno,
                at: KtimeNs(header.time_ns),
                argument: detach.address,
                resource: None,
                again: self.gave_back(process, Op::SHMDT, detach.address),
            };
            if let Some(process) = self.processes.get_mut(process) {
                process.refuse(refused);
            }
            return;
        }
        let known = known.map(|(start, mapping)| (start, mapping.end));
        self.note_given_back(process, Op::SHMDT, detach.address);
        let Some((start, end)) = known else {
            return;
        };
        self.unmap_range(header, process, detach.mm, start, end, detach.begin_ns);
    }
}

/// Whether what is mapped of such a file is what the kernel and the program exchange requests and
/// packets by.
fn is_ring(kind: Kind) -> bool {
    matches!(kind, Kind::IoUring | Kind::Packet | Kind::Socket)
}

/// Whether a file is system data, by its path.
pub(super) fn is_system_data(path: Option<&[u8]>) -> bool {
    path.is_some_and(|path| SYSTEM_DATA.iter().any(|prefix| path.starts_with(prefix)))
}

/// A range, in short; without the name of its file.
pub(super) fn thing_of(start: u64, bytes: u64, mapping: &Mapping) -> Thing {
    Thing {
        op: Op(mapping.op),
        ipc_id: mapping.ipc_id(),
        tid: mapping.tid,
        id: mapping.id(),
        address: start,
        bytes,
        acquired: mapping.acquired,
        ..Thing::of(mapping.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        facts::Kind,
        testing::Script,
        tests::{begin, play},
    };

    const SHARED: u32 = 0x21;
    const AT: u64 = 0x40_0000;
    const PAGE: u64 = 4096;

    /// What is mapped at the end, by beginning and end.
    fn mapped(script: &mut Script) -> Vec<(u64, u64)> {
        let model = play(script);
        let space = model.spaces.values().next().expect("an address space");
        let ranges = space.own_ranges(Kind::SharedMapping);
        ranges.map(|(start, it)| (start, it.end)).collect()
    }

    #[test]
    fn an_unmapping_that_is_told_late_takes_nothing_that_came_meanwhile() {
        let (mut script, root) = begin();
        script.map(&root, AT, 4 * PAGE, SHARED, -1);
        let began = script.now + 500;
        // It has unmapped all four, and before it is told another thread got the second.
        script.map(&root, AT + PAGE, PAGE, SHARED, -1);
        script.unmap_since(&root, AT, 4 * PAGE, began);
        assert_eq!(mapped(&mut script), [(AT + PAGE, AT + 2 * PAGE)]);
    }

    #[test]
    fn an_unmapping_takes_what_was_there_when_it_began() {
        let (mut script, root) = begin();
        script.map(&root, AT, PAGE, SHARED, -1);
        script.map(&root, AT + PAGE, 2 * PAGE, SHARED, -1);
        let began = script.now;
        script.map(&root, AT + 8 * PAGE, PAGE, SHARED, -1);
        script.unmap_since(&root, AT, 2 * PAGE, began);
        let left = [
            (AT + 2 * PAGE, AT + 3 * PAGE),
            (AT + 8 * PAGE, AT + 9 * PAGE),
        ];
        assert_eq!(mapped(&mut script), left);
    }
}
