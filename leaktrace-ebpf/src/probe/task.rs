//! Birth, exec and reaping of tasks.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::{
    abi::{Op, fault},
    record::{
        Family, TextRef,
        file::walk_cause,
        kind,
        task::{Exec, Free, Namespaces, Reap, Taint, TaskFacts, TaskNew, namespace, taint},
        text_flag, text_kind,
    },
};

use super::{Arguments, appear, mapping, path, stack};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{self, Address, Task, file_facts, offset, read},
    maps::{self, LAST_TABLE, TASKS, count_fault},
    once,
    tree::{self, Slot, describe, flag, process_flag, slot_for},
};

/// CLONE_FILES, CLONE_THREAD (include/uapi/linux/sched.h).
const CLONE_FILES: u64 = 0x400;
const CLONE_THREAD: u64 = 0x1_0000;

/// task_newtask: the new task joins its parent's tree before it can run, so that nothing of it
/// is missed.
#[inline(always)]
pub fn new(context: *mut c_void, task: impl Task, clone_flags: u64) {
    // An entry under this address is of a task that has gone: the address begins anew here. A
    // scan may take one in that is just being freed; and task_structs are freed by whatever a CPU
    // is doing then, which on some kernels no program may look at (guests whose kernel guards
    // their init from tracing: what is freed in its time is not told, nor counted as missed).
    left(task);
    let Some(parent) = tree::current_slot() else {
        return;
    };
    // Of threads nobody asks it.
    let stacks = maps::stacks() != 0 && clone_flags & CLONE_THREAD == 0;
    if stacks {
        stack::of_birth(context, parent);
    }
    join(task, clone_flags);
    if stacks {
        stack::over(parent);
    }
    let flags: u32 = task.member(offset!(task_flags));
    if clone_flags & CLONE_FILES == 0 && flags & process_flag::IO_WORKER == 0 {
        inherited(task);
    }
    if clone_flags & appear::CLONE_PIDFD != 0 {
        pidfd();
    }
}

/// The fd of a new task is in its parent's table by now (copy_process in kernel/fork.c). It is told
/// here, not when clone returns: a child that shares the table may have left it by then.
#[inline(always)]
fn pidfd() {
    let Some(parent) = tree::noted(tree::current()) else {
        return;
    };
    let op = Op(parent.op as u8);
    if op != Op::CLONE && op != Op::CLONE3 {
        return;
    }
    let arguments = Arguments::current();
    // clone has it where the parent's thread id goes, clone3 in its structure (clone(2)).
    let mut place = arguments.a2();
    let mut fd = -1;
    // SAFETY: the destinations are as large as is read.
    unsafe {
        if op == Op::CLONE3 {
            place = 0;
            let member = arguments.a0().wrapping_add(CLONE_ARGS_PIDFD);
            bpf_probe_read_user((&raw mut place).cast(), 8, member as *const _);
        }
        bpf_probe_read_user((&raw mut fd).cast(), 4, place as *const _);
    }
    once::appear::known(parent, op, i64::from(fd));
    parent.op = 0;
}

/// `struct clone_args` (include/uapi/linux/sched.h).
const CLONE_ARGS_PIDFD: u64 = 8;

/// Takes the new task in and tells of it. On its own: its frame is gone when the table is
/// walked.
#[inline(never)]
fn join(task: impl Task, clone_flags: u64) {
    const SIZE: usize = HEADER + size_of::<TaskNew>();
    let Some(parent) = tree::noted(tree::current()) else {
        return;
    };
    let files: u64 = read(tree::current(), offset!(task_files));
    if files != parent.files && files != 0 {
        once::table_changed(parent);
    }
    let table = if clone_flags & CLONE_FILES != 0 {
        parent.table
    } else {
        LAST_TABLE.next() as u32
    };
    let slot = slot_for(task, table);
    if TASKS.insert(task.address(), slot, 0).is_err() {
        count_fault(fault::JOIN_FAILED);
    }
    let record = emit::reserve_vital::<SIZE>(Family::Task);
    if record.is_null() {
        return;
    }
    let position = Position {
        seq: emit::next_seq(parent),
        next_fd: 0,
    };
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<TaskNew>();
        (*payload).clone_flags = clone_flags;
        describe(task, &slot, (&raw mut (*payload).child).cast::<TaskFacts>());
        (*payload).rest_vm = mapping::rest(task.member(offset!(task_mm)));
        emit::finish(record, kind::TASK_NEW, SIZE, parent, position);
    }
    if clone_flags & namespace::ANY != 0 {
        namespaces(task, parent, clone_flags);
    }
}

