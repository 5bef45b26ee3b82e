//! How much is mapped: what the kernel counted, against what calls asked for.
//!
//! The kernel counts the pages of an address space (`mm_struct.total_vm`). What the program's image
//! takes is read at exec; the stack, which grows by itself, and the heap of brk(2) are counted
//! apart. The rest is what system calls mapped, and that much must be in the table at the end.
//! The number of mappings (`map_count`) is no such check: whether two of them are one is decided by
//! flags, policies and anon_vmas that no call tells (can_vma_merge_before in mm/vma.c, v6.18).

use leaktrace_common::record::{
    exit::ExitProcess,
    mapping::{Map, Remap},
    task::TaskNew,
};

use super::{
    Model,
    facts::{Kind, Trust},
    page::Page,
    process::ProcessId,
    space::Space,
    walk::DIFFERED,
};
use crate::parity::{Difference, What};

/// MAP_FIXED, MAP_GROWSDOWN, MAP_HUGETLB, MREMAP_FIXED (include/uapi/linux/mman.h).
const MAP_FIXED: u32 = 0x10;
const MAP_GROWSDOWN: u32 = 0x100;
const MAP_HUGETLB: u32 = 0x4_0000;
const MREMAP_FIXED: u32 = 2;

impl Space {
    /// A range up to `to` was mapped over so many bytes of what calls had mapped. The rest may have
    /// been the image's, if a place was asked for. The kernel counts what grows downwards as stack,
    /// and huge pages are longer than was asked for.
    pub(super) fn is_mapped(&mut self, map: &Map, over: u64, to: u64) {
        let on_image = map.flags & MAP_FIXED != 0 && over != to - map.address;
        if on_image || map.flags & (MAP_GROWSDOWN | MAP_HUGETLB) != 0 {
            self.image = None;
        }
    }

    /// The same of a range that was moved, and has so many bytes of whole pages now.
    pub(super) fn is_remapped(&mut self, remap: &Remap, over: u64, bytes: u64) {
        if remap.flags & MREMAP_FIXED != 0 && over != bytes {
            self.image = None;
        }
    }

    /// Pages that calls have mapped; `None` if their lengths are not known.
    fn pages(&self, page: Page) -> Option<u64> {
        let mut pages = 0;
        for (start, mapping) in self.iter() {
            if matches!(mapping.kind, Kind::ShmAttach | Kind::Hugetlb) {
                return None;
            }
            if mapping.kind != Kind::Heap {
                pages += (mapping.end - start) / page.bytes();
            }
        }
        Some(pages)
    }
}

impl Model {
    /// What the kernel counts as mapped by calls, and what is in the table, if both are known. What
    /// the programs read is in the smallest pages.
    fn totals(&self, id: ProcessId, mm: u64, rest_vm: u64) -> Option<(u64, u64)> {
        let space = self.spaces.get(&mm)?;
        let process = self.processes.get(id)?;
        let trusted = !matches!(process.trust, Trust::Tainted { .. }) && process.unfollowed == 0;
        if mm != process.mm || space.users != [id] || !trusted || !self.page.is_smallest() {
            return None;
        }
        Some((rest_vm.wrapping_sub(space.image?), space.pages(self.page)?))
    }

    /// A child's copy of an address space is what its maker's was when the kernel copied it: what
    /// other threads mapped and unmapped before it told of the child is in ours, and some mappings
    /// of drivers are in no copy (VM_DONTCOPY). If there is more or less in it than in the
    /// kernel's, it is to be listed.
    pub(super) fn check_copy(&mut self, child: ProcessId, new: &TaskNew) {
        let totals = self.totals(child, new.child.mm, new.rest_vm);
        if new.rest_vm != 0 && totals.is_some_and(|(kernel, ours)| kernel != ours) {
            self.doubt_mappings(child);
        }
    }

