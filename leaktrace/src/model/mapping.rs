//! Ranges of address spaces are mapped and unmapped.

use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        ipc::{ShmAttach, ShmDetach, what},
        mapping::{Map, Remap, Unmap},
    },
};

use super::{
    Model,
    facts::{Kind, Refused, SampleKind},
    names::NO_NAME,
    phase::Logged,
    process::{Extent, ProcessId},
    space::{Cut, Mapping, Rest},
    thing::Thing,
};
use crate::id::{FileId, KtimeNs};

/// include/uapi/linux/mman.h: the low bits of mmap's flags, MREMAP_DONTUNMAP, PROT_WRITE.
const MAP_TYPE: u32 = 0x0f;
const MAP_SHARED: u32 = 1;
const MAP_SHARED_VALIDATE: u32 = 3;
const MREMAP_DONTUNMAP: u32 = 4;
const PROT_WRITE: u32 = 2;

/// Lengths count in pages; 4096 is the smallest page there is, so a range never becomes longer
/// than the kernel's.
const PAGE: u64 = 4096;

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

fn end_of(start: u64, bytes: u64) -> u64 {
    let bytes = bytes.div_ceil(PAGE).saturating_mul(PAGE);
    start.saturating_add(bytes)
}

impl Model {
    pub(super) fn map(&mut self, header: &Header, map: &Map) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        let (kind, path) = self.classify(header, map);
        let mapping = Mapping {
            end: end_of(map.address, map.bytes),
            kind,
            op: Op::MMAP.0,
            tid: header.tid,
            acquired: header.time_ns,
            rank: 0,
            id: FileId {
                dev: map.dev,
                ino: map.ino,
                generation: 0,
            },
            ipc_id: -1,
            path,
        };
        self.add_mapping(header, process, map.mm, map.address, mapping);
    }

    /// Kind of a mapping; shared ones with the path of their file.
    fn classify(&self, header: &Header, map: &Map) -> (Kind, Option<bytes::Bytes>) {
        let shared = matches!(map.flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
        if !shared {
            let kind = match map.fd < 0 {
                true => Kind::Anonymous,
                false => Kind::PrivateMapping,
            };
            return (kind, None);
        }
        let path = u32::try_from(map.fd).ok().and_then(|fd| {
            let slot = self.tables.get(&header.table)?.get(fd)?;
            self.names.get(self.descriptions.get(slot.description).name)
        });
        let system = path
            .as_ref()
            .is_some_and(|path| SYSTEM_DATA.iter().any(|prefix| path.starts_with(prefix)));
        match system && map.prot & PROT_WRITE == 0 {
            true => (Kind::PrivateMapping, None),
            false => (Kind::SharedMapping, path),
        }
    }

    /// Adds a range in the place of what was there (MAP_FIXED), and counts it.
    fn add_mapping(
        &mut self,
        header: &Header,
        id: ProcessId,
        mm: u64,
        start: u64,
        mut mapping: Mapping,
    ) {
        self.unmap_range(header, id, mm, start, mapping.end, header.time_ns);
        let rank = self.next_rank;
        mapping.rank = rank;
        self.next_rank += 1;
        let kind = mapping.kind;
        let space = self.space_of(mm, id);
        space.add(start, mapping);
        let held = space.own(kind);
        if let Some(process) = self.processes.get_mut(id) {
            process.counts.acquired(kind, held);
            if kind.counted() {
                process.phase.acquired(rank);
            }
        }
    }

    pub(super) fn unmap(&mut self, header: &Header, unmap: &Unmap) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        if unmap.errno != 0 {
            self.refuse_unmap(header, process, unmap);
            return;
        }
        let end = end_of(unmap.address, unmap.bytes);
        self.unmap_range(
            header,
            process,
            unmap.mm,
            unmap.address,
            end,
            unmap.begin_ns,
        );
    }

    fn refuse_unmap(&mut self, header: &Header, id: ProcessId, unmap: &Unmap) {
        let refused = Refused {
            op: Op::MUNMAP,
            errno: unmap.errno,
            at: KtimeNs(header.time_ns),
            argument: unmap.address,
            resource: None,
        };
        if let Some(process) = self.processes.get_mut(id) {
            process.refuse(refused);
        }
    }

    /// Unmaps a range and counts what is released by that.
    fn unmap_range(
        &mut self,
        header: &Header,
        id: ProcessId,
        mm: u64,
        from: u64,
        to: u64,
        begin: u64,
    ) {
        let mut cuts = std::mem::take(&mut self.cuts);
        if let Some(space) = self.spaces.get_mut(&mm) {
            space.cut(from, to, &mut cuts);
        }
        let mut how = Release::of(header, begin);
        for cut in &cuts {
            self.range_released(id, mm, cut, how);
            // The duration is that of the call: it is told once.
            how.begin = how.end;
        }
        cuts.clear();
        self.cuts = cuts;
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
            self.log_range(id, cut, how);
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
        let name = match &cut.mapping.path {
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

    pub(super) fn remap(&mut self, header: &Header, remap: &Remap) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        if remap.errno != 0 {
            return;
        }
        let new_end = end_of(remap.new_address, remap.new_bytes);
        let stays = remap.old_bytes == 0 || remap.flags & MREMAP_DONTUNMAP != 0;
        if stays {
            let Some(space) = self.spaces.get(&remap.mm) else {
                return;
            };
            let Some((_, mapping)) = space.at(remap.old_address) else {
                return;
            };
            let copy = Mapping {
                end: new_end,
                op: Op::MREMAP.0,
                tid: header.tid,
                acquired: header.time_ns,
                ..mapping.clone()
            };
            self.add_mapping(header, process, remap.mm, remap.new_address, copy);
            return;
        }
        self.move_range(header, process, remap, new_end);
    }

    /// Moves a mapping, or makes it longer or shorter where it is.
    fn move_range(&mut self, header: &Header, id: ProcessId, remap: &Remap, new_end: u64) {
        let mut cuts = Vec::new();
        let space = self.space_of(remap.mm, id);
        let old_end = end_of(remap.old_address, remap.old_bytes);
        space.cut(remap.old_address, old_end, &mut cuts);
        self.unmap_range(
            header,
            id,
            remap.mm,
            remap.new_address,
            new_end,
            header.time_ns,
        );
        // A range that is one mapping to the kernel is one to us, unless records were lost.
        let Some(first) = cuts.first() else {
            return;
        };
        let bytes = new_end.saturating_sub(remap.new_address);
        self.space_of(remap.mm, id)
            .put_back(remap.new_address, bytes, first);
    }

    pub(super) fn shm_attach(&mut self, header: &Header, attach: &ShmAttach) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        let known = self.ledger.ipc(&(what::SHM, attach.ipc_ns, attach.id));
        // The size of a segment that others made is not told; a page it has at least.
        let bytes = known.and_then(|made| made.resource.bytes).unwrap_or(PAGE);
        let mapping = Mapping {
            end: end_of(attach.address, bytes),
            kind: Kind::ShmAttach,
            op: Op::SHMAT.0,
            tid: header.tid,
            acquired: header.time_ns,
            rank: 0,
            id: FileId::default(),
            ipc_id: attach.id,
            path: None,
        };
        self.add_mapping(header, process, attach.mm, attach.address, mapping);
    }

    pub(super) fn shm_detach(&mut self, header: &Header, detach: &ShmDetach) {
        let Some(process) = self.live_of(header) else {
            return;
        };
        let space = self.spaces.get(&detach.mm);
        let known = space.and_then(|space| space.at(detach.address));
        let known = known.filter(|(_, mapping)| mapping.kind == Kind::ShmAttach);
        if detach.errno != 0 {
            let refused = Refused {
                op: Op::SHMDT,
                errno: detach.errno,
                at: KtimeNs(header.time_ns),
                argument: detach.address,
                resource: None,
            };
            if let Some(process) = self.processes.get_mut(process) {
                process.refuse(refused);
            }
            return;
        }
        let Some((start, end)) = known.map(|(start, mapping)| (start, mapping.end)) else {
            return;
        };
        self.unmap_range(header, process, detach.mm, start, end, detach.begin_ns);
    }
}

/// A range, in short; without the name of its file.
pub(super) fn thing_of(start: u64, bytes: u64, mapping: &Mapping) -> Thing {
    Thing {
        op: Op(mapping.op),
        ipc_id: mapping.ipc_id,
        tid: mapping.tid,
        id: mapping.id,
        address: start,
        bytes,
        acquired: mapping.acquired,
        ..Thing::of(mapping.kind)
    }
}
