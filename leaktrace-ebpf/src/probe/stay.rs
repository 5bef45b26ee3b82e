//! Staying in a program on request, so that leaktrace sees whether it can be preempted there.

use aya_ebpf::helpers::generated::bpf_loop;
use leaktrace_common::abi::STAY_NS;

use crate::{emit, maps};

/// Rounds at most: more than fit that time on any machine.
const ROUNDS: u32 = 1 << 17;

/// PRCTL_STAY: goes round until it is time to leave.
#[inline(never)]
pub fn long(nonce: u64) {
    if nonce != maps::nonce() {
        return;
    }
    let mut until = emit::now() + STAY_NS;
    // SAFETY: the callback has the signature that bpf_loop wants.
    unsafe {
        bpf_loop(
            ROUNDS,
            round as *mut core::ffi::c_void,
            (&raw mut until).cast(),
            0,
        );
    }
}

extern "C" fn round(_: u64, until: *mut u64) -> i64 {
    // SAFETY: bpf_loop passes what `long` gave it.
    let until = unsafe { core::ptr::read_volatile(until) };
    i64::from(emit::now() >= until)
}
