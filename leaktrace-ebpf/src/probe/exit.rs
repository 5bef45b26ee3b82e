//! Ends of tasks.

use leaktrace_common::record::{
    Family,
    call::ExitPending,
    exit::{ExitGroup, ExitMm, ExitProcess, ExitThread, exit_flag},
    file::walk_cause,
    kind,
    ring::aio_cause,
};

use crate::{
    emit::{self, HEADER, Position},
    kernel::{Address, Chunk, Task, offset, read},
    once,
    tree::{self, Slot},
};

use super::{aio, mapping};

/// exit_group was entered: the kernel's part begins.
#[inline(always)]
pub fn group(slot: &mut Slot, code: i32) {
    const SIZE: usize = HEADER + size_of::<ExitGroup>();
    once::exit::pending(slot);
    aio::of_current(slot, 0, aio_cause::EXIT);
    let signal: u64 = read(tree::current(), offset!(task_signal));
    let live: i32 = read(signal, offset!(signal_live));
    let record = emit::reserve_vital::<SIZE>(Family::Exit);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<ExitGroup>();
        (*payload).code = code;
        (*payload).live = live.cast_unsigned();
        emit::finish(record, kind::EXIT_GROUP, SIZE, slot, Position::default());
    }
}

/// sched_process_exit, of every thread. `signal->live` has been lowered before (do_exit in
/// kernel/exit.c), so the last one finds 0; below Linux 6.16 two that leave together may both.
#[inline(always)]
pub fn process(task: u64) {
    let Some(slot) = tree::own_slot() else {
        return;
    };
    let signal: u64 = read(task, offset!(task_signal));
    let live: i32 = read(signal, offset!(signal_live));
    if live > 0 {
        thread(slot);
        return;
    }
    let table = Address(task).table();
    if table.files != slot.files && table.files != 0 {
        once::table_changed(slot);
    }
    let walk = if table.files == 0 {
        0
    } else {
        once::walk(slot, tree::current, &table, walk_cause::EXIT)
    };
    last(slot, task, signal, walk);
}

/// SIGKILL, which the kernel sends to the threads of a process that exits.
const KILL: u64 = 1 << 8;

/// Signals that nobody will take any more, and those that are blocked. Looked at where the program leaves: by
/// sched_process_exit the thread's own are gone.
#[inline(always)]
pub fn pending(slot: &Slot) {
    const SIZE: usize = HEADER + size_of::<ExitPending>();
    let task = tree::current();
    let own: u64 = read(
        task,
        offset!(task_pending).wrapping_add(offset!(sigpending_signal)),
    );
    let signal: u64 = read(task, offset!(task_signal));
    let shared: u64 = read(
        signal,
        offset!(signal_shared_pending).wrapping_add(offset!(sigpending_signal)),
    );
    let pending = (own | shared) & !KILL;
    let blocked: u64 = read(task, offset!(task_blocked));
    if pending | blocked == 0 {
        return;
    }
    let record = emit::reserve_vital::<SIZE>(Family::Exit);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<ExitPending>();
        (*payload).pending = pending;
        (*payload).blocked = blocked;
        emit::finish(record, kind::EXIT_PENDING, SIZE, slot, Position::default());
    }
}

#[inline(always)]
fn thread(slot: &mut Slot) {
    const SIZE: usize = HEADER + size_of::<ExitThread>();
    let record = emit::reserve_vital::<SIZE>(Family::Exit);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        *record.add(HEADER).cast::<u64>() = 0;
        emit::finish(record, kind::EXIT_THREAD, SIZE, slot, Position::default());
    }
}

