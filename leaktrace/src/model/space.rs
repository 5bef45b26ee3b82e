//! One address space: which ranges are mapped, and what each is.
//!
//! Memory that the kernel maps by itself (the main thread's stack, the program's image) is not in
//! here: only what system calls asked for.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{facts::Kind, process::ProcessId};
use crate::id::FileId;

/// A mapped range, from where it is listed to `end`. A program may have tens of thousands: what
/// most of them have not, and what many have in common, is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) end: u64,
    pub(super) acquired: u64,
    /// Position of its acquisition; the pieces of a mapping that was cut have the same.
    pub(super) rank: u64,
    /// `None`: nothing but memory.
    pub(super) backing: Option<Arc<Backing>>,
    pub(super) tid: u32,
    pub(super) kind: Kind,
    pub(super) op: u8,
    /// Whether it ought to be synced before it goes.
    pub(super) sync: Sync,
}

const _: () = assert!(size_of::<Mapping>() == 40);

/// What a range is a view of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backing {
    pub(super) id: FileId,
    /// SysV id of an attach; -1 otherwise.
    pub(super) ipc_id: i32,
    /// Path of the file, of shared mappings only.
    pub(super) path: Option<Bytes>,
}

impl Backing {
    /// A segment that is attached.
    pub(super) fn segment(id: i32) -> Option<Arc<Backing>> {
        Some(Arc::new(Backing {
            id: FileId::default(),
            ipc_id: id,
            path: None,
        }))
    }

    /// A file, if it is one.
    pub(super) fn file(id: FileId, path: Option<Bytes>) -> Option<Arc<Backing>> {
        let is_file = id != FileId::default() || path.is_some();
        is_file.then(|| {
            Arc::new(Backing {
                id,
                ipc_id: -1,
                path,
            })
        })
    }
}

impl Mapping {
    /// Whether it was seen to be mapped after a call had begun.
    pub(super) fn came_after(&self, begin: u64) -> bool {
        self.op != 0 && self.acquired > begin
    }

    /// The file that is mapped; all zero for memory.
    pub(super) fn id(&self) -> FileId {
        let backing = self.backing.as_ref();
        backing.map_or(FileId::default(), |backing| backing.id)
    }

    /// SysV id of an attach; -1 otherwise.
    pub(super) fn ipc_id(&self) -> i32 {
        self.backing.as_ref().map_or(-1, |backing| backing.ipc_id)
    }

    /// Path of the file, of shared mappings only.
    pub(super) fn path(&self) -> Option<&Bytes> {
        self.backing.as_ref()?.path.as_ref()
    }

    /// Whether it is what /proc lists at the same addresses. Shared memory without a file has one
    /// of the kernel's making there, also if it was made from /dev/zero.
    fn is_same(&self, other: &Mapping) -> bool {
        let (own, others) = (self.id(), other.id());
        let file = (own.dev, own.ino) == (others.dev, others.ino)
            || (as_listed(other.kind) == Kind::SharedMapping && others.ino == 0);
        let is_kind = as_listed(self.kind) == as_listed(other.kind);
        is_kind && self.ipc_id() == other.ipc_id() && file
    }
}

/// The kind that /proc shows a range as: what it is for is not told there.
fn as_listed(kind: Kind) -> Kind {
    match kind {
        Kind::Stack | Kind::Heap => Kind::Anonymous,
        Kind::RingMapping => Kind::SharedMapping,
        other => other,
    }
}

/// Whether a mapping ought to be synced before it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// It has no disk behind it, or is not written.
    NoNeed,
    /// Not done yet.
    Needed,
    /// Done, at least once for a part of it.
    Done,
}

/// A range that was unmapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) start: u64,
    pub(super) bytes: u64,
    /// The mapping it was part of.
    pub(super) mapping: Mapping,
    /// How much of that is left.
    pub(super) rest: Rest,
}

