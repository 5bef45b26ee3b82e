//! The wire contract between leaktrace's eBPF programs and its userspace.
//!
//! Everything here is plain data with a fixed layout: the programs fill a record in place in
//! the ring buffer, userspace reads the same bytes. Nothing is interpreted here; `decode` in
//! the `leaktrace` crate turns bytes into values, and refuses bytes that do not fit.
//!
//! Rules of the layout: little-endian host order, no implicit padding, no `bool`, sizes
//! asserted beside the types, and [`ABI_VERSION`] changes whenever any of it does.
#![no_std]

pub mod abi;
pub mod record;

/// Version of the layout in this crate. The kernel object carries it in its `CONFIG`
/// global, a capture in its header; neither is read when it differs.
pub const ABI_VERSION: u32 = 2;
