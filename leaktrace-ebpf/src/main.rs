//! leaktrace's eBPF programs.
//!
//! `hook` has the programs: thin entries, one per kernel hook. They call the handlers in
//! `probe`, which are written once whatever the hook is. `tree` knows who is watched, `emit`
//! writes records into the ring, `kernel` reads kernel structures by offsets that userspace
//! found in BTF, `iterate` reads what was there before, `once` has the functions that the verifier
//! looks at on their own.
//!
//! # What may be used
//!
//! One object loads on every kernel from 6.1 on, so (`cargo xtask ebpf` checks the first three,
//! `cargo xtask vm` the rest, on the kernels themselves):
//!
//! - Helpers up to 209 (bpf_user_ringbuf_drain), no kernel functions, instructions of cpu v3.
//! - 512 bytes of stack for a program and all that it calls, each frame rounded up to 32; in at
//!   most 8 frames. Newer kernels give each program a stack of its own (6.13): that it loads
//!   here means nothing. Large things go into the record (leave room behind it), or into a
//!   function of its own beside, not above, the next deep call (`inline(never)`).
//! - What is zeroed or copied on the stack in words that lie together becomes a call of memset or
//!   memcpy, which is a frame; volatile writes do not.
//! - What a newer kernel has is used behind a frozen global only (`offset!`, `CONFIG`), so that
//!   the verifier prunes it elsewhere, or in a program of its own that is not loaded there.
//! - A handler, and what is called from several places, is called by way of `once`: inlined or as an
//!   ordinary function it is gone through again on every path that leads there. How much the
//!   verifier goes through is in `leaktrace doctor --json`, and a scenario keeps it low.
//! - A map takes keys and values from maps and from the stack only, not from what a function of
//!   `once` was given (up to 6.4).
//! - What a loop counts is in a record or a map, not on the stack: what the verifier follows keeps
//!   it going round.
//! - An index into an array is masked behind `kernel::opaque`: 6.1 knows a bound by the mask only.
//! - Members by `offset!`, each with its alternatives by kernel in `abi::Offsets`; a missing one
//!   reads as zero and its family says so.
//!
//! With the feature `reduced` the same sources make the object for kernels without bpf_loop (5.17),
//! atomic operations with a result (5.12), functions that take pointers (5.12), and helpers after
//! 155: Linux 5.10. There loops are gone through round by round (`rounds`), so what is in one is
//! short, or in a function that takes numbers only (`once::numbers`).
//!
//! On other targets than bpf this is an empty program, so that the workspace can be checked on
//! the host.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    feature(core_intrinsics),
    expect(internal_features, reason = "atomic addition, see `atomic`")
)]
#![cfg_attr(
    feature = "reduced",
    allow(
        dead_code,
        unused_imports,
        reason = "what the programs need that it leaves out"
    )
)]

#[cfg(target_arch = "bpf")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod hook;
#[cfg(target_arch = "bpf")]
mod iterate;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod once;
#[cfg(target_arch = "bpf")]
mod probe;
#[cfg(target_arch = "bpf")]
mod rounds;
#[cfg(target_arch = "bpf")]
mod tree;

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