/// What is left of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing: it is released.
    None,
    /// A piece, or more.
    Some,
}

/// Kinds of mapping, for counting.
pub(super) const KINDS: [Kind; 8] = [
    Kind::SharedMapping,
    Kind::PrivateMapping,
    Kind::Anonymous,
    Kind::ShmAttach,
    Kind::RingMapping,
    Kind::Heap,
    Kind::Stack,
    Kind::Hugetlb,
];

/// The mapped ranges. Cloned only when a child that has a copy of them maps something itself:
/// most execute a program instead.
#[derive(Clone, Debug, Default)]
struct Ranges {
    by_start: BTreeMap<u64, Mapping>,
    /// Mappings in more than one piece: rank to number of pieces.
    pieces: BTreeMap<u64, u32>,
}

impl Ranges {
    fn cut(&mut self, from: u64, to: u64, cuts: &mut Vec<Cut>) {
        if let Some((_, mapping)) = self.by_start.range_mut(..from).next_back()
            && mapping.end > from
        {
            let whole = mapping.clone();
            mapping.end = from;
            if whole.end > to {
                self.by_start.insert(to, whole.clone());
                *self.pieces.entry(whole.rank).or_insert(1) += 1;
            }
            cuts.push(Cut {
                start: from,
                bytes: whole.end.min(to) - from,
                mapping: whole,
                rest: Rest::Some,
            });
        }
        while let Some((&start, _)) = self.by_start.range(from..to).next() {
            let Some(mapping) = self.by_start.remove(&start) else {
                break;
            };
            let rest = match mapping.end > to {
                true => {
                    self.by_start.insert(to, mapping.clone());
                    Rest::Some
                }
                false => last_piece(&mut self.pieces, mapping.rank),
            };
            cuts.push(Cut {
                start,
                bytes: mapping.end.min(to) - start,
                mapping,
                rest,
            });
        }
    }
}

/// An address space.
#[derive(Debug, Default)]
pub(super) struct Space {
    ranges: Arc<Ranges>,
    /// Of the mapping that was added last.
    last: Option<Arc<Backing>>,
    /// No mapping was acquired later than that.
    newest: u64,
    /// Mappings with a lower rank came with the fork.
    inherited_below: u64,
    /// By place in [`KINDS`]: all mappings, and those that did not come with the fork.
    all: [u32; KINDS.len()],
    own: [u32; KINDS.len()],
    /// Ranges of which a child gets no copy (MADV_DONTFORK), not overlapping.
    apart: Vec<(u64, u64)>,
    /// Pages that no call mapped (`Exec::rest_vm`), the program's image; `None`: not known, or
    /// something happened to them that is not followed.
    pub(super) image: Option<u64>,
    /// When it was last read from the kernel: what calls had done by then is in it.
    pub(super) listed_at: u64,
    /// Where the heap ended last; `None`: not moved yet, as far as seen.
    pub(super) heap_end: Option<u64>,
    /// Processes whose end its `exit_mmap` belongs to.
    pub(super) users: Vec<ProcessId>,
}

fn place(kind: Kind) -> usize {
    let place = KINDS.iter().position(|other| *other == kind);
    place.unwrap_or(KINDS.len() - 1)
}

impl Space {
    /// The copy that a forked child has.
    pub(super) fn fork(&self, next_rank: u64) -> Space {
        let mut child = Space {
            ranges: Arc::clone(&self.ranges),
            last: None,
            newest: self.newest,
            inherited_below: next_rank,
            all: self.all,
            own: [0; KINDS.len()],
            apart: Vec::new(),
            image: self.image,
            listed_at: self.listed_at,
            heap_end: self.heap_end,
            users: Vec::new(),
        };
        let mut cuts = Vec::new();
        for (from, to) in &self.apart {
            child.cut(*from, *to, &mut cuts);
            let gone = cuts.iter().filter(|cut| cut.mapping.kind != Kind::Heap);
            let gone: u64 = gone.map(|cut| cut.bytes).sum();
            // The rest was the image's, or the heap's.
            if gone != to - from {
                child.image = None;
            }
        }
        child
    }

