//! Does every handler run?
//!
//! From Linux 7.0 on, programs on tracepoints can be preempted, and while one is, the same
//! program is skipped for every other task of that CPU (kernel/trace/bpf_trace.c,
//! `__bpf_trace_run`; seen on 7.2: half of the events of two busy tasks). The kernel counts what
//! it skips.
//!
//! To be seen, a task has to be preempted in the program, and another has to come that way
//! meanwhile. Left to itself that is rare: so one thread asks the program to stay for a while
//! ([`PRCTL_STAY`]), again and again, and another, which the scheduler prefers to all others,
//! wakes on the same CPU in the middle and comes the same way. Where programs can be preempted,
//! it is skipped nearly every time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use leaktrace_common::abi::{PRCTL_MAGIC, PRCTL_STAY, STAY_NS};

/// Wakes of the preferred thread.
const WAKES: u32 = 16;

/// Between two wakes: some stays, so that it wakes at any place of one.
const PAUSE: Duration = Duration::from_micros(330);

/// However slow the machine is: it is a part of every start.
const LIMIT: Duration = Duration::from_millis(60);

/// Has two threads meet in the program that sees prctl(2). What was skipped is in the kernel's
/// counts. Where leaktrace may not have a thread that is preferred (CAP_SYS_NICE) nothing
/// follows from nothing being skipped; what the kernel is known to do decides then.
///
/// # Errors
/// A thread cannot be started.
pub fn contend(nonce: u64) -> std::io::Result<()> {
    // SAFETY: no preconditions.
    let cpu = unsafe { libc::sched_getcpu() };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let stays = thread::Builder::new()
            .name("leaktrace-self-test".to_owned())
            .spawn_scoped(scope, || {
                pin(cpu);
                while !over.load(Ordering::Relaxed) {
                    stay(nonce);
                }
            })?;
        let wakes = thread::Builder::new()
            .name("leaktrace-self-test".to_owned())
            .spawn_scoped(scope, || {
                pin(cpu);
                interrupt(nonce);
            });
        // A panic in either is not possible; there is nothing to tell of the end.
        let ended = wakes.map(|thread| drop(thread.join()));
        over.store(true, Ordering::Relaxed);
        drop(stays.join());
        ended
    })
}

fn interrupt(nonce: u64) {
    // The system call itself: musl has a sched_setscheduler(3) that refuses whatever it is asked,
    // and a structure of its own. The kernel's is one number, uapi/linux/sched/types.h.
    let priority: libc::c_int = 1;
    // SAFETY: the number is only read; 0 is this thread.
    let refused = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const priority,
        )
    };
    if refused != 0 {
        return;
    }
    let begin = Instant::now();
    for _ in 0..WAKES {
        thread::sleep(PAUSE);
        stay(nonce);
        if begin.elapsed() > LIMIT {
            break;
        }
    }
}

/// A call that keeps the program busy. It fails, as every prctl(2) with such an option does.
fn stay(nonce: u64) {
    // SAFETY: an unknown option touches no memory.
    unsafe { libc::prctl(PRCTL_MAGIC as i32, PRCTL_STAY, nonce, 0, 0) };
}

/// Failing to pin weakens the test, it does not break anything.
fn pin(cpu: i32) {
    if let Ok(cpu) = usize::try_from(cpu) {
        // SAFETY: a set of zeros is empty; setting a bit stays within it (CPU_SETSIZE is
        // checked by the macro), and the call only reads it.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
}

const _: () = assert!(PAUSE.as_nanos() > STAY_NS as u128);