    /// Compares what is mapped at the end of a process with the kernel's own count, where there is
    /// one: from Linux 6.16 on, and if no other process uses the address space.
    pub(super) fn check_total(&mut self, id: ProcessId, exit: &ExitProcess) {
        let Some((kernel, pages)) = self.totals(id, exit.mm, exit.rest_vm) else {
            return;
        };
        self.space_check.0 += 1;
        if kernel == pages {
            return;
        }
        self.space_check.1 += 1;
        if self.differed.len() < DIFFERED
            && let Some(key) = self.processes.get(id).map(|process| process.key)
        {
            let told = |pages: u64| Some(format!("{pages} pages"));
            self.differed.push(Difference {
                process: key,
                comm: self.comm(key),
                what: What::Mapped,
                ours: told(pages),
                kernel: told(kernel),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        facts::Families,
        testing::{Actor, Script},
        tests::{play, stdio},
    };

    const PRIVATE: u32 = 0x22;
    const FIXED: u32 = PRIVATE | super::MAP_FIXED;
    /// Of the image, less the heap's end: any number.
    const IMAGE: u64 = u64::MAX - 7;

    /// A program that maps, and how many spaces were compared and differed at its end, when the
    /// kernel counts so many pages more than at its beginning.
    fn compared(pages: u64, maps: impl FnOnce(&mut Script, &Actor)) -> (u64, u64) {
        let mut script = Script::new();
        let root = Actor::new(100);
        script.root(&root);
        script.rest_vm = IMAGE;
        script.exec(&root, &stdio());
        maps(&mut script, &root);
        script.rest_vm = IMAGE.wrapping_add(pages);
        script.exit(&root, 0, &stdio());
        play(&mut script).facts().space_check
    }

    #[test]
    fn what_calls_mapped_is_what_the_kernel_counts_besides_the_image() {
        let maps = |script: &mut Script, root: &Actor| {
            script.map(root, 0x10_0000, 3 * 4096, PRIVATE, -1);
            script.map(root, 0x10_1000, 100, FIXED, -1);
            script.map(root, 0x20_0000, 4096, PRIVATE, -1);
            script.unmap(root, 0x10_0000, 4096);
        };
        assert_eq!(compared(3, maps), (1, 0));
        assert_eq!(compared(4, maps), (1, 1));
        assert_eq!(compared(0, |_, _| ()), (1, 0));
    }

    #[test]
    fn nothing_is_compared_once_the_image_may_have_changed() {
        let unmapped = |script: &mut Script, root: &Actor| script.unmap(root, 0x40_0000, 4096);
        assert_eq!(compared(0, unmapped), (0, 0));
        let over = |script: &mut Script, root: &Actor| {
            script.map(root, 0x40_0000, 4096, FIXED, -1);
        };
        assert_eq!(compared(0, over), (0, 0));
        let stack = |script: &mut Script, root: &Actor| {
            script.map(root, 0x40_0000, 4096, PRIVATE | super::MAP_GROWSDOWN, -1);
        };
        assert_eq!(compared(0, stack), (0, 0));
    }

    /// A program that has mapped so much, and a child that it has not made yet.
    fn parent(bytes: u64) -> (Script, Actor, Actor) {
        let mut script = Script::new();
        let root = Actor::new(100);
        let child = Actor::child_of(&root, 101);
        script.root(&root);
        script.rest_vm = IMAGE;
        script.exec(&root, &stdio());
        script.map(&root, 0x10_0000, bytes, PRIVATE, -1);
        (script, root, child)
    }

    #[test]
    fn a_child_has_the_image_of_its_parent_and_what_it_mapped_itself() {
        let (mut script, root, child) = parent(4096);
        script.rest_vm = IMAGE.wrapping_add(1);
        script.fork(&root, &child, 0);
        script.map(&child, 0x20_0000, 4096, PRIVATE, -1);
        script.rest_vm = IMAGE.wrapping_add(2);
        script.exit(&child, 0, &stdio());
        script.rest_vm = IMAGE.wrapping_add(1);
        script.exit(&root, 0, &stdio());
        assert_eq!(play(&mut script).facts().space_check, (2, 0));
    }

    const MADV_DONTFORK: u64 = 10;

    /// What is to be listed after a program with two mapped pages has had a child, of whose copy
    /// the kernel counts so many more: of the second, or of one of the image's, it has none.
    fn copied(more: u64, apart: Option<u64>) -> Vec<(u32, Families)> {
        let (mut script, root, child) = parent(2 * 4096);
        if let Some(address) = apart {
            script.advise(&root, address, 4096, MADV_DONTFORK);
        }
        script.rest_vm = IMAGE.wrapping_add(2).wrapping_add(more);
        script.fork(&root, &child, 0);
        let doubted = play(&mut script).tainted();
        let doubted = doubted.iter().map(|(key, families)| (key.pid.0, *families));
        doubted.collect()
    }

    #[test]
    fn a_copy_that_the_kernel_counts_otherwise_is_to_be_listed() {
        const LESS: u64 = u64::MAX;
        const SECOND: Option<u64> = Some(0x10_1000);
        let listed = [(101, Families::MAPPINGS)];
        assert_eq!(copied(0, None), []);
        assert_eq!(copied(3, None), listed);
        assert_eq!(copied(LESS, None), listed);
        assert_eq!(copied(LESS, SECOND), []);
        assert_eq!(copied(0, SECOND), listed);
        // What the image lacks then is not known.
        assert_eq!(copied(LESS, Some(0x40_0000)), []);
    }
}
