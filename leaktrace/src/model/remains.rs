//! What may outlive its process without a name of its own: descriptions in the hands of others,
//! namespaces, rings whose requests go on. Locks belong here, for they go with descriptions.

use std::collections::BTreeSet;

use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        file::{FdLock, FdRelease, lock_owner},
        ring::{RingExit, ring_exit},
        task::{Namespaces, namespace},
    },
};

use super::{
    Mode, Model,
    description::Opened,
    facts::{Held, Kept, Kind, MadeNamespace, MayKeep, RingEnd},
    process,
    table::Slot,
    thing::Thing,
};
use crate::id::{FileId, KtimeNs, ProcessKey};

/// Entries of one sort that are kept; a program that makes more is known by these.
const AT_MOST: usize = 4_096;

/// F_UNLCK (include/uapi/asm-generic/fcntl.h).
const F_UNLCK: u16 = 2;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub(super) kept: Vec<Kept>,
    pub(super) namespaces: Vec<MadeNamespace>,
    pub(super) rings: Vec<RingEnd>,
    /// Files that somebody has locked, at any time.
    pub(super) locked: BTreeSet<FileId>,
    /// Whether a file was locked that is not known, because its opening was lost.
    pub(super) unknown_locked: bool,
    /// Descriptions that hold a lock now, by address.
    holding: BTreeSet<u64>,
    /// What there was no room for.
    pub(super) evicted: u64,
    /// Whether there were locks, or listeners.
    pub(super) may_keep: MayKeep,
}

impl Remains {
    fn keep(&mut self, kept: Kept) {
        match self.kept.len() < AT_MOST {
            true => self.kept.push(kept),
            false => self.evicted += 1,
        }
    }
}

impl Model {
    /// A lock was taken or given back.
    pub(super) fn fd_lock(&mut self, header: &Header, lock: &FdLock) {
        if self.live_of(header).is_none() {
            return;
        }
        if lock.owner == lock_owner::DESCRIPTION {
            self.remains.may_keep = MayKeep::Yes;
        }
        let Some(description) = self.descriptions.find(lock.file) else {
            self.remains.unknown_locked = true;
            return;
        };
        let id = self.descriptions.get(description).id();
        let Remains {
            locked,
            holding,
            unknown_locked,
            evicted,
            ..
        } = &mut self.remains;
        if locked.len() < AT_MOST {
            locked.insert(id);
        } else if !locked.contains(&id) {
            *unknown_locked = true;
            *evicted += 1;
        }
        if lock.owner == lock_owner::DESCRIPTION {
            match lock.what {
                F_UNLCK => holding.remove(&lock.file),
                _ => holding.len() < AT_MOST && holding.insert(lock.file),
            };
        }
    }

    /// New namespaces.
    pub(super) fn namespaces_made(&mut self, header: &Header, made: &Namespaces) {
        if self.config.mode == Mode::System {
            return;
        }
        let creator = process::key(header.pid, header.start_ns);
        for ((bit, name), inum) in namespace::ALL.into_iter().zip(made.inums) {
            if made.flags & bit == 0 || inum == 0 {
                continue;
            }
            if self.remains.namespaces.len() >= AT_MOST {
                self.remains.evicted += 1;
                continue;
            }
            self.remains.namespaces.push(MadeNamespace {
                creator,
                name,
                inum,
                at: KtimeNs(header.time_ns),
            });
        }
    }

    /// The kernel's own end of a ring.
    pub(super) fn ring_exit(&mut self, header: &Header, exit: &RingExit) {
        let rings = &mut self.remains.rings;
        let at = KtimeNs(header.time_ns);
        if exit.phase == ring_exit::ENDED {
            self.rings.forget(exit.ring);
            // The address may be used again by another ring: the newest is meant.
            let open = |end: &&mut RingEnd| end.ring == exit.ring && end.ended.is_none();
            if let Some(end) = rings.iter_mut().rev().find(open) {
                end.ended = Some(at);
            }
            // What is over needs no remembering.
            rings.retain(|end| end.ended.is_none());
        } else if rings.len() < AT_MOST {
            rings.push(RingEnd {
                creator: process::key(header.pid, header.start_ns),
                ring: exit.ring,
                begun: at,
                ended: None,
            });
        } else {
            self.remains.evicted += 1;
        }
    }

