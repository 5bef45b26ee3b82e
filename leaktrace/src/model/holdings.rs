//! What a process holds, in the form in which it is compared with what the kernel lists.

use super::{
    Model,
    facts::{Kind, Trust},
    process::{Gone, Process},
    space::Mapping,
};
use crate::{
    id::ProcessKey,
    parity::{Backing, By, Difference, HeldFd, Holdings, Range},
};

impl Model {
    /// What a process that has not ended holds by our tables. Children are not in it.
    pub fn holdings(&self, key: ProcessKey) -> Option<Holdings> {
        let process = self.processes.get(self.processes.find_key(key)?)?;
        if process.end.is_some() {
            return None;
        }
        Some(Holdings {
            fds: self.held_fds(process),
            ranges: self.held_ranges(process),
            threads: process.threads,
            ..Holdings::default()
        })
    }

    /// comm of a process, as text.
    pub fn comm(&self, key: ProcessKey) -> String {
        let process = self.processes.find_key(key);
        let process = process.and_then(|id| self.processes.get(id));
        let comm = process.map(|process| super::signal::text(&process.comm));
        String::from_utf8_lossy(&comm.unwrap_or_default()).into_owned()
    }

    /// Pids of the processes that are there, those that have ended and wait for their parent too.
    pub fn pids(&self) -> std::collections::BTreeSet<u32> {
        let there = self
            .processes
            .iter()
            .filter(|process| process.reaped.is_none() && process.gone == Gone::No);
        there.map(|process| process.key.pid.0).collect()
    }

    /// Pids of its children that are there, those that wait to be reaped too.
    pub fn children(&self, key: ProcessKey) -> std::collections::BTreeSet<u32> {
        let there = self.processes.iter().filter(|process| {
            process.parent == key && process.reaped.is_none() && process.gone == Gone::No
        });
        there.map(|process| process.key.pid.0).collect()
    }

    /// SysV objects of a namespace that were made and not removed: (what, id).
    pub fn sysv(&self, ipc_ns: u32) -> Vec<(u32, i32)> {
        self.ledger.sysv(ipc_ns)
    }

    /// The process that last had this number.
    pub fn last_with(&self, pid: u32) -> Option<ProcessKey> {
        let keys = self.processes.iter().map(|process| process.key);
        keys.filter(|key| key.pid.0 == pid)
            .max_by_key(|key| key.start)
    }

    /// fd tables compared at exit, and how many differed.
    pub fn self_check(&self) -> (u64, u64) {
        self.self_check
    }

    /// Address spaces whose pages were compared at exit, and how many differed.
    pub fn space_check(&self) -> (u64, u64) {
        self.space_check
    }

    /// The first things in which a table differed at its process's end.
    pub fn differed(&self) -> &[Difference] {
        &self.differed
    }

    /// Whether a process's tables may be wrong because records were lost.
    pub fn is_tainted(&self, key: ProcessKey) -> bool {
        let process = self.processes.find_key(key);
        let process = process.and_then(|id| self.processes.get(id));
        process.is_some_and(|process| matches!(process.trust, Trust::Tainted { .. }))
    }

    fn held_fds(&self, process: &Process) -> std::collections::BTreeMap<u32, HeldFd> {
        let Some(table) = self.tables.get(&process.table.0) else {
            return Default::default();
        };
        let held = table.iter().map(|(fd, slot)| {
            let description = self.descriptions.get(slot.description);
            let kind = description.kind.name();
            let what = match self.names.get(description.name) {
                Some(name) => format!("{kind} {}", String::from_utf8_lossy(&name)),
                None => kind.to_owned(),
            };
            let ino = description.id().ino;
            (fd, HeldFd { ino, what })
        });
        held.collect()
    }

    fn held_ranges(&self, process: &Process) -> Vec<Range> {
        let Some(space) = self.spaces.get(&process.mm) else {
            return Vec::new();
        };
        let range = |(start, mapping): (u64, &Mapping)| Range {
            start,
            end: mapping.end,
            backing: backing(mapping),
            by: By::Call,
        };
        space.iter().map(range).collect()
    }
}

fn backing(mapping: &Mapping) -> Backing {
    let file = Backing::File {
        dev: mapping.id().dev,
        ino: mapping.id().ino,
    };
    match mapping.kind {
        Kind::ShmAttach => Backing::Sysv(mapping.ipc_id()),
        _ if mapping.id().ino != 0 => file,
        Kind::SharedMapping | Kind::RingMapping => Backing::Shared,
        _ => Backing::Anonymous,
    }
}