// On its own: its frame is gone when the table is walked.
#[inline(never)]
fn last(slot: &mut Slot, task: u64, signal: u64, walk: u32) {
    const SIZE: usize = HEADER + size_of::<ExitProcess>();
    let record = emit::reserve_vital::<SIZE>(Family::Exit);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both; the task is the tracepoint's argument.
    unsafe {
        let payload = record.add(HEADER).cast::<ExitProcess>();
        let mm: u64 = read(task, offset!(task_mm));
        let leader: u64 = read(task, offset!(task_group_leader));
        let parent: u64 = read(leader, offset!(task_real_parent));
        let cred: u64 = read(task, offset!(task_cred));
        (*payload).mm = mm;
        (*payload).total_vm = read(mm, offset!(mm_total_vm));
        (*payload).rest_vm = mapping::rest(mm);
        (*payload).read_bytes = io(task, signal, offset!(ioac_read_bytes));
        (*payload).written_bytes = io(task, signal, offset!(ioac_write_bytes));
        (*payload).walk = walk;
        (*payload).map_count = read(mm, offset!(mm_map_count));
        (*payload).exit_code = read(leader, offset!(task_exit_code));
        (*payload).group_exit_code = read(signal, offset!(signal_group_exit_code));
        (*payload).signal_flags = read(signal, offset!(signal_flags));
        (*payload).flags = if reaps_itself(leader, parent) {
            exit_flag::AUTOREAP
        } else {
            0
        };
        (*payload).uid = read(cred, offset!(cred_uid));
        (*payload).parent_pid = read(parent, offset!(task_tgid));
        let parent_leader: u64 = read(parent, offset!(task_group_leader));
        (*payload).parent_start_ns = read(parent_leader, offset!(task_start_boottime));
        let comm = Chunk::<2>::read(leader.wrapping_add(u64::from(offset!(task_comm))));
        let words = (&raw mut (*payload).comm).cast::<u64>();
        *words = comm.get(0, 0);
        *words.add(1) = comm.get(0, 8);
        emit::finish(record, kind::EXIT_PROCESS, SIZE, slot, Position::default());
    }
}

/// Storage traffic of the threads that are gone and of this one.
#[inline(always)]
fn io(task: u64, signal: u64, member: u32) -> u64 {
    if member == leaktrace_common::abi::NO_OFFSET {
        return 0;
    }
    read::<u64>(signal, offset!(signal_ioac).wrapping_add(member))
        .wrapping_add(read::<u64>(task, offset!(task_ioac).wrapping_add(member)))
}

const SIGCHLD: u32 = 17;
const SA_NOCLDWAIT: u64 = 2;
const SIG_IGN: u64 = 1;

/// Whether the kernel reaps the process at once: SIGCHLD is due, and the parent ignores it or set
/// SA_NOCLDWAIT (do_notify_parent in kernel/signal.c, v6.18). One that was cloned with another
/// signal, or with none, waits for its parent whatever that does with SIGCHLD. `struct
/// k_sigaction` is 32 bytes on x86-64: handler, flags, restorer, mask.
#[inline(always)]
fn reaps_itself(leader: u64, parent: u64) -> bool {
    let due: i32 = read(leader, offset!(task_exit_signal));
    if due as u32 != SIGCHLD {
        return false;
    }
    let sighand: u64 = read(parent, offset!(task_sighand));
    let action = sighand
        .wrapping_add(u64::from(offset!(sighand_action)))
        .wrapping_add(u64::from(SIGCHLD - 1) * 32);
    let handler: u64 = read(action, offset!(sigaction_handler));
    let flags: u64 = read(action, offset!(sigaction_flags));
    handler == SIG_IGN || flags & SA_NOCLDWAIT != 0
}

/// exit_mmap: an address space has been unmapped.
#[inline(always)]
pub fn mm(mm: u64) {
    const SIZE: usize = HEADER + size_of::<ExitMm>();
    let Some(slot) = tree::own_slot() else {
        return;
    };
    let record = emit::reserve_vital::<SIZE>(Family::Exit);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        *record.add(HEADER).cast::<u64>() = mm;
        emit::finish(record, kind::EXIT_MM, SIZE, slot, Position::default());
    }
}
