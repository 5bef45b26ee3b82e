//! Ranges are moved, and made longer or shorter.

use leaktrace_common::{
    abi::Op,
    record::{Header, mapping::Remap},
};

use super::{
    Model,
    facts::Kind,
    process::{Listing, ProcessId},
    space::Mapping,
};

/// include/uapi/linux/mman.h.
const MREMAP_FIXED: u32 = 2;
const MREMAP_DONTUNMAP: u32 = 4;

/// Whether a mremap that failed may have unmapped something: what was in the way of a place that was
/// asked for, and what a shorter range no longer has, go before the move is tried (mremap_to in
/// mm/mremap.c, v6.18). The move may fail for want of memory, or be put off because of a signal
/// (ERESTARTSYS of unmerge_ksm_pages in mm/ksm.c). Arguments that make no sense are found before.
fn may_be_half_done(remap: &Remap) -> bool {
    const EINVAL: i32 = 22;
    let shrinks = remap.new_bytes < remap.old_bytes;
    let is_refused = remap.errno == EINVAL && remap.old_bytes != 0;
    (shrinks || remap.flags & MREMAP_FIXED != 0) && !is_refused
}

impl Model {
    pub(super) fn remap(&mut self, header: &Header, remap: &Remap) {
        if self.is_listed(header, remap.mm) {
            return;
        }
        let Some(process) = self.live_of(header) else {
            return;
        };
        if remap.errno != 0 {
            if may_be_half_done(remap) {
                self.doubt_mappings(process);
            }
            return;
        }
        let new_end = self.page.end_of(remap.new_address, remap.new_bytes);
        let stays = remap.old_bytes == 0 || remap.flags & MREMAP_DONTUNMAP != 0;
        if stays {
            let space = self.space_of(remap.mm, process);
            let Some((_, mapping)) = space.at(remap.old_address) else {
                space.image = None;
                return;
            };
            let copy = Mapping {
                end: new_end,
                op: Op::MREMAP.0,
                tid: header.tid,
                acquired: header.time_ns,
                ..mapping.clone()
            };
            let over = self.add_mapping(header, process, remap.mm, remap.new_address, copy);
            let bytes = self.page.up(remap.new_bytes);
            self.space_of(remap.mm, process)
                .is_remapped(remap, over, bytes);
            return;
        }
        self.move_range(header, process, remap, new_end);
    }

    /// Moves a mapping, or makes it longer or shorter where it is.
    fn move_range(&mut self, header: &Header, id: ProcessId, remap: &Remap, new_end: u64) {
        let mut cuts = Vec::new();
        let old_end = self.page.end_of(remap.old_address, remap.old_bytes);
        let bytes = self.page.up(remap.new_bytes);
        let is_whole = self.page.up(remap.old_bytes) != bytes;
        let space = self.space_of(remap.mm, id);
        // Only this may be about several mappings, which keep what they are.
        if remap.new_address == remap.old_address && new_end <= old_end {
            let (mm, now) = (remap.mm, header.time_ns);
            let cut = self.unmap_range(header, id, mm, new_end, old_end, now);
            if cut != old_end - new_end {
                self.space_of(mm, id).image = None;
            }
            return;
        }
        let kept = space.is_kept_from_children(remap.old_address);
        space.cut(remap.old_address, old_end, &mut cuts);
        // A range that is one mapping to the kernel is one to us, unless records were lost, or
        // the move was under way when the address space was read.
        let moved: u64 = cuts.iter().map(|cut| cut.bytes).sum();
        let heap = cuts.iter().any(|cut| cut.mapping.kind == Kind::Heap);
        if heap || moved != old_end - remap.old_address {
            space.image = None;
        }
        // Only a move that changes no length may be about several mappings. Gaps stay gaps, and
        // what lies where they would go stays (remap_move in mm/mremap.c, v6.17).
        let pieces = match is_whole {
            true => cuts.get(..1).unwrap_or_default(),
            false => &cuts,
        };
        let mut over = 0;
        for cut in pieces {
            let (start, bytes) = match is_whole {
                true => (remap.new_address, new_end - remap.new_address),
                false => (
                    remap.new_address + (cut.start - remap.old_address),
                    cut.bytes,
                ),
            };
            let end = start.saturating_add(bytes);
            over += self.unmap_range(header, id, remap.mm, start, end, header.time_ns);
            let space = self.space_of(remap.mm, id);
            space.put_back(start, bytes, cut);
            if kept {
                space.keep_from_children(start, end);
            }
        }
        self.space_of(remap.mm, id).is_remapped(remap, over, bytes);
    }

