//! The programs: thin entries by which the kernel reaches the handlers.
//!
//! Most events can be had in two ways: by a tracepoint, or by the entry of a function that the
//! kernel calls next to it. Where programs on tracepoints can be preempted they are skipped for
//! others meanwhile (from Linux 7.0 on, `__bpf_trace_run` in kernel/trace/bpf_trace.c); those on
//! functions run with preemption off. Userspace loads one of the two.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fentry, fexit, kprobe},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext},
};

#[cfg(not(feature = "reduced"))]
use leaktrace_common::abi::called;
use leaktrace_common::{abi::NO_OFFSET, record::ring::ring_exit};

#[cfg(not(feature = "reduced"))]
use crate::maps::note_call;

use crate::{
    kernel::{Address, load, offset, read},
    probe::{
        self,
        exit_times::{self, time},
    },
    tree,
};

#[btf_tracepoint(function = "sys_enter")]
fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    probe::enter(ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    0
}

#[btf_tracepoint(function = "sys_exit")]
fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    probe::exit(ctx.as_ptr(), ctx.arg::<u64>(0), ctx.arg::<u64>(1) as i64);
    0
}

#[btf_tracepoint(function = "task_newtask")]
fn task_newtask(ctx: BtfTracePointContext) -> i32 {
    probe::task::new(ctx.as_ptr(), Address(ctx.arg(0)), ctx.arg::<u64>(1));
    0
}

#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    probe::task::exec(
        ctx.arg::<u64>(0),
        Some(ctx.arg::<u64>(1) as u32),
        ctx.arg::<u64>(2),
    );
    0
}

#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    probe::exit::process(ctx.arg::<u64>(0));
    0
}

#[btf_tracepoint(function = "sched_process_free")]
fn sched_process_free(ctx: BtfTracePointContext) -> i32 {
    probe::task::free(Address(ctx.arg(0)));
    0
}

#[btf_tracepoint(function = "exit_mmap")]
fn exit_mmap(ctx: BtfTracePointContext) -> i32 {
    probe::exit::mm(ctx.arg::<u64>(0));
    0
}

#[btf_tracepoint(function = "signal_generate")]
fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    // The fifth argument lies behind what `arg` of a wrong index would refuse to read, so all
    // are taken in order: sig, info, task, group, result (include/trace/events/signal.h).
    probe::signal::generate(&probe::signal::Generated {
        signal: ctx.arg::<u64>(0) as u32,
        info: ctx.arg::<u64>(1),
        target: ctx.arg::<u64>(2),
        group: ctx.arg::<u64>(3) as u32,
        result: ctx.arg::<u64>(4) as u32,
    });
    0
}

#[btf_tracepoint(function = "signal_deliver")]
fn signal_deliver(ctx: BtfTracePointContext) -> i32 {
    let _ = ctx.as_ptr();
    probe::signal::deliver(
        ctx.arg::<u64>(0) as u32,
        ctx.arg::<u64>(1),
        ctx.arg::<u64>(2),
    );
    0
}

#[btf_tracepoint(function = "workqueue_queue_work")]
fn workqueue_queue_work(ctx: BtfTracePointContext) -> i32 {
    // req_cpu, pwq, work (include/trace/events/workqueue.h).
    probe::ring::work(ctx.arg::<u64>(2), ring_exit::BEGUN);
    0
}

#[btf_tracepoint(function = "workqueue_execute_end")]
fn workqueue_execute_end(ctx: BtfTracePointContext) -> i32 {
    probe::ring::work(ctx.arg::<u64>(0), ring_exit::ENDED);
    0
}

/// The request came after its ring up to Linux 5.19, and was not among the arguments at first, but its
/// opcode (include/trace/events/io_uring.h, v5.10, v5.15, v5.19, v6.1).
#[btf_tracepoint(function = "io_uring_submit_req")]
fn io_uring_submit_req(ctx: BtfTracePointContext) -> i32 {
    let arguments = offset!(uring_submit_arguments);
    if arguments <= 2 {
        probe::uring::submitted(ctx.arg::<u64>(0));
    } else if arguments > 5 {
        probe::uring::submitted(ctx.arg::<u64>(1));
    } else {
        probe::uring::submitted_unseen(ctx.arg::<u64>(1) as u8);
    }
    0
}

/// Up to Linux 6.12 the completion is told in numbers, since then as a structure
/// (include/trace/events/io_uring.h).
#[cfg(not(feature = "reduced"))]
#[btf_tracepoint(function = "io_uring_complete")]
fn io_uring_complete(ctx: BtfTracePointContext) -> i32 {
    let (ring, request) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    let completed = if offset!(uring_complete_arguments) == 3 {
        completion(ring, request, ctx.arg::<u64>(2))
    } else {
        probe::uring::Completed {
            ring,
            request,
            user_data: ctx.arg::<u64>(2),
            result: ctx.arg::<u64>(3) as i32,
        }
    };
    probe::uring::completed(&completed);
    0
}

/// `struct io_uring_cqe` is of the user's ABI: user_data, res, flags.
#[inline(always)]
fn completion(ring: u64, request: u64, entry: u64) -> probe::uring::Completed {
    probe::uring::Completed {
        ring,
        request,
        user_data: read(entry, 0),
        result: read(entry, 8),
    }
}

/// First argument of the function that a program hangs on.
#[inline(always)]
fn first(ctx: &ProbeContext) -> u64 {
    argument(ctx.as_ptr(), offset!(pt_regs_first))
}

/// Second argument.
#[inline(always)]
fn second(ctx: &ProbeContext) -> u64 {
    argument(ctx.as_ptr(), offset!(pt_regs_si))
}

