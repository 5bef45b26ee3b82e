//! Tasks end and are reaped.

use leaktrace_common::record::{
    Header,
    exit::{ExitGroup, ExitMm, ExitProcess, ExitTimes, exit_flag},
    header_flag,
    task::Reap,
};

use super::{
    EXITS, Mode, Model,
    facts::{EndFacts, ExitFunctions, Families, Kind, ProcessFacts, SampleKind, Span},
    process::{self, Extent, Gone, Process, ProcessId, Sampled},
    scope, trigger,
};
use crate::id::{KtimeNs, ProcessKey, TableId};

/// include/linux/sched/signal.h
const SIGNAL_GROUP_EXIT: u32 = 4;

impl Model {
    /// A thread that was joined may be told as ended only later: below Linux 6.16
    /// sched_process_exit comes behind what wakes pthread_join(3).
    pub(super) fn exit_group(&mut self, header: &Header, exit: &ExitGroup) {
        if let Some(id) = self.live_of(header)
            && let Some(process) = self.processes.get_mut(id)
            && process.exit_group.is_none()
        {
            process.exit_group = Some(KtimeNs(header.time_ns));
            let live = match exit.live {
                0 => process.threads,
                live => live.min(process.threads),
            };
            process.threads_at_exit = live.saturating_sub(1);
        }
    }

    pub(super) fn exit_thread(&mut self, header: &Header) {
        self.stacking.forget_thread(header.tid);
        let Some(id) = self.processes.find(header.pid, header.start_ns) else {
            return;
        };
        self.table_left(header.table);
        if let Some(process) = self.processes.get_mut(id)
            && process.end.is_none()
            && header.flags & header_flag::IO_WORKER == 0
        {
            if process.threads <= 1 {
                process.ended_early.insert(header.tid);
            }
            process.threads = process.threads.saturating_sub(1).max(1);
            process.gave_back(Kind::Thread, 0, Extent::Whole);
            // What exit_group or a fatal signal ends had not ended by itself.
            let by_itself = process.exit_group.is_none();
            if by_itself && !process.scoped_threads.is_empty() {
                process
                    .scoped_threads
                    .retain(|thread| thread.tid.0 != header.tid);
            }
        }
    }

