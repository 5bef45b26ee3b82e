//! Orders that records cannot prove.
//!
//! A call's record is written when it returns, with its place in the table's sequence: of an
//! acquisition that at the return, when the number is there, of a release that at the entry, with
//! the description that the number stood for then. Two threads that close one number at the same
//! time, while others open it again, may each close another description than the one they saw, and
//! the memory of the first may be that of the next: which of two orders it was no record tells.
//! That can only be so where several tasks use one table and a release does not fit what the table
//! has. Then the table is read from the kernel again, as after a loss; nothing is claimed of it to
//! be wrong meanwhile, as nothing was lost.

use leaktrace_common::record::Header;

use super::{Model, process::ProcessId};

impl Model {
    /// A release did not fit, or may be about what came while it was under way.
    #[inline]
    pub(super) fn doubt(&mut self, header: &Header, id: ProcessId) {
        let shared = self
            .tables
            .get(&header.table)
            .is_some_and(|table| table.tasks > 1);
        if let Some(process) = self.processes.get_mut(id)
            && (shared || process.threads > 1)
        {
            process.doubted_at = Some(self.read.records);
        }
    }

    /// Whether what the table of a process has is in doubt.
    pub(super) fn is_in_doubt(&self, id: ProcessId) -> bool {
        let process = self.processes.get(id);
        process.is_some_and(|process| process.doubted_at.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        facts::{Families, Kind, Trust},
        tests::{begin, play, process, stdio},
    };

    const CLONE_THREAD: u64 = 0x1_0000;

    #[test]
    fn what_several_threads_leave_in_doubt_is_read_again_and_blames_nobody() {
        let (mut script, root) = begin();
        let thread = root.thread(101);
        script.fork(&root, &thread, CLONE_THREAD);
        script.open(&root, 3, 0x100, "/a");
        // It saw another description there, which is not the one that it closed.
        script.close(&thread, 3, 0x900);
        let mut model = play(&mut script);
        let doubted: Vec<_> = model.tainted().into_iter().map(|(_, what)| what).collect();
        assert_eq!(doubted, [Families::FDS]);
        script.exit(&root, 0, &stdio());
        model.feed(&script.take());
        let facts = model.facts();
        assert_eq!(facts.self_check, (0, 0), "not compared");
        assert_eq!(process(&facts, 100).trust, Trust::Sure);
    }

    #[test]
    fn what_was_pushed_out_or_is_gone_at_the_end_was_released_though_no_release_fits() {
        let (mut script, root) = begin();
        let thread = root.thread(101);
        script.fork(&root, &thread, CLONE_THREAD);
        script.open(&root, 3, 0x100, "/a");
        // It takes /a, and saw what another had there before.
        script.close(&thread, 3, 0x900);
        script.open(&root, 3, 0x200, "/b");
        script.close(&thread, 3, 0x900);
        script.open(&root, 4, 0x300, "/c");
        script.exit(&root, 0, &stdio());
        let facts = play(&mut script).facts();
        let counts = process(&facts, 100).by_kind[&Kind::File];
        let counts = (counts.acquired, counts.released, counts.held);
        assert_eq!(counts, (3, 3, 0));
    }

    #[test]
    fn one_thread_alone_leaves_nothing_in_doubt() {
        let (mut script, root) = begin();
        script.open(&root, 3, 0x100, "/a");
        script.close(&root, 3, 0x900);
        assert!(play(&mut script).tainted().is_empty());
    }
}
