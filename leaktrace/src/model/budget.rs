//! The most of a class or kind that a process may hold at a time, and the acquisitions that
//! pass it.

use super::{
    Model,
    conduct::{Budget, Passed},
    facts::Kind,
    process::ProcessId,
    thing::Thing,
};

impl Model {
    /// Sets the budgets, of whatever program: which of those that are passed count is for audit
    /// to say.
    pub fn set_budgets(&mut self, budgets: Vec<Budget>) {
        self.budgets = budgets;
    }

    /// Compares the fds that a record has told of with the budgets.
    #[cold]
    pub(super) fn check_acquired_fds(&mut self) {
        for (id, table, fd) in std::mem::take(&mut self.acquired_fds) {
            let slot = self.tables.get(&table).and_then(|table| table.get(fd));
            let Some(slot) = slot else { continue };
            let thing = Thing::of_slot(fd, slot, self.descriptions.get(slot.description));
            self.check_budgets(id, thing);
        }
    }

    /// Something was acquired: notes the budgets that it passes, each once in a process.
    pub(super) fn check_budgets(&mut self, id: ProcessId, thing: Thing) {
        let (kind, class) = (thing.kind.name(), thing.kind.class().name());
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let mut passed = Vec::new();
        for budget in &self.budgets {
            let held = match budget.of {
                of if of == kind => self.held(process, thing.kind),
                of if of == class => Kind::ALL
                    .iter()
                    .filter(|other| other.class() == thing.kind.class())
                    .map(|other| self.held(process, *other))
                    .sum(),
                _ => continue,
            };
            if held > budget.most {
                passed.push(*budget);
            }
        }
        let names = &self.names;
        let facts = thing.facts(names);
        for Budget { of, most } in passed {
            let all = &mut self.follow(id).conduct.passed;
            if !all.iter().any(|known| known.of == of && known.most == most) {
                all.push(Passed {
                    of,
                    most,
                    resource: facts.clone(),
                });
            }
        }
    }
}