/// What a new task inherits, by the kernel's own word: its parent may have fds that came in a
/// way that is not followed (CLONE_PIDFD, SCM_RIGHTS). The task does not run yet, so its table
/// stands still.
#[inline(always)]
fn inherited(task: impl Task) {
    let Some(slot) = tree::noted(task.address()) else {
        return;
    };
    let table = task.table();
    if table.files != 0 {
        once::walk(
            slot,
            || kernel::number(task.address()),
            &table,
            walk_cause::FORK,
        );
    }
}

/// unshare(2) returned.
#[inline(always)]
pub fn unshared(slot: &mut Slot, flags: u64, result: i64) {
    if result == 0 && flags & namespace::ANY != 0 {
        namespaces(Address(tree::current()), slot, flags);
    }
}

/// The namespaces of a task that has new ones.
#[inline(always)]
fn namespaces(task: impl Task, slot: &Slot, flags: u64) {
    const SIZE: usize = HEADER + size_of::<Namespaces>();
    let record = emit::reserve::<SIZE>(Family::Task);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Namespaces>();
        let proxy: u64 = task.member(offset!(task_nsproxy));
        let cred: u64 = task.member(offset!(task_cred));
        (*payload).flags = flags & namespace::ANY;
        let inums = (&raw mut (*payload).inums).cast::<u32>();
        *inums = read(read(proxy, offset!(nsproxy_mnt)), offset!(mnt_ns_inum));
        *inums.add(1) = read(
            read(proxy, offset!(nsproxy_cgroup)),
            offset!(cgroup_ns_inum),
        );
        *inums.add(2) = read(read(proxy, offset!(nsproxy_uts)), offset!(uts_ns_inum));
        *inums.add(3) = read(read(proxy, offset!(nsproxy_ipc)), offset!(ipc_ns_inum));
        *inums.add(4) = read(read(cred, offset!(cred_user_ns)), offset!(user_ns_inum));
        *inums.add(5) = read(read(proxy, offset!(nsproxy_pid)), offset!(pid_ns_inum));
        *inums.add(6) = read(read(proxy, offset!(nsproxy_net)), offset!(net_inum));
        *inums.add(7) = read(read(proxy, offset!(nsproxy_time)), offset!(time_ns_inum));
        emit::finish(record, kind::NAMESPACES, SIZE, slot, Position::default());
    }
}

const AREA: usize = 2048;

/// sched_process_exec: close-on-exec fds are gone and the table is the task's own by now
/// (begin_new_exec comes before the tracepoint, fs/exec.c), so its walk is the new program's
/// baseline. No `old_tid`: it is the one that the task is known by.
#[inline(always)]
pub fn exec(task: u64, old_tid: Option<u32>, program: u64) {
    let Some(slot) = tree::program_slot() else {
        return;
    };
    let old_tid = old_tid.unwrap_or(slot.tid);
    let table = Address(task).table();
    if table.files != slot.files && table.files != 0 {
        once::table_changed(slot);
    }
    // After an exec by another thread than the leader the task has the leader's number.
    slot.tid = read(task, offset!(task_pid));
    slot.op = 0;
    told(slot, task, old_tid, program);
    once::walk(slot, tree::current, &table, walk_cause::EXEC);
    once::scope::program(slot);
}

// On its own: its frame is gone when the table is walked.
#[inline(never)]
fn told(slot: &mut Slot, task: u64, old_tid: u32, program: u64) {
    const FIXED: usize = HEADER + size_of::<Exec>();
    let record = emit::reserve_vital::<{ FIXED + 3 * AREA }>(Family::Task);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for header, payload and three areas; pointers are the
    // tracepoint's arguments.
    unsafe {
        let payload = record.add(HEADER).cast::<Exec>();
        describe(
            Address(task),
            slot,
            (&raw mut (*payload).task).cast::<TaskFacts>(),
        );
        (*payload).old_tid = if old_tid == slot.tid { 0 } else { old_tid };
        (*payload).mnt_ns = path::mount_namespace(task);
        (*payload).rest_vm = mapping::rest(read(task, offset!(task_mm)));
        (*payload).area = AREA as u16;
        (*payload).reserved = [0; 3];
        let file: u64 = read(program, offset!(bprm_file));
        let facts = file_facts(file);
        let text = (&raw mut (*payload).text).cast::<TextRef>();
        once::path::<AREA>(facts.dentry, facts.mnt, record.add(FIXED), text);
        arguments(task, record.add(FIXED + AREA), text.add(1));
        let (dentry, mnt) = path::working_directory(task);
        once::path::<AREA>(dentry, mnt, record.add(FIXED + 2 * AREA), text.add(2));
        path::none(text.add(3));
        let len = FIXED + 2 * AREA + path::len(text.add(2));
        emit::finish(record, kind::EXEC, len, slot, Position::default());
    }
}

