//! Tasks are born, execute programs, get other tables.

use bytes::Bytes;
use leaktrace_common::record::{
    Family, Header,
    file::FdTable,
    header_flag, signal as wire,
    signal::{SignalAction, SignalGenerate},
    task::{Exec, Seed, Taint, TaskNew, taint},
};

use super::{
    Model,
    facts::{Families, Kind, SignalFacts, Trust},
    process::{self, Extent, Listing, Origin, Process, ProcessId},
    rate::Rate,
    scope::ScopedThread,
    signal::text,
    trend::Trend,
};
use crate::{
    decode::Text,
    id::{KtimeNs, Pid, ProcessKey, TableId, Tid},
};

/// include/uapi/linux/sched.h
const CLONE_THREAD: u64 = 0x0001_0000;

/// What a call that cannot be followed may have been.
const UNFOLLOWED: Families = Families::FDS
    .and(Families::MAPPINGS)
    .and(Families::of(&[Family::Name]));

/// TRACE_SIGNAL_DELIVERED and TRACE_SIGNAL_ALREADY_PENDING (include/trace/events/signal.h).
const TAKEN: [u32; 2] = [0, 2];

/// TRACE_SIGNAL_IGNORED (include/trace/events/signal.h).
const IGNORED: u32 = 1;

/// SIGINT, SIGQUIT and SIGTERM: what asks a process to end.
const REQUESTS: [u32; 3] = [2, 3, 15];

impl Model {
    pub(super) fn task_new(&mut self, header: &Header, new: &TaskNew) {
        let parent = self.process_of(header);
        let child = &new.child;
        let parent_mm = self.processes.get(parent).map_or(0, |parent| parent.mm);
        let born = process::key(child.pid, child.start_ns);
        self.table_of_child(header.table, child.table, born);
        if new.clone_flags & CLONE_THREAD != 0 {
            if let Some(process) = self.processes.get_mut(parent)
                && child.flags & u32::from(header_flag::IO_WORKER) == 0
            {
                // One that was found before its birth is told is counted already.
                let is_over = process.ended_early.remove(&child.tid);
                if !is_over && !process.seeded.contains(&child.tid) {
                    process.threads += 1;
                }
                process
                    .counts
                    .acquired(Kind::Thread, process.threads.saturating_sub(1));
                if self.scopes.is_open(process.key) {
                    process.scoped_threads.push(ScopedThread {
                        tid: Tid(child.tid),
                        maker: Tid(header.tid),
                        born: KtimeNs(header.time_ns),
                    });
                }
            }
            return;
        }
        let mut born = Process::new(child, KtimeNs(header.time_ns), Origin::Born);
        if let Some(parent) = self.processes.get(parent) {
            inherit(&mut born, parent);
        }
        let maker = process::key(header.pid, header.start_ns);
        born.maker = Some((maker, Tid(header.tid)));
        if let Some(parent) = self.processes.find_key(born.parent)
            && let Some(parent) = self.processes.get_mut(parent)
        {
            parent.children += 1;
            parent.counts.acquired(Kind::Child, parent.children);
        }
        if self.is_listed(header, parent_mm) && parent_mm != child.mm {
            born.listing = Listing::Late;
        }
        let listing = born.listing;
        let id = self.add_process(born);
        if let Some(process) = self.processes.get_mut(id) {
            process.listing = listing;
        }
        self.space_of_child(parent_mm, child.mm, id);
        if parent_mm != child.mm {
            self.check_copy(id, new);
        }
    }

    /// A child uses its parent's table, or has a copy of it as it is now.
    fn table_of_child(&mut self, parent: u32, child: u32, born: ProcessKey) {
        if child != parent {
            self.copy_table(parent, child);
            let rank = self.next_rank;
            if let Some(table) = self.tables.get_mut(&child) {
                table.forked(rank);
            }
        }
        self.table_user(child, born);
    }

    fn copy_table(&mut self, from: u32, to: u32) {
        let Some(mut table) = self.tables.get(&from).map(|table| table.copy()) else {
            return;
        };
        table.rate = Rate::default();
        for (_, slot) in table.iter() {
            self.descriptions.keep(slot.description);
        }
        self.drop_table(to);
        self.tables.insert(to, Box::new(table));
    }

    fn add_process(&mut self, process: Process) -> ProcessId {
        // A key comes twice only if a seed tells of what an event told before.
        match self.processes.find_key(process.key) {
            Some(known) => known,
            None => self.processes.add(process),
        }
    }