// On its own: its frame is gone when the program goes deeper.
#[inline(never)]
fn argument(registers: *mut c_void, place: u32) -> u64 {
    read(registers as u64, place)
}

/// Programs on a tracepoint of system calls make the kernel go there: this one, and nothing else.
#[cfg(not(feature = "reduced"))]
#[btf_tracepoint(function = "sys_enter")]
fn way_of_calls(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Where two programs are on a tracepoint the kernel goes through them in a function of its own:
/// these are there, and nothing else.
#[cfg(not(feature = "reduced"))]
#[btf_tracepoint(function = "io_uring_complete")]
fn way_of_completions(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// See [`way_of_completions`].
#[cfg(not(feature = "reduced"))]
#[btf_tracepoint(function = "io_uring_complete")]
fn other_way_of_completions(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// `trace_syscall_enter(regs, …)` has the tracepoint sys_enter in it (kernel/entry/
/// syscall-common.c, v7.0). arm64 has none, and the functions beside its tracepoint are of no use:
/// one comes before seccomp has answered, the other (`invoke_syscall`) cannot be had on v7.2.
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_sys_enter(_ctx: ProbeContext) -> u32 {
    note_call(called::SYS_ENTER);
    let registers = probe::registers();
    probe::enter(registers, probe::number(registers));
    0
}

/// `trace_syscall_exit(regs, result)` has sys_exit in it, as on arm64 `syscall_trace_exit(regs)`
/// has (arch/arm64/kernel/ptrace.c, v6.1), where the result is in the first register by then.
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_sys_exit(ctx: ProbeContext) -> u32 {
    note_call(called::SYS_EXIT);
    let registers = probe::registers();
    let result = if offset!(pt_regs_pstate) == NO_OFFSET {
        second(&ctx)
    } else {
        // SAFETY: the verifier knows the registers' type.
        unsafe { load(registers, offset!(pt_regs_first)) }
    };
    probe::exit(ctx.as_ptr(), registers, result as i64);
    0
}

/// `uprobe_copy_process(task, clone_flags)` comes behind task_newtask (copy_process in
/// kernel/fork.c).
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_newtask(ctx: ProbeContext) -> u32 {
    note_call(called::NEWTASK);
    probe::task::new(ctx.as_ptr(), Address(first(&ctx)), second(&ctx));
    0
}

/// `finalize_exec(program)` is the last that can be seen of every format's loader
/// (load_elf_binary in fs/binfmt_elf.c); nothing fails after it, and sched_process_exec follows.
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_exec(ctx: ProbeContext) -> u32 {
    probe::task::exec(tree::current_typed(), None, first(&ctx));
    0
}

/// `perf_event_exit_task(task)` comes behind sched_process_exit (do_exit in kernel/exit.c), and
/// its task is the current one.
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_exit(_ctx: ProbeContext) -> u32 {
    note_call(called::EXIT);
    probe::exit::process(tree::current_typed());
    0
}

/// `mm_put_huge_zero_folio(mm)` comes behind exit_mmap (__mmput in kernel/fork.c), whose
/// tracepoint is its end.
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_exit_mmap(ctx: ProbeContext) -> u32 {
    probe::exit::mm(first(&ctx));
    0
}

/// `io_destroy_buffers(ring)`: a ring that goes has no request, file or buffer any more
/// (io_ring_ctx_free in io_uring/io_uring.c).
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_ring_end(ctx: ProbeContext) -> u32 {
    note_call(called::RING_END);
    probe::ring::gone(first(&ctx));
    0
}

/// `io_issue_sqe(request, …)` carries a request out, by whoever does; some more than once.
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_submit(ctx: ProbeContext) -> u32 {
    note_call(called::SUBMIT);
    probe::uring::submitted(first(&ctx));
    0
}

/// `__traceiter_io_uring_complete(data, ring, request, entry)` goes through the programs on that
/// tracepoint (DEFINE_TRACE_FN in include/linux/tracepoint.h). One alone is called directly, two are
/// called from there (tracepoint_add_func in kernel/tracepoint.c, since v5.10).
#[cfg(not(feature = "reduced"))]
#[kprobe]
fn f_complete(ctx: ProbeContext) -> u32 {
    note_call(called::COMPLETE);
    let registers = ctx.as_ptr();
    let ring = argument(registers, offset!(pt_regs_si));
    let request = argument(registers, offset!(pt_regs_dx));
    let entry = argument(registers, offset!(pt_regs_cx));
    probe::uring::completed(&completion(ring, request, entry));
    0
}

#[fentry(function = "exit_mmap")]
fn enter_exit_mmap(_ctx: FEntryContext) -> i32 {
    exit_times::note::<{ time::UNMAP_BEGAN }>();
    0
}

#[fexit(function = "exit_mmap")]
fn leave_exit_mmap(_ctx: FExitContext) -> i32 {
    exit_times::note::<{ time::UNMAP_ENDED }>();
    0
}

#[fentry(function = "exit_files")]
fn enter_exit_files(_ctx: FEntryContext) -> i32 {
    exit_times::note::<{ time::FILES_BEGAN }>();
    0
}

#[fexit(function = "exit_files")]
fn leave_exit_files(_ctx: FExitContext) -> i32 {
    exit_times::note::<{ time::FILES_ENDED }>();
    0
}

/// What do_exit calls behind exit_task_work, where the last references go.
#[fentry(function = "sched_autogroup_exit_task")]
fn enter_autogroup_exit(_ctx: FEntryContext) -> i32 {
    exit_times::tell();
    0
}
