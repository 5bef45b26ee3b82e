//! The picture that the terminal draws.

use std::collections::BTreeMap;

use super::{
    Model,
    description::DescriptionId,
    facts::{Class, Kind, ResourceFacts},
    kind::SocketState,
    process::{Gone, Process, ProcessId},
    snapshot::{Detail, DetailRow, ExitRow, LiveRow, ResidueRow, Snapshot, State},
    space::KINDS,
    table::Table,
    thing::Thing,
    trigger,
};
use crate::{
    id::{Pid, ProcessKey},
    report::Summary,
};

/// Ends and things left that a snapshot has.
const EXITS: usize = 2_000;
const RESIDUE: usize = 500;

impl Model {
    /// The picture now. Verdicts, coverage, probes and timing are not the model's: whoever
    /// judges fills them in.
    pub fn snapshot(&mut self, selected: Option<ProcessKey>) -> Snapshot {
        let now = self.now.0;
        for table in self.tables.values_mut() {
            table.rate.note(now, table.open.all);
        }
        let (lost, lost_since) = self.lost();
        let live = self
            .processes
            .iter()
            .filter(|process| process.reaped.is_none() && process.gone == Gone::No);
        let mut live: Vec<LiveRow> = live.map(|process| self.live_row(process)).collect();
        live.sort_by_key(|row| row.key);
        Snapshot {
            at: self.now,
            live,
            detail: selected.and_then(|key| self.detail(key)),
            exits: self.exit_rows(),
            ended: (self.ended, 0, 0, 0),
            received: self.read.records,
            lost,
            lost_since,
            residue: self.residue_rows(),
            self_check: self.self_check,
            ..Snapshot::default()
        }
    }

    fn live_row(&self, process: &Process) -> LiveRow {
        let table = self.table_of(process);
        let of_class = |class: Class| table.map_or(0, |table| open_of(table, class));
        let open = table.map_or(0, |table| u64::from(table.open.all));
        let rate = table.map_or(0.0, |table| table.rate.per_second());
        let steady = table.is_some_and(|table| table.rate.is_steady());
        let space = self
            .spaces
            .get(&process.mm)
            .filter(|_| process.end.is_none());
        let mapped = |kind: &Kind| space.map_or(0, |space| u64::from(space.all(*kind)));
        let room = process.nofile.saturating_sub(open);
        LiveRow {
            key: process.key,
            parent: process.parent,
            comm: super::signal::text(&process.comm),
            uid: process.uid,
            cgroup: process.cgroup,
            state: state(process),
            fds: of_class(Class::Fd),
            sockets: of_class(Class::Socket),
            mappings: KINDS.iter().map(mapped).sum(),
            rings: of_class(Class::Ring),
            tasks: u64::from(process.threads),
            ipc: of_class(Class::Ipc) + mapped(&Kind::ShmAttach),
            open,
            rate,
            limit: process.nofile,
            full_in_s: (steady && rate > 0.0 && process.nofile > 0).then(|| room as f64 / rate),
            trusted: !matches!(process.trust, super::facts::Trust::Tainted { .. }),
        }
    }

    /// The table of a process that has not ended.
    fn table_of(&self, process: &Process) -> Option<&Table> {
        let live = process.end.is_none();
        let table = self.tables.get(&process.table.0).filter(|_| live)?;
        Some(table)
    }

    fn detail(&self, key: ProcessKey) -> Option<Detail> {
        let process = self.processes.get(self.processes.find_key(key)?)?;
        let mut resources = match &process.end {
            Some(end) => {
                let rows = end.held.iter().map(|held| DetailRow {
                    resource: held.resource.clone(),
                    shared_with: Vec::new(),
                    inherited: held.inherited,
                });
                rows.collect()
            }
            None => self.live_resources(process),
        };
        resources.sort_by_key(|row| std::cmp::Reverse(row.resource.acquired));
        Some(Detail {
            key,
            exe: process.exe.clone(),
            argv: process.argv.clone(),
            uid: process.uid,
            cgroup: process.cgroup,
            resources,
            handled: signals_of(process.handled),
            ignored: signals_of(process.ignored),
            conduct: self.conduct(process),
        })
    }

    /// Whether a process that lives has sockets that are in a state.
    pub fn has_connections(&self, key: ProcessKey) -> bool {
        let process = self.processes.find_key(key);
        let process = process.and_then(|id| self.processes.get(id));
        let table = process.and_then(|process| self.table_of(process));
        table.is_some_and(|table| {
            let mut slots = table.iter();
            slots.any(|(_, slot)| {
                let state = self.descriptions.get(slot.description).state;
                state != SocketState::None
            })
        })
    }

