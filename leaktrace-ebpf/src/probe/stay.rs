//! Staying in a program on request, so that leaktrace sees whether it can be preempted there.

use leaktrace_common::abi::STAY_NS;

use crate::{emit, maps, rounds};

/// Rounds at most: more than fit that time on any machine. The kernels that need the reduced object
/// preempt no program on a tracepoint.
const ROUNDS: u32 = if cfg!(feature = "reduced") {
    0
} else {
    1 << 17
};

/// PRCTL_STAY: goes round until it is time to leave.
#[inline(never)]
pub fn long(nonce: u64) {
    if nonce != maps::nonce() {
        return;
    }
    let mut until = emit::now() + STAY_NS;
    // SAFETY: the context is what the step takes.
    unsafe { rounds::go::<ROUNDS, _>(ROUNDS, round, &raw mut until) };
}

extern "C" fn round(_: u64, until: *mut u64) -> i64 {
    // SAFETY: it is what `long` gave.
    let until = unsafe { core::ptr::read_volatile(until) };
    i64::from(emit::now() >= until)
}