    pub(super) fn exit_process(&mut self, header: &Header, exit: &ExitProcess) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        let walk = match exit.walk {
            0 => None,
            number => self.take_walk(number).filter(|walk| walk.is_complete()),
        };
        let shared = self.is_shared(id, header.table);
        // Others may change a table while it is walked, and go on with it: such a walk has no end.
        let wanted = exit.walk != 0 && !shared;
        self.check_walks(header.table, wanted && walk.is_none());
        let mut held = match &walk {
            Some(walk) => self.held_by_walk(header.table, walk),
            None => self.held_by_table(header.table),
        };
        let mm = self.processes.get(id).map_or(exit.mm, |process| process.mm);
        let more = [
            self.held_mappings(mm, id),
            self.held_aio(id),
            self.held_rings(&held),
        ];
        // It may stay long: no room that nothing comes into.
        held.reserve_exact(more.iter().map(Vec::len).sum());
        held.extend(more.into_iter().flatten());
        // What cannot be followed has been declared: the table is not claimed to be right.
        let followed = self
            .processes
            .get(id)
            .is_none_or(|process| process.unfollowed == 0);
        if let Some(walk) = walk.as_ref().filter(|_| !shared && followed) {
            let key = process::key(header.pid, header.start_ns);
            self.check_self(key, header.table, walk);
        }
        if let Some(walk) = walk.as_ref().filter(|_| !shared) {
            self.gone_before_end(id, header.table, walk);
        }
        self.check_total(id, exit);
        let own = self.processes.get(id).map(|process| process.key);
        let may_live_on = match (shared, own) {
            (false, Some(own)) => self.may_live_on(own, header.table, &held),
            (true, _) | (false, None) => Vec::new(),
        };
        if let Some(walk) = walk.as_ref().filter(|_| !shared) {
            self.ring_at_exit(id, header.time_ns, walk.entries());
        }
        self.finish_conduct(header, id);
        self.note_beside(id);
        let signals = self.signals_at_end(id);
        let end = EndFacts {
            at: KtimeNs(header.time_ns),
            status: status(exit),
            walk_complete: walk.is_some(),
            files_shared: shared,
            autoreap: exit.flags & exit_flag::AUTOREAP != 0,
            held: self.alike.list(held),
            signals,
            read_bytes: exit.read_bytes,
            written_bytes: exit.written_bytes,
            map_count: exit.map_count,
            total_vm: exit.total_vm,
            ..EndFacts::default()
        };
        self.finish(header, id, exit, end);
        self.leave_table(header.table, shared);
        self.note_left(may_live_on);
        self.leave_space(mm, id);
        self.note_end(id);
    }

    /// Whether another process uses the table. The programs cannot tell: the table's count
    /// includes threads that are on their way out.
    fn is_shared(&self, id: ProcessId, table: u32) -> bool {
        let tasks = self.tables.get(&table).map_or(0, |table| table.tasks);
        let own = self.processes.get(id).map(|process| process.key);
        tasks > 1
            && self.processes.iter().any(|process| {
                process.lives() && process.table.0 == table && Some(process.key) != own
            })
    }

    /// An address space that others go on with (vfork) does not end with this process.
    fn leave_space(&mut self, mm: u64, id: ProcessId) {
        let Some(space) = self.spaces.get(&mm) else {
            return;
        };
        let others = space.users.iter().filter(|user| **user != id);
        let live = others
            .filter_map(|user| self.processes.get(*user))
            .any(|process| process.end.is_none());
        let unmapped = self.processes.get(id).is_some_and(|process| {
            process
                .end
                .as_ref()
                .is_some_and(|end| end.exit_mm.is_some())
        });
        if live || unmapped {
            self.unwatch_mm(mm, id);
        }
    }

    /// Turns what is kept of a live process into what is kept of an ended one.
    fn finish(&mut self, header: &Header, id: ProcessId, exit: &ExitProcess, mut end: EndFacts) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let at = KtimeNs(header.time_ns);
        process.table = TableId(header.table);
        process.comm = exit.comm;
        process.uid = exit.uid;
        if exit.parent_pid != 0 {
            process.parent = process::key(exit.parent_pid, exit.parent_start_ns);
        }
        end.threads = scope::threads(process).collect();
        end.exit_group = process.exit_group;
        end.exit_mm = process.exit_mm;
        end.fatal_signal = end
            .signal()
            .and_then(|signal| process.phase.last_signal(signal as u32));
        match end.walk_complete {
            true => process.reread(at, Families::FDS.and(Families::TASKS)),
            false if end.files_shared => {}
            false => process.taint(at, Families::FDS, || {
                "its fd table could not be read at exit".to_owned()
            }),
        }
        if end.autoreap {
            process.reaped = Some(at);
        }
        let errors = process.sweep.end();
        errors.into_iter().for_each(|error| process.refuse(error));
        process.final_run = process.phase.final_run().map(KtimeNs);
        process.releases = super::collect::releases(&process.phase, &self.names);
        process.signals = process.phase.signals(end.signal());
        process.phase.restart(&mut self.names);
        process.threads = 0;
        process.end = Some(Box::new(end));
    }

    /// The last task that we know of, or any task of a table that nobody shares, takes it along.
    fn leave_table(&mut self, table: u32, shared: bool) {
        match shared {
            true => self.table_left(table),
            false => self.drop_table(table),
        }
    }

    fn note_end(&mut self, id: ProcessId) {
        self.ended += 1;
        // One that is known to have gone has its turn already.
        if self
            .processes
            .get(id)
            .is_some_and(|process| process.gone == Gone::No)
        {
            self.note_last(id);
        }
        let reaped = self
            .processes
            .get(id)
            .is_none_or(|process| process.reaped.is_some());
        match reaped {
            true => self.count_reaped(id),
            false => self.zombies.push(id),
        }
    }

    /// Nothing more is done by a process: its turn to be forgotten will come.
    fn note_last(&mut self, id: ProcessId) {
        self.exits.push_back(id);
        if self.config.mode == Mode::System && self.exits.len() > EXITS {
            self.forget_oldest();
        }
    }

    /// The system-wide mode forgets a process long after its end.
    fn forget_oldest(&mut self) {
        let Some(id) = self.exits.pop_front() else {
            return;
        };
        self.zombies.retain(|zombie| *zombie != id);
        if let Some(mm) = self.processes.get(id).map(|process| process.mm) {
            self.unwatch_mm(mm, id);
        }
        self.processes.remove(id);
    }

    /// The parent of a reaped process has a child less.
    fn count_reaped(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let (parent, start) = (process.parent, process.key.start.0);
        if let Some((_, maker)) = process.maker {
            self.stacking.released(maker.0, start);
        }
        if let Some(parent) = self.processes.find_key(parent)
            && let Some(parent) = self.processes.get_mut(parent)
        {
            parent.children = parent.children.saturating_sub(1);
            parent.gave_back(Kind::Child, 0, Extent::Whole);
        }
    }

    pub(super) fn exit_mm(&mut self, header: &Header, exit: &ExitMm) {
        let at = KtimeNs(header.time_ns);
        let Some(space) = self.spaces.get(&exit.mm) else {
            return;
        };
        let mut awaited = false;
        for user in &space.users {
            let Some(process) = self.processes.get_mut(*user) else {
                continue;
            };
            match &mut process.end {
                Some(end) => {
                    end.exit_mm.get_or_insert(at);
                }
                None => {
                    awaited = true;
                    process.exit_mm = Some(at);
                }
            }
        }
        // Before an exec is told, and below Linux 6.16 before the end is, what was mapped is
        // asked for once more.
        if !awaited {
            self.spaces.remove(&exit.mm);
        }
    }

    /// Below Linux 6.16 two threads that leave together may both tell it: the later one is right.
    pub(super) fn exit_times(&mut self, header: &Header, times: &ExitTimes) {
        let Some(id) = self.processes.find(header.pid, header.start_ns) else {
            return;
        };
        if let Some(process) = self.processes.get_mut(id)
            && let Some(end) = &mut process.end
        {
            let released = KtimeNs(header.time_ns);
            let span = |began, ended| Span::within(began, ended, process.key.start, released);
            end.functions = Some(ExitFunctions {
                exit_mmap: span(times.unmap_began_ns, times.unmap_ended_ns),
                exit_files: span(times.files_began_ns, times.files_ended_ns),
                released,
            });
        }
    }

    pub(super) fn exit_notify(&mut self, header: &Header) {
        let Some(id) = self.processes.find(header.pid, header.start_ns) else {
            return;
        };
        if let Some(process) = self.processes.get_mut(id)
            && let Some(end) = &mut process.end
        {
            end.notified.get_or_insert(KtimeNs(header.time_ns));
        }
    }

    /// A wait took a child: one that has ended, with this number. A number may be that of an
    /// inner pid namespace or of ours; the waiting process's own children come first.
    pub(super) fn reap(&mut self, header: &Header, reap: &Reap) {
        let waiter = process::key(header.pid, header.start_ns);
        let numbered =
            |process: &Process| process.key.pid.0 == reap.ns_pid || process.ns_pid == reap.ns_pid;
        let mut found = None;
        for (place, id) in self.zombies.iter().enumerate().rev() {
            let Some(process) = self.processes.get(*id).filter(|process| numbered(process)) else {
                continue;
            };
            if process.parent == waiter {
                found = Some(place);
                break;
            }
            found = found.or(Some(place));
        }
        if let Some(place) = found {
            let id = self.zombies.remove(place);
            self.mark_reaped(id, KtimeNs(header.time_ns));
        }
    }

    /// Memory of a task was given back, milliseconds after somebody reaped it: no time, but
    /// the process is gone, even if its reaper is not watched.
    pub(super) fn free(&mut self, header: &Header) {
        if header.pid != header.tid {
            return;
        }
        let Some(id) = self.processes.find(header.pid, header.start_ns) else {
            return;
        };
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.gone = Gone::Yes;
        if process.end.is_none() {
            // Its end was lost: how it ended and what it held then is not known.
            self.self_check.0 += 1;
            self.self_check.1 += 1;
            let (table, mm) = (process.table.0, process.mm);
            let at = KtimeNs(header.time_ns);
            process.taint(at, Families::TASKS, || "its end was not seen".to_owned());
            let shared = self.is_shared(id, table);
            self.leave_table(table, shared);
            self.unwatch_mm(mm, id);
            if self.config.mode == Mode::System {
                self.note_last(id);
            }
            return;
        }
        if process.reaped.is_none() {
            let parent = process.parent;
            let parent = self.processes.find_key(parent);
            let parent = parent.and_then(|id| self.processes.get(id));
            let is_taken = parent.is_some_and(|parent| parent.end.is_none());
            match self.processes.get_mut(id) {
                // It stays in the list: the record of the wait, if there is one, looks for it there.
                // io_uring's waits have none, nor has waitid(2) without a place for its answer.
                Some(process) if is_taken => {
                    process.gone = Gone::Taken(KtimeNs(header.time_ns));
                    self.count_reaped(id);
                }
                _ => self.zombies.retain(|zombie| *zombie != id),
            }
        }
        self.sample_end(id);
    }

    /// The run's own wait took the root process: no record tells of it.
    pub fn reaped(&mut self, key: ProcessKey, at: KtimeNs) {
        if let Some(id) = self.processes.find_key(key) {
            self.zombies.retain(|zombie| *zombie != id);
            self.mark_reaped(id, at);
        }
    }

    fn mark_reaped(&mut self, id: ProcessId, at: KtimeNs) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        if process.end.is_none() || process.reaped.is_some() {
            return;
        }
        process.reaped = Some(at);
        if !matches!(process.gone, Gone::Taken(_)) {
            self.count_reaped(id);
        }
        self.sample_end(id);
    }

    /// Gives the once-per-process durations of every process that has ended: those of a
    /// process that is never reaped would not come otherwise. For the end of a run.
    pub fn flush(&mut self) {
        let ended: Vec<ProcessId> = self.exits.iter().copied().collect();
        for id in ended {
            self.sample_end(id);
        }
    }

    /// Gives the once-per-process durations, each once.
    fn sample_end(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let before = process.sampled;
        let now = match process.reaped {
            Some(_) => Sampled::Reap,
            None => Sampled::End,
        };
        if before == now || before == Sampled::Reap {
            return;
        }
        process.sampled = now;
        let key = process.key;
        let facts = self.process_facts_of(id);
        let timing = trigger::timing(&facts);
        if before == Sampled::No {
            self.sample_some(key, SampleKind::Teardown, timing.teardown_ns);
            self.sample_some(key, SampleKind::Kernel, timing.kernel_ns);
            self.sample_some(key, SampleKind::ExitMmap, timing.exit_mmap_ns);
            self.sample_some(key, SampleKind::ExitFiles, timing.exit_files_ns);
            self.sample_some(key, SampleKind::LastReferences, timing.last_references_ns);
        }
        self.sample_some(key, SampleKind::Reap, timing.reap_ns);
    }

    fn sample_some(&mut self, key: ProcessKey, kind: SampleKind, ns: Option<u64>) {
        if let Some(ns) = ns {
            self.sample(key, kind, None, ns);
        }
    }

    /// The facts of one process; empty if it is gone.
    fn process_facts_of(&self, id: ProcessId) -> ProcessFacts {
        let process = self.processes.get(id);
        process.map_or_else(ProcessFacts::default, |process| self.process_facts(process))
    }
}

/// The wait status: the group's code if the group exits (exit_group, or a fatal signal), else
/// the leader's.
fn status(exit: &ExitProcess) -> i32 {
    match exit.signal_flags & SIGNAL_GROUP_EXIT != 0 {
        true => exit.group_exit_code,
        false => exit.exit_code,
    }
}