    /// A child gets no copy of a range from now on.
    pub(super) fn keep_from_children(&mut self, from: u64, to: u64) {
        self.give_to_children(from, to);
        self.apart.push((from, to));
    }

    /// A child gets a copy of a range again, or the range is gone.
    pub(super) fn give_to_children(&mut self, from: u64, to: u64) {
        if self.apart.is_empty() {
            return;
        }
        let left = |(start, end): (u64, u64)| {
            let before = (start, end.min(from));
            let behind = (start.max(to), end);
            [before, behind]
                .into_iter()
                .filter(|(start, end)| start < end)
        };
        self.apart = std::mem::take(&mut self.apart)
            .into_iter()
            .flat_map(left)
            .collect();
    }

    /// Whether a child gets no copy of what is at an address.
    pub(super) fn is_kept_from_children(&self, address: u64) -> bool {
        let mut apart = self.apart.iter();
        apart.any(|(from, to)| (*from..*to).contains(&address))
    }

    /// Adds a range; what it lies over must have been cut before.
    pub(super) fn add(&mut self, start: u64, mut mapping: Mapping) {
        // A program that maps a file often does so in a row.
        if mapping.backing.is_some() {
            if self.last != mapping.backing {
                self.last.clone_from(&mapping.backing);
            }
            mapping.backing.clone_from(&self.last);
        }
        self.newest = self.newest.max(mapping.acquired);
        let place = place(mapping.kind);
        self.all[place] += 1;
        self.own[place] += u32::from(!self.is_inherited(&mapping));
        Arc::make_mut(&mut self.ranges)
            .by_start
            .insert(start, mapping);
    }

    /// Makes the mapping of this kind that ends at `old` end at `end`; false if there is none.
    pub(super) fn stretch(&mut self, kind: Kind, old: u64, end: u64) -> bool {
        let last = self.ranges.by_start.range(..old).next_back();
        let Some((&start, _)) = last.filter(|(_, it)| it.kind == kind && it.end == old) else {
            return false;
        };
        if self.overlaps(old, end) {
            return false;
        }
        let ranges = Arc::make_mut(&mut self.ranges);
        if let Some(mapping) = ranges.by_start.get_mut(&start) {
            mapping.end = end;
        }
        true
    }

    /// Unmaps `from..to` and tells what that was, in ascending order.
    pub(super) fn cut(&mut self, from: u64, to: u64, cuts: &mut Vec<Cut>) {
        cuts.clear();
        if from >= to || !self.overlaps(from, to) {
            return;
        }
        self.give_to_children(from, to);
        Arc::make_mut(&mut self.ranges).cut(from, to, cuts);
        for cut in cuts.iter().filter(|cut| cut.rest == Rest::None) {
            let place = place(cut.mapping.kind);
            self.all[place] = self.all[place].saturating_sub(1);
            let own = u32::from(!self.is_inherited(&cut.mapping));
            self.own[place] = self.own[place].saturating_sub(own);
        }
    }

    /// Where within `from..to` something was mapped since `begin`, in ascending order: beginnings and
    /// ends.
    ///
    /// Records are written as calls return. A munmap that is slow to return is told after the mmap of
    /// another thread that got the place from it; it cannot have meant that one, whose address nobody
    /// knew when it began (unless with MAP_FIXED, where two threads would not know what they have).
    pub(super) fn mapped_since(&self, begin: u64, from: u64, to: u64) -> Vec<(u64, u64)> {
        // Nearly always: only another thread can have done so.
        if self.newest <= begin {
            return Vec::new();
        }
        let before = self.ranges.by_start.range(..from).next_back();
        let before = before.filter(|(_, mapping)| mapping.end > from);
        let within = (from < to).then(|| self.ranges.by_start.range(from..to));
        before
            .into_iter()
            .chain(within.into_iter().flatten())
            .filter(|(_, mapping)| mapping.came_after(begin))
            .map(|(start, mapping)| ((*start).max(from), mapping.end.min(to)))
            .collect()
    }

