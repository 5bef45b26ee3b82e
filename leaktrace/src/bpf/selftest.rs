//! Does every handler run?
//!
//! From Linux 7.2 on, programs on tracepoints can be preempted, and while one is, the same
//! program is skipped for every other task of that CPU (kernel/trace/bpf_trace.c,
//! `__bpf_trace_run`; seen: half of the events of two busy tasks). The kernel counts what it
//! skips. So two threads make system calls on one CPU for a moment, and the count must not move:
//! that is asked of the kernel at hand, not of its version.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Long enough for several changes between two busy tasks (a slice is 3 ms or less on the
/// kernels in question), short enough to pay at every start.
const LENGTH: Duration = Duration::from_millis(20);

/// Makes system calls from two threads on one CPU.
///
/// # Errors
/// A thread cannot be started.
pub fn contend() -> std::io::Result<()> {
    // SAFETY: no preconditions.
    let cpu = unsafe { libc::sched_getcpu() };
    let threads = [(); 2].map(|()| {
        thread::Builder::new()
            .name("leaktrace-self-test".to_owned())
            .spawn(move || busy(cpu))
    });
    for thread in threads {
        // A panic in it is not possible; there is nothing to tell of its end.
        let _ = thread?.join();
    }
    Ok(())
}

fn busy(cpu: i32) {
    if let Ok(cpu) = usize::try_from(cpu) {
        // SAFETY: a set of zeros is empty; setting a bit stays within it (CPU_SETSIZE is
        // checked by the macro), and the call only reads it. Failing to pin weakens the test,
        // it does not break anything.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
    let begin = Instant::now();
    while begin.elapsed() < LENGTH {
        for _ in 0..64 {
            // SAFETY: no preconditions. By number: the C library may keep the answer.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
    }
}
