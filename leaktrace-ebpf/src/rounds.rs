//! Going round.
//!
//! bpf_loop (Linux 5.17) has the verifier look at the body once. The reduced object has a loop with
//! a bound instead, which the verifier goes through round by round (since 5.3).

/// Calls `step` with 0, 1, 2… and `context`: `times` times, `MOST` at most, or until it gives
/// something else than 0.
///
/// # Safety
/// `context` must be what `step` takes.
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub unsafe fn go<const MOST: u32, Context>(
    times: u32,
    step: extern "C" fn(u64, *mut Context) -> i64,
    context: *mut Context,
) {
    // SAFETY: by contract; a step has the signature that bpf_loop wants.
    unsafe {
        aya_ebpf::helpers::generated::bpf_loop(
            times,
            step as *mut core::ffi::c_void,
            context.cast(),
            0,
        );
    }
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(feature = "reduced")]
#[inline(always)]
pub unsafe fn go<const MOST: u32, Context>(
    times: u32,
    step: extern "C" fn(u64, *mut Context) -> i64,
    context: *mut Context,
) {
    let mut index = 0;
    while index < u64::from(MOST) && index < u64::from(times) {
        if step(index, context) != 0 {
            break;
        }
        index += 1;
    }
}
