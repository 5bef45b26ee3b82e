//! After a loss: what nobody uses any more, though no record told of its end.
//!
//! A process of which both the beginning and the end were lost leaves the table that a walk told of
//! in between, and tables never come twice under one number: a reader that is too slow for hours
//! would grow. So some time after a loss whatever no living process uses is forgotten. By then the
//! processes whose end alone was lost have been searched for.

use std::collections::BTreeSet;

use super::{Model, process::Process};
use crate::id::{KtimeNs, ProcessKey};

/// Time between a loss and looking for what is left of it, ns.
const WAIT: u64 = 10_000_000_000;

/// When to look for what is left of a loss.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forgetting {
    /// 0: nothing was lost since the last time.
    at: u64,
    last_gap: u64,
}

impl Forgetting {
    /// Records are missing.
    pub(super) fn gap(&mut self, now: KtimeNs) {
        self.last_gap = now.0;
        if self.at == 0 {
            self.at = now.0.saturating_add(WAIT);
        }
    }

    #[inline]
    pub(super) fn is_due(&self, now: KtimeNs) -> bool {
        self.at != 0 && now.0 >= self.at
    }

    /// Once more later, if what was lost last may not have been found to be gone yet.
    fn done(&mut self, now: KtimeNs) {
        self.at = match now.0.saturating_sub(self.last_gap) < WAIT {
            true => now.0.saturating_add(WAIT),
            false => 0,
        };
    }
}

impl Model {
    /// Forgets tables and address spaces that no living process uses.
    #[cold]
    pub(super) fn forget_unused(&mut self) {
        self.forgetting.done(self.now);
        let living = self.processes.iter().filter(|process| process.lives());
        let used: BTreeSet<u32> = living.map(|process| process.table.0).collect();
        // A thread may have a table of its own.
        let lives = |user: ProcessKey| {
            let id = self.processes.find_key(user);
            let process = id.and_then(|id| self.processes.get(id));
            process.is_some_and(Process::lives)
        };
        let tables = self.tables.iter();
        let unused: Vec<u32> = tables
            .filter(|(number, table)| !used.contains(number) && !lives(table.user))
            .map(|(number, _)| *number)
            .collect();
        unused.into_iter().for_each(|table| self.drop_table(table));
        // That of an ended process is kept until its end is told, which may be on its way.
        let is_used = |mm: u64, process: &Process| process.lives() || process.mm == mm;
        let spaces = self.spaces.iter();
        let unused: Vec<u64> = spaces
            .filter(|(mm, space)| {
                let mut users = space.users.iter();
                !users.any(|id| {
                    let process = self.processes.get(*id);
                    process.is_some_and(|process| is_used(**mm, process))
                })
            })
            .map(|(mm, _)| *mm)
            .collect();
        for mm in unused {
            self.spaces.remove(&mm);
            self.stacking.forget_space(mm);
        }
        let living = self.processes.iter().filter(|process| process.lives());
        let living: BTreeSet<_> = living.map(|process| process.key).collect();
        self.map_seeds.retain(|key, _| living.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        testing::Actor,
        tests::{begin, play, stdio},
    };

    /// Long enough after a loss.
    const LATER: u64 = 3 * super::WAIT;

    #[test]
    fn a_table_whose_process_was_never_told_of_is_forgotten_after_a_loss() {
        let (mut script, root) = begin();
        let nobody = Actor::child_of(&root, 300);
        script.walk(
            &nobody,
            leaktrace_common::record::file::walk_cause::FORK,
            &stdio(),
        );
        let mut model = play(&mut script);
        assert_eq!(model.tables.len(), 2);
        script.dropped += 5;
        script.open(&root, 3, 0x100, "/a");
        script.now += LATER;
        script.open(&root, 4, 0x200, "/b");
        model.feed(&script.take());
        assert_eq!(model.tables.len(), 1);
        assert_eq!(model.tables[&root.table].open.all, 5, "it lives");
    }

    #[test]
    fn without_a_loss_nothing_is_looked_for() {
        let (mut script, root) = begin();
        let nobody = Actor::child_of(&root, 300);
        script.walk(
            &nobody,
            leaktrace_common::record::file::walk_cause::FORK,
            &stdio(),
        );
        script.now += LATER;
        script.open(&root, 4, 0x200, "/b");
        assert_eq!(play(&mut script).tables.len(), 2);
    }

    #[test]
    fn a_table_of_one_thread_stays_while_its_process_lives() {
        let (mut script, root) = begin();
        let thread = root.thread(101);
        script.fork(&root, &thread, 0x1_0000);
        let apart = Actor { table: 9, ..thread };
        script.table(&apart, thread.table);
        script.dropped += 5;
        script.open(&apart, 3, 0x100, "/a");
        script.now += LATER;
        script.open(&root, 4, 0x200, "/b");
        let model = play(&mut script);
        assert!(model.tables.contains_key(&apart.table));
    }
}