    /// What is mapped is to be read from the kernel.
    #[cold]
    pub(super) fn doubt_mappings(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.listing = Listing::Late;
        let mm = process.mm;
        if let Some(space) = self.spaces.get_mut(&mm) {
            space.image = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        facts::Families,
        testing::{Actor, Script},
        tests::{begin, play, stdio},
    };

    const PRIVATE: u32 = 0x22;

    /// A program that has mapped two pages, a gap of one, and one more, and ends with as many pages
    /// as it should have after what it does then.
    fn moved(pages: u64, does: impl FnOnce(&mut Script, &Actor)) -> (u64, u64) {
        let mut script = Script::new();
        let root = Actor::new(100);
        script.root(&root);
        script.exec(&root, &stdio());
        script.map(&root, 0x10_0000, 0x2000, PRIVATE, -1);
        script.map(&root, 0x10_3000, 0x1000, PRIVATE, -1);
        does(&mut script, &root);
        script.rest_vm += pages;
        script.exit(&root, 0, &stdio());
        play(&mut script).facts().space_check
    }

    #[test]
    fn a_move_of_several_mappings_leaves_what_lies_in_their_gap() {
        let does = |script: &mut Script, root: &Actor| {
            script.map(root, 0x20_0000, 0x4000, PRIVATE, -1);
            script.remap(root, (0x10_0000, 0x4000), (0x20_0000, 0x4000), 0);
            // All but the page that was in the gap.
            script.unmap(root, 0x20_0000, 0x2000);
            script.unmap(root, 0x20_3000, 0x1000);
        };
        // Gaps mean that the image may be concerned: nothing is compared, so the table is asked.
        assert_eq!(moved(1, does), (0, 0));
        let (mut script, root) = begin();
        script.map(&root, 0x10_0000, 0x2000, PRIVATE, -1);
        script.map(&root, 0x10_3000, 0x1000, PRIVATE, -1);
        does(&mut script, &root);
        let model = play(&mut script);
        let key = model.living().next().expect("the root");
        let ranges = model.holdings(key).expect("it lives").ranges;
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| (range.start, range.end))
            .collect();
        assert_eq!(ranges, [(0x20_2000, 0x20_3000)]);
    }

    #[test]
    fn a_longer_range_is_one_range() {
        let longer = |script: &mut Script, root: &Actor| {
            script.remap(root, (0x10_0000, 0x2000), (0x20_0000, 0x5000), 0);
        };
        assert_eq!(
            moved(6, longer),
            (0, 0),
            "the image may have been at the place asked for"
        );
    }

    #[test]
    fn a_move_that_may_be_half_done_has_the_mappings_read_again() {
        let doubted = |old: (u64, u64), new: (u64, u64), errno: i32| {
            let (mut script, root) = begin();
            script.map(&root, 0x10_0000, 0x2000, PRIVATE, -1);
            script.remap(&root, old, new, errno);
            let tainted = play(&mut script).tainted();
            tainted
                .into_iter()
                .map(|(_, what)| what)
                .collect::<Vec<_>>()
        };
        let (old, new) = ((0x10_0000, 0x2000), (0x20_0000, 0x1000));
        assert_eq!(doubted(old, new, 512), [Families::MAPPINGS]);
        assert_eq!(doubted(old, new, 12), [Families::MAPPINGS]);
        assert_eq!(doubted(old, new, 22), [], "nothing was begun");
        assert_eq!(doubted(old, new, 0), [], "it succeeded");
    }
}