/// argv as it lies in the new program's memory.
///
/// # Safety
/// `task` must be the current task's typed pointer, `out` writable for an area, `text` be in a
/// record.
#[inline(always)]
unsafe fn arguments(task: u64, out: *mut u8, text: *mut TextRef) {
    // SAFETY: by contract; at most AREA - 1 bytes are read.
    unsafe {
        let mm: u64 = read(task, offset!(task_mm));
        let start: u64 = read(mm, offset!(mm_arg_start));
        let end: u64 = read(mm, offset!(mm_arg_end));
        let mut len = end.wrapping_sub(start);
        (*text).kind = text_kind::RAW;
        (*text).flags = 0;
        if len > (AREA - 1) as u64 {
            len = (AREA - 1) as u64;
            (*text).flags = text_flag::TRUNCATED;
        }
        (*text).len = len as u16;
        if bpf_probe_read_user(out.cast(), len as u32, start as *const _) != 0 {
            (*text).len = 0;
            (*text).flags = text_flag::FAULT;
        }
    }
}

/// sched_process_free: the task's memory goes, so its address may be used again.
#[inline(always)]
pub fn free(task: impl Task) {
    left(task);
}

/// A task of which no more comes.
#[inline(never)]
fn left(task: impl Task) {
    const SIZE: usize = HEADER + size_of::<Free>();
    let key = task.address();
    let Some(slot) = tree::noted(key) else {
        return;
    };
    // A leader whose number an executing thread has taken goes by that thread's old one since
    // (exchange_tids, called by de_thread in fs/exec.c): the process goes on.
    slot.tid = task.member(offset!(task_pid));
    let record = emit::reserve_vital::<SIZE>(Family::Task);
    if !record.is_null() {
        // SAFETY: the record has room for both.
        unsafe {
            let payload = record.add(HEADER).cast::<Free>();
            (*payload).tid = slot.tid;
            (*payload).reserved = 0;
            emit::finish(record, kind::FREE, SIZE, slot, Position::default());
        }
    }
    // A bucket may be locked for a moment.
    if TASKS.remove(key).is_err() && TASKS.remove(key).is_err() {
        count_fault(fault::LEAVE_FAILED);
    }
}

/// wait4 returned a child.
#[inline(always)]
pub fn wait4(slot: &mut Slot, result: i64) {
    if result > 0 {
        once::task::reaped(slot, result as u32);
    }
}

/// WNOWAIT leaves the child waitable (waitid(2)).
const WNOWAIT: u64 = 0x0100_0000;

/// waitid returned. `siginfo_t`: si_signo, si_errno, si_code, padding, si_pid at 16 on 64-bit
/// (include/uapi/asm-generic/siginfo.h).
#[inline(always)]
pub fn waitid(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    if result != 0 || arguments.a3() & WNOWAIT != 0 || arguments.a2() == 0 {
        return;
    }
    let mut pid = 0u32;
    // SAFETY: the destination is four bytes.
    unsafe {
        bpf_probe_read_user((&raw mut pid).cast(), 4, (arguments.a2() + 16) as *const _);
        pid = core::ptr::read_volatile(&raw const pid);
    }
    if pid != 0 {
        once::task::reaped(slot, pid);
    }
}

#[inline(always)]
pub fn reaped(slot: &mut Slot, pid: u32) {
    const SIZE: usize = HEADER + size_of::<Reap>();
    let record = emit::reserve_vital::<SIZE>(Family::Task);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Reap>();
        (*payload).ns_pid = pid;
        (*payload).reserved = 0;
        emit::finish(record, kind::REAP, SIZE, slot, Position::default());
    }
}

/// A 32-bit system call: told once a process.
#[inline(never)]
pub fn compat(slot: &mut Slot) {
    once::task::taint(slot, taint::COMPAT, flag::COMPAT);
}

/// Something that cannot be followed: told once a task.
#[inline(always)]
pub fn taint(slot: &mut Slot, reason: u32, mark: u32) {
    const SIZE: usize = HEADER + size_of::<Taint>();
    if slot.flags & mark != 0 {
        return;
    }
    slot.flags |= mark;
    let record = emit::reserve_vital::<SIZE>(Family::Task);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Taint>();
        (*payload).reason = reason;
        (*payload).reserved = 0;
        emit::finish(record, kind::TAINT, SIZE, slot, Position::default());
    }
}