    fn live_resources(&self, process: &Process) -> Vec<DetailRow> {
        let mut rows = Vec::new();
        if let Some(table) = self.tables.get(&process.table.0) {
            let sharers = self.sharers(process, table);
            for (fd, slot) in table.iter() {
                let description = self.descriptions.get(slot.description);
                let shared_with = sharers.get(&slot.description.0).cloned();
                rows.push(DetailRow {
                    resource: Thing::of_slot(fd, slot, description).facts(&self.names),
                    shared_with: shared_with.unwrap_or_default(),
                    inherited: table.is_inherited(fd, slot),
                });
            }
        }
        if let Some(space) = self.spaces.get(&process.mm) {
            let shared = space.shared().into_iter();
            rows.extend(shared.map(|(start, bytes, mapping)| DetailRow {
                resource: ResourceFacts {
                    path: mapping.path().cloned(),
                    ..super::mapping::thing_of(start, bytes, mapping).facts(&self.names)
                },
                shared_with: Vec::new(),
                inherited: space.is_inherited(mapping),
            }));
        }
        rows
    }

    /// Which other processes hold descriptions of this table. Looks through the other tables
    /// only if some description has references that this table does not account for.
    fn sharers(&self, process: &Process, table: &Table) -> BTreeMap<u32, Vec<Pid>> {
        let mut here: BTreeMap<u32, u32> = BTreeMap::new();
        for (_, slot) in table.iter() {
            *here.entry(slot.description.0).or_default() += 1;
        }
        let refs = |number: u32| self.descriptions.get(DescriptionId(number)).refs;
        here.retain(|number, count| refs(*number) > *count);
        let mut sharers: BTreeMap<u32, Vec<Pid>> = BTreeMap::new();
        if here.is_empty() {
            return sharers;
        }
        let others = self
            .processes
            .iter()
            .filter(|other| other.key != process.key);
        for other in others {
            let Some(others) = self.table_of(other) else {
                continue;
            };
            for (_, slot) in others.iter() {
                if here.contains_key(&slot.description.0) {
                    sharers
                        .entry(slot.description.0)
                        .or_default()
                        .push(other.key.pid);
                }
            }
        }
        for pids in sharers.values_mut() {
            pids.sort_unstable();
            pids.dedup();
        }
        sharers
    }

    /// The last ends, newest first. The line of a process that is gone is made once.
    fn exit_rows(&mut self) -> Vec<ExitRow> {
        let last: Vec<ProcessId> = self.exits.iter().rev().take(EXITS).copied().collect();
        let rows = last.into_iter().filter_map(|id| {
            let process = self.processes.get(id)?;
            if let Some(row) = &process.row {
                return Some((**row).clone());
            }
            let row = self.exit_row(process)?;
            let process = self.processes.get_mut(id)?;
            if process.reaped.is_some() || process.gone != Gone::No {
                process.row = Some(Box::new(row.clone()));
            }
            Some(row)
        });
        rows.collect()
    }

    fn exit_row(&self, process: &Process) -> Option<ExitRow> {
        let end = process.end.as_ref()?;
        let facts = self.process_facts(process);
        let timing = trigger::timing(&facts);
        let counted = facts.by_kind.iter().filter(|(kind, _)| kind.counted());
        let (acquired, released) = counted.fold((0, 0), |(acquired, released), (_, counts)| {
            (acquired + counts.acquired, released + counts.released)
        });
        Some(ExitRow {
            key: process.key,
            comm: facts.comm,
            at: end.at,
            summary: Summary {
                acquired,
                released,
                held: end.held.iter().filter(|held| !held.inherited).count() as u64,
                residue: 0,
                bytes_released: facts.bytes_released,
                errors: facts.errors,
            },
            teardown_ns: timing.teardown_ns,
            kernel_ns: timing.kernel_ns,
            ..ExitRow::default()
        })
    }

    /// Things whose creators have ended, newest first.
    fn residue_rows(&self) -> Vec<ResidueRow> {
        let made = self.ledger.newest();
        let left = made.filter_map(|created| {
            let creator = self.processes.find_key(created.creator);
            let creator = creator.and_then(|id| self.processes.get(id));
            let comm = match creator {
                Some(creator) if creator.end.is_none() => return None,
                Some(creator) => super::signal::text(&creator.comm),
                None => bytes::Bytes::new(),
            };
            Some(ResidueRow {
                resource: created.resource.clone(),
                creator: created.creator,
                comm,
            })
        });
        left.take(RESIDUE).collect()
    }
}

fn open_of(table: &Table, class: Class) -> u64 {
    let counts = Kind::ALL.iter().zip(table.open.by_kind);
    let of_class = counts.filter(|(kind, _)| kind.class() == class);
    of_class.map(|(_, count)| u64::from(count)).sum()
}

fn state(process: &Process) -> State {
    if process.end.is_some() {
        return State::Zombie;
    }
    if process.exit_group.is_some() {
        return State::Exiting;
    }
    match process.phase.is_teardown() {
        true => State::Teardown,
        false => State::Run,
    }
}

/// Numbers of the signals whose bits are set.
fn signals_of(bits: u64) -> Vec<u32> {
    (0..u64::BITS)
        .filter(|bit| bits >> bit & 1 != 0)
        .map(|bit| bit + 1)
        .collect()
}
