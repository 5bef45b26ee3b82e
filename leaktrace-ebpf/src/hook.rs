//! The programs: thin entries by which the kernel reaches the handlers.

use aya_ebpf::{EbpfContext as _, macros::btf_tracepoint, programs::BtfTracePointContext};

use leaktrace_common::record::ring::ring_exit;

use crate::probe;

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
    probe::task::new(ctx.as_ptr(), ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    0
}

#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    probe::task::exec(
        ctx.arg::<u64>(0),
        ctx.arg::<u64>(1) as u32,
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
    probe::task::free(ctx.arg::<u64>(0));
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

#[btf_tracepoint(function = "io_uring_submit_req")]
fn io_uring_submit_req(ctx: BtfTracePointContext) -> i32 {
    probe::uring::submitted(ctx.arg::<u64>(0));
    0
}

/// Up to Linux 6.12 the completion is told in numbers, since then as a structure
/// (include/trace/events/io_uring.h).
#[btf_tracepoint(function = "io_uring_complete")]
fn io_uring_complete(ctx: BtfTracePointContext) -> i32 {
    let (ring, request) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1));
    let completed = if crate::kernel::offset!(uring_complete_arguments) == 3 {
        // `struct io_uring_cqe` is of the user's ABI: user_data, res, flags.
        let entry = ctx.arg::<u64>(2);
        probe::uring::Completed {
            ring,
            request,
            user_data: crate::kernel::read(entry, 0),
            result: crate::kernel::read(entry, 8),
        }
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
