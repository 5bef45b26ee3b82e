//! The heap of brk(2): one range from where the kernel put it to where the program moved its end.

use leaktrace_common::{
    abi::Op,
    record::{Header, call::Call},
};

use super::{
    Model,
    facts::Kind,
    process::ProcessId,
    space::{Mapping, Sync},
};

impl Model {
    /// brk returned; it tells where the heap begins and ends now, so no call is needed to know the
    /// next one's meaning. Whole pages are mapped (mm/mmap.c).
    pub(super) fn heap(&mut self, header: &Header, id: ProcessId, call: &Call) {
        let (mm, begin, end) = (call.file, call.value, call.interval);
        if mm == 0 || begin == 0 || self.is_listed(header, mm) {
            return;
        }
        let (begin, end) = (self.page.up(begin), self.page.up(end));
        let space = self.space_of(mm, id);
        let image = space.image;
        let old = space.heap_end.replace(end).unwrap_or(begin);
        if end > old {
            self.heap_grows(header, id, mm, (old, end));
        } else {
            let now = header.time_ns;
            self.unmap_range(header, id, mm, end.max(begin), old, now);
        }
        // The kernel counts the heap apart from what is compared with it.
        self.space_of(mm, id).image = image;
    }

    fn heap_grows(&mut self, header: &Header, id: ProcessId, mm: u64, (old, end): (u64, u64)) {
        let space = self.space_of(mm, id);
        if space.stretch(Kind::Heap, old, end) {
            return;
        }
        let mapping = Mapping {
            end,
            kind: Kind::Heap,
            op: Op::BRK.0,
            tid: header.tid,
            acquired: header.time_ns,
            rank: 0,
            backing: None,
            sync: Sync::NoNeed,
        };
        self.add_mapping(header, id, mm, old, mapping);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        facts::Kind,
        testing::{Actor, Script},
        tests::{begin, play, process, stdio},
    };

    const BEGIN: u64 = 0x50_0000;

    fn ranges(script: &mut Script) -> Vec<(u64, u64)> {
        let model = play(script);
        let key = model.living().next().expect("the root");
        let ranges = model.holdings(key).expect("it lives").ranges;
        let ranges = ranges.iter().map(|range| (range.start, range.end));
        ranges.collect()
    }

    #[test]
    fn it_grows_and_shrinks_by_whole_pages() {
        let (mut script, root) = begin();
        script.brk(&root, BEGIN, BEGIN + 1);
        script.brk(&root, BEGIN, BEGIN + 0x2001);
        assert_eq!(ranges(&mut script), [(BEGIN, BEGIN + 0x3000)]);
        let (mut script, root) = begin();
        script.brk(&root, BEGIN, BEGIN + 0x3000);
        script.brk(&root, BEGIN, BEGIN + 0x1000);
        assert_eq!(ranges(&mut script), [(BEGIN, BEGIN + 0x1000)]);
    }

    #[test]
    fn it_is_one_thing_from_its_first_byte_to_its_last() {
        let counts = |last: u64| {
            let (mut script, root) = begin();
            script.brk(&root, BEGIN, BEGIN + 0x3000);
            script.brk(&root, BEGIN, BEGIN + 0x9000);
            script.brk(&root, BEGIN, BEGIN + last);
            script.exit(&root, 0, &stdio());
            let facts = play(&mut script).facts();
            let counts = process(&facts, 100).by_kind[&Kind::Heap];
            (counts.acquired, counts.released, counts.held)
        };
        assert_eq!(counts(0x1000), (1, 0, 1));
        assert_eq!(counts(0), (1, 1, 0));
    }

    #[test]
    fn the_kernel_counts_it_apart() {
        let mut script = Script::new();
        let root = Actor::new(100);
        script.root(&root);
        script.exec(&root, &stdio());
        script.map(&root, 0x10_0000, 4096, 0x22, -1);
        script.brk(&root, BEGIN, BEGIN + 0x3000);
        script.rest_vm += 1;
        script.exit(&root, 0, &stdio());
        assert_eq!(play(&mut script).facts().space_check, (1, 0));
    }

    #[test]
    fn a_part_that_munmap_takes_is_gone_and_nothing_is_compared() {
        let (mut script, root) = begin();
        script.brk(&root, BEGIN, BEGIN + 0x3000);
        script.unmap(&root, BEGIN + 0x1000, 0x1000);
        script.brk(&root, BEGIN, BEGIN + 0x4000);
        let parts = [(BEGIN, BEGIN + 0x1000), (BEGIN + 0x2000, BEGIN + 0x4000)];
        assert_eq!(ranges(&mut script), parts);
    }
}