    pub(super) fn root(&mut self, header: &Header, seed: &Seed) {
        let task = &seed.task;
        let key = process::key(task.pid, task.start_ns);
        self.root = Some(key);
        self.table_user(task.table, key);
        let id = self.add_process(Process::new(task, KtimeNs(header.time_ns), Origin::Born));
        self.watch_mm(task.mm, id);
    }

    pub(super) fn seed(&mut self, header: &Header, seed: &Seed) {
        let task = &seed.task;
        let fresh = Process::new(task, KtimeNs(header.time_ns), Origin::Preexisting);
        let io_worker = task.flags & u32::from(header_flag::IO_WORKER) != 0;
        match self.processes.find_key(fresh.key) {
            Some(id) => {
                let Some(known) = self.processes.get_mut(id) else {
                    return;
                };
                if task.pid == task.tid || known.nofile == 0 {
                    known.describe(task);
                }
                if !io_worker && known.seeded.insert(task.tid) {
                    known.threads = known.threads.max(known.seeded.len() as u32);
                    if task.pid != task.tid {
                        self.table_user(task.table, fresh.key);
                    }
                }
            }
            None => {
                self.table_user(task.table, fresh.key);
                let mut fresh = fresh;
                fresh.seeded.insert(task.tid);
                let id = self.processes.add(fresh);
                self.watch_mm(task.mm, id);
            }
        }
    }

    /// A process that the run is about, though leaktrace did not start it.
    pub(super) fn target(&mut self, header: &Header, seed: &Seed) {
        self.seed(header, seed);
        let key = process::key(seed.task.pid, seed.task.start_ns);
        if let Some(id) = self.processes.find_key(key)
            && let Some(process) = self.processes.get_mut(id)
        {
            process.origin = Origin::Target;
        }
    }

    pub(super) fn exec(&mut self, header: &Header, exec: &Exec, texts: &[Text<'_>; 4]) {
        let id = self.process_of(header);
        let [exe, argv, cwd, _] = texts;
        let path = |text: &Text<'_>| text.path().map(|path| Bytes::from(path.into_owned()));
        let rank = self.next_rank;
        if let Some(table) = self.tables.get_mut(&exec.task.table) {
            table.inherit_all(rank);
            // All other threads are gone, and nobody shares the table (begin_new_exec in
            // fs/exec.c).
            table.tasks = 1;
            // How fast the last program opened fds, and how many, says nothing about this one.
            table.rate = Rate::default();
            table.trend = Trend::default();
            table.open.peak = table.open.all;
        }
        let old_mm = self.processes.get(id).map_or(0, |process| process.mm);
        self.new_space(old_mm, exec.task.mm, exec.rest_vm, id);
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.describe(&exec.task);
        process.threads = 1;
        process.exec = Some(KtimeNs(header.time_ns));
        process.first_exec = process.first_exec.or(process.exec);
        process.exe = path(exe).or(process.exe.take());
        process.argv = argv.pieces().map(Bytes::copy_from_slice).collect();
        process.cwd = path(cwd);
        process.mnt_ns = exec.mnt_ns;
        process.exit_mm = None;
        process.listing = Listing::Fits;
        process.seeded.clear();
        // Handlers go with the program, ignored signals stay (execve(2)).
        process.handled = 0;
        process.phase.restart(&mut self.names);
        if let Some(followed) = &mut process.followed {
            followed.exec();
        }
        process.scoped_threads.clear();
        let key = process.key;
        self.scopes_over(key, KtimeNs(header.time_ns));
    }

    /// Takes over what a process calls itself and whose it is, of which no record tells before its
    /// next exec or its end.
    pub fn is_now(&mut self, key: ProcessKey, comm: &[u8], uid: u32) {
        let id = self.processes.find_key(key);
        let process = id.and_then(|id| self.processes.get_mut(id));
        // The record of an end is the last word.
        if let Some(process) = process.filter(|process| process.end.is_none()) {
            let len = comm.len().min(process.comm.len() - 1);
            process.comm = [0; 16];
            process.comm[..len].copy_from_slice(&comm[..len]);
            process.uid = uid;
        }
    }

    /// The task left its table for a copy of it.
    pub(super) fn fd_table(&mut self, header: &Header, moved: &FdTable) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        let (old, new) = (moved.old_table, header.table);
        if old == new {
            return;
        }
        if !self.tables.contains_key(&new) {
            self.copy_table(old, new);
            self.leave_acquisitions(old, new);
        }
        self.table_user(new, process::key(header.pid, header.start_ns));
        self.table_left(old);
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        if process.table == TableId(old) && (header.tid == header.pid || process.threads <= 1) {
            process.table = TableId(new);
        }
    }

