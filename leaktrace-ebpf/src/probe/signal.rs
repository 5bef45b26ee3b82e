//! Signals.

use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_probe_read_user,
};
use leaktrace_common::record::{
    Family,
    exit::ExitNotify,
    kind,
    signal::{SignalAction, SignalDeliver, SignalGenerate, handler},
};

use super::Arguments;
use crate::{
    emit::{self, HEADER, Position},
    kernel::{load, offset, read},
    tree::{self, Slot, process_flag},
};

/// Arguments of the `signal_generate` tracepoint.
pub struct Generated {
    pub signal: u32,
    pub info: u64,
    pub target: u64,
    pub group: u32,
    pub result: u32,
}

/// Signals that do not end a process by default: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG,
/// WINCH (signal(7)); real-time ones (32 and up) carry data and are left out.
const HARMLESS: u64 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 23 | 1 << 28;

#[inline(always)]
fn ends_a_process(signal: u32) -> bool {
    signal < 32 && HARMLESS >> signal & 1 == 0
}

/// SI_KERNEL (include/uapi/asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;

/// si_code. Small numbers stand in the pointer's place: SEND_SIG_NOINFO 0 is a user's kill,
/// SEND_SIG_PRIV 1 the kernel (include/linux/signal.h).
#[inline(always)]
fn code_of(info: u64) -> i32 {
    match info {
        0 => 0,
        1 => SI_KERNEL,
        _ => read(info, offset!(siginfo_code)),
    }
}

/// A signal was generated.
#[inline(always)]
pub fn generate(event: &Generated) {
    if ends_a_process(event.signal) {
        ending(event);
    } else {
        notify(event);
    }
}

#[inline(never)]
fn ending(event: &Generated) {
    const SIZE: usize = HEADER + size_of::<SignalGenerate>();
    let Some(slot) = tree::slot_of(event.target) else {
        return;
    };
    let record = emit::reserve_of::<SIZE>(Family::Signal, slot);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<SignalGenerate>();
        (*payload).signal = event.signal;
        (*payload).code = code_of(event.info);
        (*payload).group = event.group & 1;
        (*payload).result = event.result;
        (*payload).sender_pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        (*payload).reserved = 0;
        bpf_get_current_comm((&raw mut (*payload).sender_comm).cast(), 16);
        emit::finish(
            record,
            kind::SIGNAL_GENERATE,
            SIZE,
            slot,
            Position::default(),
        );
    }
}

/// An exiting task sends its exit signal to its parent: the end of exit (exit_notify in
/// kernel/exit.c). An exiting parent passes zombies on the same way, to another target; its own
/// comes last.
#[inline(never)]
fn notify(event: &Generated) {
    const SIZE: usize = HEADER + size_of::<ExitNotify>();
    let Some(slot) = tree::own_slot() else {
        return;
    };
    let task = tree::current_typed();
    // SAFETY: typed by the helper; every step is checked for null.
    let (flags, leader): (u32, u64) = unsafe {
        (
            load(task, offset!(task_flags)),
            read(task, offset!(task_group_leader)),
        )
    };
    if flags & process_flag::EXITING == 0 || leader == 0 {
        return;
    }
    let due: u32 = read(leader, offset!(task_exit_signal));
    if due != event.signal {
        return;
    }
    let record = emit::reserve_vital::<SIZE>(Family::Exit);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<ExitNotify>();
        (*payload).parent_pid = read(event.target, offset!(task_tgid));
        (*payload).signal = event.signal;
        emit::finish(record, kind::EXIT_NOTIFY, SIZE, slot, Position::default());
    }
}

/// SIGNAL_GROUP_EXIT (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;

/// A signal was taken by the current task.
#[inline(always)]
pub fn deliver(signal: u32, info: u64, action: u64) {
    const SIZE: usize = HEADER + size_of::<SignalDeliver>();
    if !ends_a_process(signal) {
        return;
    }
    let Some(slot) = tree::own_slot() else {
        return;
    };
    let record = emit::reserve::<SIZE>(Family::Signal);
    if record.is_null() {
        return;
    }
    let task = tree::current_typed();
    // SAFETY: typed by the helper; the record has room for both.
    unsafe {
        let group: u64 = read(task, offset!(task_signal));
        let flags: u32 = read(group, offset!(signal_flags));
        let payload = record.add(HEADER).cast::<SignalDeliver>();
        (*payload).signal = signal;
        (*payload).code = code_of(info);
        // `struct k_sigaction` begins with its sigaction.
        (*payload).handler = disposition(read(action, offset!(sigaction_handler)));
        (*payload).group_exit = u32::from(flags & SIGNAL_GROUP_EXIT != 0);
        emit::finish(
            record,
            kind::SIGNAL_DELIVER,
            SIZE,
            slot,
            Position::default(),
        );
    }
}

#[inline(always)]
fn disposition(function: u64) -> u32 {
    match function {
        0 => handler::DEFAULT,
        1 => handler::IGNORE,
        _ => handler::FUNCTION,
    }
}

/// rt_sigaction returned. The user's `struct sigaction` begins with the handler.
#[inline(always)]
pub fn action(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    const SIZE: usize = HEADER + size_of::<SignalAction>();
    if result != 0 || arguments.a1() == 0 {
        return;
    }
    let mut function = 0u64;
    // SAFETY: the destination is eight bytes.
    let failed =
        unsafe { bpf_probe_read_user((&raw mut function).cast(), 8, arguments.a1() as *const _) };
    if failed != 0 {
        return;
    }
    let record = emit::reserve::<SIZE>(Family::Signal);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<SignalAction>();
        (*payload).signal = arguments.a0() as u32;
        (*payload).handler = disposition(core::ptr::read_volatile(&raw const function));
        emit::finish(record, kind::SIGNAL_ACTION, SIZE, slot, Position::default());
    }
}
