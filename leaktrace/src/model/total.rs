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
    /// Compares what is mapped at the end of a process with the kernel's own count, where there is
    /// one: from Linux 6.16 on, and if no other process uses the address space. What the programs
    /// read is in the smallest pages.
    pub(super) fn check_total(&mut self, id: ProcessId, exit: &ExitProcess) {
        let Some(space) = self.spaces.get(&exit.mm) else {
            return;
        };
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let trusted = !matches!(process.trust, Trust::Tainted { .. }) && process.unfollowed == 0;
        if exit.mm != process.mm || space.users != [id] || !trusted || !self.page.is_smallest() {
            return;
        }
        let (Some(image), Some(pages)) = (space.image, space.pages(self.page)) else {
            return;
        };
        let kernel = exit.rest_vm.wrapping_sub(image);
        self.space_check.0 += 1;
        if kernel == pages {
            return;
        }
        self.space_check.1 += 1;
        if self.differed.len() < DIFFERED {
            let told = |pages: u64| Some(format!("{pages} pages"));
            let key = process.key;
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

    #[test]
    fn a_child_has_the_image_of_its_parent_and_what_it_mapped_itself() {
        let mut script = Script::new();
        let root = Actor::new(100);
        let child = Actor::child_of(&root, 101);
        script.root(&root);
        script.rest_vm = IMAGE;
        script.exec(&root, &stdio());
        script.map(&root, 0x10_0000, 4096, PRIVATE, -1);
        script.fork(&root, &child, 0);
        script.map(&child, 0x20_0000, 4096, PRIVATE, -1);
        script.rest_vm = IMAGE.wrapping_add(2);
        script.exit(&child, 0, &stdio());
        script.rest_vm = IMAGE.wrapping_add(1);
        script.exit(&root, 0, &stdio());
        assert_eq!(play(&mut script).facts().space_check, (2, 0));
    }
}