    /// If the old table goes on without the task, what was acquired stays acquired there, and
    /// the copy's entries are inherited: one acquisition is not to be released twice.
    fn leave_acquisitions(&mut self, old: u32, new: u32) {
        let rank = self.next_rank;
        let goes_on = self.tables.get(&old).is_some_and(|old| old.tasks > 1);
        if goes_on && let Some(table) = self.tables.get_mut(&new) {
            table.inherit_all(rank);
        }
    }

    /// A task uses a table no more; the last one takes it along.
    pub(super) fn table_left(&mut self, table: u32) {
        let Some(left) = self.tables.get_mut(&table) else {
            return;
        };
        left.tasks = left.tasks.saturating_sub(1);
        // The end of a thread may be told before its birth, if the ring had no room for that: a
        // table that a process uses is there.
        let is_used = |process: &Process| process.lives() && process.table.0 == table;
        let is_used = self.processes.iter().any(is_used);
        match (left.tasks, is_used) {
            (0, true) => left.tasks = 1,
            (0, false) => self.drop_table(table),
            (1.., _) => {}
        }
    }

    pub(super) fn task_taint(&mut self, header: &Header, reason: &Taint) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        if reason.reason != taint::RING_NAMES {
            process.unfollowed = process.unfollowed.saturating_add(1);
        }
        let why = match reason.reason {
            taint::COMPAT => "32-bit system calls",
            taint::RING_NAMES => "names made or changed by io_uring",
            taint::SILENT | taint::SILENT_CREATION => "io_uring requests that tell no completion",
            _ => "calls that cannot be followed",
        };
        let families = match reason.reason {
            // Tables are as they were.
            taint::RING_NAMES => Families::of(&[Family::Name]),
            // No name comes of these, and one that is refused does tell (IOSQE_CQE_SKIP_SUCCESS in
            // io_uring_enter(2)): what is missing is what the ring did to the table.
            taint::SILENT => Families::of(&[Family::Ring]),
            _ => UNFOLLOWED,
        };
        let since = KtimeNs(header.time_ns);
        process.taint(since, families, || why.to_owned());
    }

    pub(super) fn signal_generate(&mut self, header: &Header, signal: &SignalGenerate) {
        let Some(id) = self.processes.find(header.pid, header.start_ns) else {
            return;
        };
        self.timer_fired(id, signal.signal);
        if signal.result == IGNORED {
            self.unheard(id, header, signal);
        }
        if !TAKEN.contains(&signal.result) {
            return;
        }
        let rank = self.next_rank;
        if let Some(process) = self.processes.get_mut(id)
            && process.end.is_none()
        {
            process.phase.signalled(signal, header.time_ns, rank);
        }
    }

    /// A request to end that the process ignores: the first one is kept.
    fn unheard(&mut self, id: ProcessId, header: &Header, signal: &SignalGenerate) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        if !REQUESTS.contains(&signal.signal) || process.end.is_some() {
            return;
        }
        process.unheard.get_or_insert_with(|| {
            Box::new(SignalFacts {
                signal: signal.signal,
                at: KtimeNs(header.time_ns),
                code: signal.code,
                sender: Pid(signal.sender_pid),
                sender_comm: text(&signal.sender_comm),
                acquired_after: false,
            })
        });
    }

    pub(super) fn signal_action(&mut self, header: &Header, action: &SignalAction) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        let Some(bit) = 1u64.checked_shl(action.signal.wrapping_sub(1)) else {
            return;
        };
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let had = process.handled & bit != 0;
        let has = action.handler == wire::handler::FUNCTION;
        process.handled = process.handled & !bit | if has { bit } else { 0 };
        let ignored = action.handler == wire::handler::IGNORE;
        process.ignored = process.ignored & !bit | if ignored { bit } else { 0 };
        if has && !had {
            let held = process.handled.count_ones();
            process.counts.acquired(Kind::Handler, held);
        } else if had && !has {
            process.gave_back(Kind::Handler, 0, Extent::Whole);
        }
    }
}

/// What a child has from the process that made it.
fn inherit(child: &mut Process, parent: &Process) {
    child.exe = parent.exe.clone();
    child.argv = parent.argv.clone();
    child.cwd = parent.cwd.clone();
    child.mnt_ns = parent.mnt_ns;
    child.handled = parent.handled;
    child.ignored = parent.ignored;
    child.trust = parent.trust.clone();
    if let Trust::Tainted { families, .. } = &parent.trust {
        child.lost = *families;
        child.lost_why.clone_from(&parent.lost_why);
    }
}