    /// Moves what was cut at an old place to a new one, of another length maybe.
    pub(super) fn put_back(&mut self, start: u64, bytes: u64, cut: &Cut) {
        let mapping = Mapping {
            end: start.saturating_add(bytes),
            ..cut.mapping.clone()
        };
        match cut.rest {
            Rest::None => self.add(start, mapping),
            Rest::Some => {
                let ranges = Arc::make_mut(&mut self.ranges);
                *ranges.pieces.entry(mapping.rank).or_insert(1) += 1;
                ranges.by_start.insert(start, mapping);
            }
        }
    }

    /// The mapping that lies over an address, and where it begins.
    pub(super) fn at(&self, address: u64) -> Option<(u64, &Mapping)> {
        let (start, mapping) = self.ranges.by_start.range(..=address).next_back()?;
        (mapping.end > address).then_some((*start, mapping))
    }

    /// Every range and where it begins, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Mapping)> {
        let ranges = self.ranges.by_start.iter();
        ranges.map(|(start, mapping)| (*start, mapping))
    }

    /// Marks the mappings of a file that were synced; the test gets start and mapping.
    pub(super) fn synced(&mut self, is: impl Fn(u64, &Mapping) -> bool) {
        let needs = |(start, mapping): (&u64, &Mapping)| {
            mapping.sync == Sync::Needed && is(*start, mapping)
        };
        if !self.ranges.by_start.iter().any(needs) {
            return;
        }
        for (start, mapping) in &mut Arc::make_mut(&mut self.ranges).by_start {
            if mapping.sync == Sync::Needed && is(*start, mapping) {
                mapping.sync = Sync::Done;
            }
        }
    }

    /// The ranges of a kind that did not come with the fork.
    pub(super) fn own_ranges(&self, kind: Kind) -> impl Iterator<Item = (u64, &Mapping)> {
        let of_kind = self.ranges.by_start.iter();
        let of_kind = of_kind.filter(move |(_, mapping)| mapping.kind == kind);
        let own = of_kind.filter(|(_, mapping)| !self.is_inherited(mapping));
        own.map(|(start, mapping)| (*start, mapping))
    }

    /// Mappings of a kind that did not come with the fork.
    pub(super) fn own(&self, kind: Kind) -> u32 {
        match KINDS.contains(&kind) {
            true => self.own[place(kind)],
            false => 0,
        }
    }

    /// All mappings of a kind.
    pub(super) fn all(&self, kind: Kind) -> u32 {
        match KINDS.contains(&kind) {
            true => self.all[place(kind)],
            false => 0,
        }
    }

    /// Whether a mapping came with the fork, or was found without having been seen to come.
    pub(super) fn is_inherited(&self, mapping: &Mapping) -> bool {
        mapping.rank < self.inherited_below || mapping.op == 0
    }

    /// Makes the address space what the kernel lists; ranges in ascending order. What is known
    /// of a range that is still what it was stays known; what is found gets ranks from `rank` on.
    pub(super) fn become_listed(&mut self, listed: Vec<(u64, Mapping)>, rank: u64) {
        // What the image had of it is not told.
        self.image = None;
        let old = Arc::unwrap_or_clone(std::mem::take(&mut self.ranges));
        let mut new = BTreeMap::new();
        for (number, (start, range)) in listed.into_iter().enumerate() {
            let mut at = start;
            let range = Mapping {
                rank: rank + number as u64,
                ..range
            };
            let over = old.by_start.range(..range.end).rev();
            let mut known: Vec<_> = over
                .take_while(|(_, it)| it.end > start)
                .filter(|(_, it)| it.is_same(&range))
                .collect();
            known.reverse();
            for (from, mapping) in known {
                let (from, end) = ((*from).max(start), mapping.end.min(range.end));
                if from > at {
                    new.insert(
                        at,
                        Mapping {
                            end: from,
                            ..range.clone()
                        },
                    );
                }
                new.insert(
                    from,
                    Mapping {
                        end,
                        ..mapping.clone()
                    },
                );
                at = end;
            }
            if at < range.end {
                new.insert(at, range);
            }
        }
        let mut ranges = Ranges {
            by_start: new,
            pieces: BTreeMap::new(),
        };
        let heap = ranges.by_start.values().filter(|it| it.kind == Kind::Heap);
        self.heap_end = heap.map(|it| it.end).max().or(self.heap_end);
        self.recount(&mut ranges);
        self.ranges = Arc::new(ranges);
    }

    /// Counts pieces and kinds anew.
    fn recount(&mut self, ranges: &mut Ranges) {
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        (self.all, self.own) = ([0; KINDS.len()], [0; KINDS.len()]);
        for mapping in ranges.by_start.values() {
            let pieces = seen.entry(mapping.rank).or_default();
            *pieces += 1;
            if *pieces == 1 {
                let place = place(mapping.kind);
                self.all[place] += 1;
                self.own[place] += u32::from(!self.is_inherited(mapping));
            }
        }
        seen.retain(|_, pieces| *pieces > 1);
        ranges.pieces = seen;
    }

    /// Shared mappings and SysV attaches, each once with all its bytes, by address.
    pub(super) fn shared(&self) -> Vec<(u64, u64, &Mapping)> {
        let mut found: Vec<(u64, u64, &Mapping)> = Vec::new();
        for (start, mapping) in &self.ranges.by_start {
            if !mapping.kind.counted() {
                continue;
            }
            let bytes = mapping.end - start;
            // Most are in one piece.
            let is_cut = self.ranges.pieces.contains_key(&mapping.rank);
            let mut others = found.iter_mut().filter(|_| is_cut);
            match others.find(|(_, _, other)| other.rank == mapping.rank) {
                Some((_, sum, _)) => *sum += bytes,
                None => found.push((*start, bytes, mapping)),
            }
        }
        found
    }

    fn overlaps(&self, from: u64, to: u64) -> bool {
        let last = self.ranges.by_start.range(..to).next_back();
        last.is_some_and(|(_, mapping)| mapping.end > from)
    }
}