    /// Before a release is applied: what the fd stands for, if this is the last reference that
    /// the run has, and the kernel counts more.
    pub(super) fn last_of_ours(&self, header: &Header, release: &FdRelease) -> Option<Kept> {
        if release.count < 2 || self.config.mode == Mode::System {
            return None;
        }
        let fd = u32::try_from(release.fd).ok()?;
        let slot = self.tables.get(&header.table)?.get(fd)?;
        let description = self.descriptions.get(slot.description);
        if description.file != release.file || description.refs > 1 {
            return None;
        }
        let process = process::key(header.pid, header.start_ns);
        self.kept(process, header.table, fd, slot, release.cred)
    }

    /// Before an fd of a range is released, of which the kernel tells no count: what it stands
    /// for, if this is the last reference that the run has.
    pub(super) fn last_of_range(&self, header: &Header, fd: u32) -> Option<Kept> {
        if self.config.mode == Mode::System {
            return None;
        }
        let slot = self.tables.get(&header.table)?.get(fd)?;
        if self.descriptions.get(slot.description).refs > 1 {
            return None;
        }
        let process = process::key(header.pid, header.start_ns);
        self.kept(process, header.table, fd, slot, 0)
    }

    fn kept(
        &self,
        process: ProcessKey,
        table: u32,
        fd: u32,
        slot: &Slot,
        cred: u32,
    ) -> Option<Kept> {
        let description = self.descriptions.get(slot.description);
        let thing = Thing::of_slot(fd, slot, description);
        let locked = self.remains.holding.contains(&description.file);
        let of_interest = self.may_be_passed(description.kind, table) || locked;
        let resource = thing.facts(&self.names);
        // What came from outside the run is nobody's of the run, whatever dups it has made of it.
        let ours = description.opened == Opened::Here && resource.acquired.is_some();
        (of_interest && ours).then(|| Kept {
            process,
            resource,
            description: description.file,
            cred,
            locked,
        })
    }

    /// A file that was mapped has references without an fd as a rule (every library), so files
    /// are looked for only where they can have been passed.
    fn may_be_passed(&self, kind: Kind, table: u32) -> bool {
        match kind {
            Kind::File | Kind::Directory | Kind::Device | Kind::Symlink => self
                .tables
                .get(&table)
                .is_some_and(|table| table.open.by_kind[Kind::Unix as usize] > 0),
            _ => true,
        }
    }

    /// An fd was released that was the run's last reference.
    pub(super) fn note_kept(&mut self, kept: Kept, release: &FdRelease) {
        let gone = self.descriptions.find(kept.description).is_none();
        let freed = release.errno == 0 || Op(release.op) == Op::CLOSE;
        if gone && freed {
            self.remains.keep(kept);
        }
    }

    /// Before the table of an ended process goes: what of it may live on elsewhere.
    pub(super) fn may_live_on(&self, process: ProcessKey, table: u32, held: &[Held]) -> Vec<Kept> {
        if self.config.mode == Mode::System {
            return Vec::new();
        }
        let more = held.iter().filter(|held| held.count > 1);
        let kept = more.filter_map(|held| {
            let fd = u32::try_from(held.resource.fd?.0).ok()?;
            let slot = self.tables.get(&table)?.get(fd)?;
            let description = self.descriptions.get(slot.description);
            (description.file == held.description)
                .then(|| self.kept(process, table, fd, slot, held.cred))
                .flatten()
        });
        kept.collect()
    }

    /// The table has gone: what of it was the run's last reference.
    pub(super) fn note_left(&mut self, candidates: impl IntoIterator<Item = Kept>) {
        for kept in candidates {
            if self.descriptions.find(kept.description).is_none() {
                self.remains.keep(kept);
            }
        }
    }
}
