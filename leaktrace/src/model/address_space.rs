//! Whose address space is whose: shared by vfork, copied at fork, new at exec, gone at
//! `exit_mmap`.

use super::{
    Model,
    facts::{Held, ResourceFacts},
    mapping::thing_of,
    process::ProcessId,
    space::Space,
};

impl Model {
    /// The address space, made if it is not known.
    pub(super) fn space_of(&mut self, mm: u64, user: ProcessId) -> &mut Space {
        let space = self.spaces.entry(mm).or_default();
        if space.users.is_empty() {
            space.users.push(user);
        }
        space
    }

    /// A child has its parent's address space, or a copy of it.
    pub(super) fn space_of_child(&mut self, parent: u64, child: u64, user: ProcessId) {
        if child == parent {
            self.space_of(child, user);
            self.watch_mm(child, user);
            return;
        }
        self.stacking.forked(parent, child);
        let rank = self.next_rank;
        let copy = self.spaces.get(&parent).map(|space| space.fork(rank));
        self.spaces.insert(child, copy.unwrap_or_default());
        self.watch_mm(child, user);
    }

    /// A process has executed another program: it leaves one address space for a new one.
    pub(super) fn new_space(&mut self, old: u64, new: u64, image: u64, user: ProcessId) {
        self.stacking.forget_space(new);
        self.unwatch_mm(old, user);
        let mut space = Space::default();
        space.image = Some(image);
        self.spaces.insert(new, space);
        self.watch_mm(new, user);
    }

    /// The process's end waits for the end of this address space.
    pub(super) fn watch_mm(&mut self, mm: u64, user: ProcessId) {
        if mm == 0 {
            return;
        }
        let space = self.spaces.entry(mm).or_default();
        if !space.users.contains(&user) {
            space.users.push(user);
        }
    }

    /// The process has nothing to do with this address space any more.
    pub(super) fn unwatch_mm(&mut self, mm: u64, user: ProcessId) {
        let Some(space) = self.spaces.get_mut(&mm) else {
            return;
        };
        space.users.retain(|other| *other != user);
        if space.users.is_empty() {
            self.spaces.remove(&mm);
            self.stacking.forget_space(mm);
        }
    }

    /// Shared mappings and SysV attaches that a process leaves mapped. Those of an address
    /// space that another process goes on with (vfork) are not its own.
    pub(super) fn held_mappings(&self, mm: u64, id: ProcessId) -> Vec<Held> {
        let Some(space) = self.spaces.get(&mm) else {
            return Vec::new();
        };
        let lives = |user: &ProcessId| {
            let process = self.processes.get(*user);
            *user != id && process.is_some_and(|process| process.end.is_none())
        };
        if space.users.iter().any(lives) {
            return Vec::new();
        }
        let held = space
            .shared()
            .into_iter()
            .map(|(start, bytes, mapping)| Held {
                resource: ResourceFacts {
                    path: mapping.path().cloned(),
                    ..thing_of(start, bytes, mapping).facts(&self.names)
                },
                inherited: space.is_inherited(mapping),
                ..Held::default()
            });
        held.collect()
    }
}
