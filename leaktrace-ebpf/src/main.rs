//! leaktrace's eBPF programs.
//!
//! `hook` has the programs: thin entries, one per kernel hook. They call the handlers in
//! `probe`, which are written once whatever the hook is. `tree` knows who is watched, `emit`
//! writes records into the ring, `kernel` reads kernel structures by offsets that userspace
//! found in BTF, `iterate` reads what was there before.
//!
//! On other targets than bpf this is an empty program, so that the workspace can be checked on
//! the host.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    feature(core_intrinsics),
    expect(internal_features, reason = "atomic addition, see `atomic`")
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
mod probe;
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