/// Whether the piece that was taken was the last of its mapping.
fn last_piece(pieces: &mut BTreeMap<u64, u32>, rank: u64) -> Rest {
    if pieces.is_empty() {
        return Rest::None;
    }
    let Some(count) = pieces.get_mut(&rank) else {
        return Rest::None;
    };
    *count -= 1;
    if *count == 1 {
        pieces.remove(&rank);
    }
    Rest::Some
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Backing, Cut, FileId, Kind, Mapping, Rest, Space};

    fn mapping(end: u64, rank: u64) -> Mapping {
        Mapping {
            end,
            kind: Kind::Anonymous,
            op: 1,
            tid: 1,
            acquired: 1,
            rank,
            backing: None,
            sync: super::Sync::NoNeed,
        }
    }

    fn cut(space: &mut Space, from: u64, to: u64) -> Vec<Cut> {
        let mut cuts = Vec::new();
        space.cut(from, to, &mut cuts);
        cuts
    }

    fn released(cuts: &[Cut]) -> usize {
        cuts.iter().filter(|cut| cut.rest == Rest::None).count()
    }

    #[test]
    fn a_hole_leaves_two_pieces_of_one_mapping() {
        let mut space = Space::default();
        space.add(10, mapping(20, 1));
        assert_eq!(released(&cut(&mut space, 12, 14)), 0);
        assert_eq!(space.own(Kind::Anonymous), 1);
        assert_eq!(released(&cut(&mut space, 0, 12)), 0);
        assert_eq!(released(&cut(&mut space, 14, 20)), 1);
        assert_eq!(space.own(Kind::Anonymous), 0);
    }

    #[test]
    fn a_moved_mapping_is_the_same_mapping() {
        let mut space = Space::default();
        space.add(10, mapping(20, 1));
        let cuts = cut(&mut space, 10, 20);
        space.put_back(100, 30, &cuts[0]);
        assert_eq!(space.at(129).map(|(start, _)| start), Some(100));
        assert_eq!(space.own(Kind::Anonymous), 1);
    }

    #[test]
    fn mappings_of_one_file_know_it_together() {
        let mut space = Space::default();
        let id = FileId {
            dev: 1,
            ino: 2,
            generation: 0,
        };
        for start in [10, 30] {
            let backing = Backing::file(id, Some(bytes::Bytes::from_static(b"/f")));
            let one = mapping(start + 10, start);
            space.add(start, Mapping { backing, ..one });
        }
        let known = space.at(10).and_then(|(_, it)| it.backing.as_ref());
        // The space's own and two mappings'.
        assert_eq!(known.map(std::sync::Arc::strong_count), Some(3));
    }

    #[test]
    fn a_child_has_its_own_copy() {
        let mut parent = Space::default();
        parent.add(10, mapping(20, 1));
        let mut child = parent.fork(2);
        assert_eq!(released(&cut(&mut child, 10, 20)), 1);
        assert!(parent.at(10).is_some());
        assert_eq!(
            (child.all(Kind::Anonymous), child.own(Kind::Anonymous)),
            (0, 0)
        );
    }

    #[test]
    fn what_is_kept_from_children_is_not_copied() {
        let mut parent = Space::default();
        parent.add(10, mapping(20, 1));
        parent.add(30, mapping(40, 2));
        parent.keep_from_children(12, 20);
        parent.keep_from_children(30, 40);
        parent.give_to_children(14, 16);
        parent.keep_from_children(15, 17);
        let child = parent.fork(3);
        let ranges: Vec<_> = child.iter().map(|(start, it)| (start, it.end)).collect();
        assert_eq!(ranges, [(10, 12), (14, 15)]);
        assert_eq!(child.all(Kind::Anonymous), 1);
        assert!(parent.is_kept_from_children(39) && !parent.is_kept_from_children(14));
        cut(&mut parent, 30, 40);
        parent.add(30, mapping(40, 3));
        assert!(!parent.is_kept_from_children(30), "it is another one");
    }

    proptest! {
        /// Against a plain array of bytes.
        #[test]
        fn ranges_are_what_an_array_says(steps in proptest::collection::vec((0u64..64, 1u64..24, any::<bool>()), 1..60)) {
            let mut space = Space::default();
            let mut bytes = [0u64; 128];
            let mut acquired = 0;
            let mut gone = 0;
            for (number, (start, len, map)) in steps.into_iter().enumerate() {
                let end = start + len;
                gone += released(&cut(&mut space, start, end));
                let rank = if map { number as u64 + 1 } else { 0 };
                if map {
                    space.add(start, mapping(end, rank));
                    acquired += 1;
                }
                for byte in &mut bytes[start as usize..end as usize] {
                    *byte = rank;
                }
                for (address, rank) in bytes.iter().enumerate() {
                    let found = space.at(address as u64).map_or(0, |(_, mapping)| mapping.rank);
                    prop_assert_eq!(found, *rank);
                }
                let mut live: Vec<u64> = bytes.iter().copied().filter(|rank| *rank != 0).collect();
                live.sort_unstable();
                live.dedup();
                prop_assert_eq!(live.len(), acquired - gone);
                prop_assert_eq!(space.own(Kind::Anonymous) as usize, live.len());
            }
        }
    }
}
