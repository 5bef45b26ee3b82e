//! From what the model keeps to what audit reads.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Model,
    facts::{Facts, Kind, ProcessFacts, ReleaseFacts},
    names::Names,
    phase::Phase,
    process::{Gone, Origin, Process, ProcessId},
    signal,
};
use crate::id::{KtimeNs, Pid, ProcessKey, Tid};

/// What a process may leave to the kernel that is counted only.
const BESIDE: [Kind; 7] = [
    Kind::PrivateMapping,
    Kind::Anonymous,
    Kind::Heap,
    Kind::Stack,
    Kind::Hugetlb,
    Kind::Handler,
    Kind::PosixTimer,
];

impl Model {
    /// Everything known now. Built at each call: as much work as there is to tell, so ask at
    /// the end and while settling, not per record.
    pub fn facts(&self) -> Facts {
        self.facts_where(|_| true)
    }

    /// What is known of these processes and of what they made: as much work as there is to tell
    /// of them, however many others there are.
    pub fn facts_of(&self, wanted: &BTreeSet<ProcessKey>) -> Facts {
        self.facts_where(|key| wanted.contains(&key))
    }

    fn facts_where(&self, wanted: impl Fn(ProcessKey) -> bool) -> Facts {
        let processes = self.processes.iter();
        Facts {
            root: self.root,
            processes: processes
                .filter(|process| wanted(process.key))
                .map(|process| (process.key, self.process_facts(process)))
                .collect(),
            created: self.created(wanted),
            evicted: self.evicted + self.remains.evicted,
            kept: self.remains.kept.clone(),
            namespaces: self.remains.namespaces.clone(),
            rings: self.remains.rings.clone(),
            scopes: self.scopes.all(&self.processes),
            scope_held: self.scopes.held.clone(),
            stacks: Arc::clone(&self.stacking.told),
            self_check: self.self_check,
            space_check: self.space_check,
            gaps: self.gaps.clone(),
        }
    }

    /// What is known of processes that live, and of nothing else.
    pub fn facts_of_living(&self) -> Facts {
        let living = self.processes.iter();
        let living = living.filter(|process| process.lives());
        Facts {
            processes: living
                .map(|process| (process.key, self.process_facts(process)))
                .collect(),
            stacks: Arc::clone(&self.stacking.told),
            ..Facts::default()
        }
    }

    /// Of what can still go by itself: processes that are not reaped, and rings with whoever made
    /// them. Little work however long the run was, so this can be asked again and again.
    pub fn unsettled(&self) -> Facts {
        let rings = self.remains.rings.iter();
        let pending: BTreeSet<_> = rings
            .filter(|ring| ring.ended.is_none())
            .map(|ring| ring.creator)
            .collect();
        let processes = self.processes.iter().filter(|process| {
            process.reaped.is_none()
                || Some(process.key) == self.root
                || pending.contains(&process.key)
        });
        Facts {
            root: self.root,
            processes: processes
                .map(|process| (process.key, self.process_facts(process)))
                .collect(),
            rings: self.remains.rings.clone(),
            ..Facts::default()
        }
    }

    fn created(&self, by: impl Fn(ProcessKey) -> bool) -> Vec<super::facts::Created> {
        let mut created = self.ledger.made(by);
        for made in &mut created {
            let locked = |id| self.remains.locked.contains(&id);
            made.locked = self.remains.unknown_locked || made.resource.id.is_some_and(locked);
        }
        created
    }

    /// One process, as audit reads it.
    pub(super) fn process_facts(&self, process: &Process) -> ProcessFacts {
        let ended = process.end.is_some();
        let mut refused = process.refused.clone();
        refused.extend_from_slice(process.sweep.waiting());
        let (releases, signals, final_run) = match ended {
            true => (
                process.releases.clone(),
                process.signals.clone(),
                process.final_run,
            ),
            false => (
                releases(&process.phase, &self.names),
                process.phase.signals(None),
                process.phase.final_run().map(KtimeNs),
            ),
        };
        ProcessFacts {
            key: process.key,
            ns_pid: Pid(process.ns_pid),
            parent: process.parent,
            maker: process.maker,
            preexisting: process.origin != Origin::Born,
            target: process.origin == Origin::Target,
            comm: signal::text(&process.comm),
            exe: process.exe.clone(),
            argv: process.argv.clone(),
            cwd: process.cwd.clone(),
            uid: process.uid,
            cgroup: process.cgroup,
            mnt_ns: process.mnt_ns,
            nofile: process.nofile,
            table: process.table,
            trust: process.trust.clone(),
            lost: process.lost,
            lost_why: process.lost_why.clone(),
            may_keep: self.remains.may_keep,
            born: process.born,
            exec: process.exec,
            first_exec: process.first_exec,
            threads: process.threads,
            signals,
            unheard: process.unheard.as_deref().cloned(),
            end: process.end.as_deref().cloned(),
            reaped: process.reaped,
            taken: match process.gone {
                Gone::Taken(at) => Some(at),
                Gone::No | Gone::Yes => None,
            },
            by_kind: process.counts.facts(|kind| self.held(process, kind)),
            bytes_released: process.bytes_released,
            errors: process.errors + process.sweep.waiting().len() as u64,
            refused,
            releases,
            final_run,
            given_back: process.given_back.facts(),
            conduct: self.conduct(process),
            unfollowed: process.unfollowed,
            open: match ended {
                true => Vec::new(),
                false => self.held_by_table(process.table.0),
            },
        }
    }

    /// How many of a kind a process holds that it did not inherit.
    pub(super) fn held(&self, process: &Process, kind: Kind) -> u64 {
        if let Some(end) = &process.end {
            let own = end.held.iter().filter(|held| !held.inherited);
            let held = own.filter(|held| held.resource.kind == kind).count() as u64;
            let beside = process.held_beside.iter().find(|(other, _)| *other == kind);
            return held + beside.map_or(0, |(_, count)| u64::from(*count));
        }
        let table = self.tables.get(&process.table.0);
        let fds = table.map_or(0, |table| table.open.own[kind as usize]);
        u64::from(fds) + self.held_beside_fds(process, kind)
    }

    /// Counts what a process that ends leaves to the kernel of memory, private mappings and handlers:
    /// there is too much of it to tell one by one.
    pub(super) fn note_beside(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let counts = BESIDE.map(|kind| (kind, self.held_beside_fds(process, kind) as u32));
        let counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        if let Some(process) = self.processes.get_mut(id) {
            process.held_beside = counts;
        }
    }

    fn held_beside_fds(&self, process: &Process, kind: Kind) -> u64 {
        match kind {
            Kind::SharedMapping
            | Kind::PrivateMapping
            | Kind::Anonymous
            | Kind::Hugetlb
            | Kind::Heap
            | Kind::Stack
            | Kind::RingMapping
            | Kind::ShmAttach => {
                let space = self.spaces.get(&process.mm);
                space.map_or(0, |space| u64::from(space.own(kind)))
            }
            Kind::Handler => u64::from(process.handled.count_ones()),
            Kind::Thread => u64::from(process.threads.saturating_sub(1)),
            Kind::Child => u64::from(process.children),
            Kind::PacketRing | Kind::XdpRing => self.rings_held(process.key, kind),
            Kind::Aio | Kind::PosixTimer => {
                let followed = process.followed.as_ref();
                followed.map_or(0, |followed| followed.count(kind))
            }
            _ => 0,
        }
    }
}

/// The releases of a process that may be its teardown.
pub(super) fn releases(phase: &Phase, names: &Names) -> Vec<ReleaseFacts> {
    let releases = phase.teardown().map(|logged| {
        let mut resource = logged.thing.facts(names);
        resource.released = Some(KtimeNs(logged.released));
        ReleaseFacts {
            resource,
            rank: logged.rank,
            released_by: Tid(logged.by),
            duration_ns: logged.duration,
        }
    });
    releases.collect()
}
