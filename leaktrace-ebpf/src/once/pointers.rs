//! Shells that take pointers: global to the kernel's eyes, since 5.12.

use leaktrace_common::{
    abi::Op,
    record::{FileIdentity, Header, TextRef, socket::Endpoint},
};

use crate::{
    emit,
    kernel::{self, Detail, FileFacts, Table},
    probe::{self, call::Told},
    tree::{self, Slot},
};

/// As [`tree::table_changed`].
#[inline(always)]
pub fn table_changed(slot: &mut Slot) {
    #[unsafe(export_name = "table_changed")]
    #[inline(never)]
    extern "C" fn table_changed(slot: *mut Slot) -> u64 {
        // SAFETY: the verifier has seen to it that this is null or a slot.
        if let Some(slot) = unsafe { slot.as_mut() } {
            tree::table_changed(slot);
        }
        0
    }
    table_changed(slot);
}

/// As [`probe::walk::table`].
#[inline(always)]
pub fn walk(slot: &mut Slot, _: impl FnOnce() -> u64, table: &Table, cause: u32) -> u32 {
    #[unsafe(export_name = "walk_table")]
    #[inline(never)]
    extern "C" fn walk(slot: *mut Slot, table: *const Table, cause: u32) -> u32 {
        // SAFETY: the verifier has seen to it that each is null or what its type says.
        match unsafe { (slot.as_mut(), table.as_ref()) } {
            (Some(slot), Some(table)) => probe::walk::table(slot, table, cause),
            _ => 0,
        }
    }
    walk(slot, table, cause)
}

/// As [`probe::file::found`].
#[inline(always)]
pub fn found(slot: &mut Slot, _: impl FnOnce() -> u64, table: &Table, op: Op, fd: u32) {
    #[unsafe(export_name = "file_found")]
    #[inline(never)]
    extern "C" fn found(slot: *mut Slot, table: *const Table, op: u32, fd: u32) -> u64 {
        // SAFETY: the verifier has seen to it that each is null or what its type says.
        if let (Some(slot), Some(table)) = unsafe { (slot.as_mut(), table.as_ref()) } {
            probe::file::found(slot, table, Op(op as u8), fd);
        }
        0
    }
    found(slot, table, u32::from(op.0), fd);
}

/// As [`probe::call::tell`].
#[inline(always)]
pub fn tell(slot: &mut Slot, told: &Told) {
    #[unsafe(export_name = "call_tell")]
    #[inline(never)]
    extern "C" fn tell(slot: *mut Slot, told: *const Told) -> u64 {
        // SAFETY: the verifier has seen to it that each is null or what its type says.
        if let (Some(slot), Some(told)) = unsafe { (slot.as_mut(), told.as_ref()) } {
            probe::call::tell(slot, told);
        }
        0
    }
    tell(slot, told);
}

/// As [`kernel::identify`].
///
/// # Safety
/// `out` must be writable for a [`FileIdentity`].
#[inline(always)]
pub unsafe fn identify(facts: &FileFacts, detail: Detail, out: *mut FileIdentity) {
    #[unsafe(export_name = "identify")]
    #[inline(never)]
    extern "C" fn identify(facts: *const FileFacts, full: u32, out: *mut FileIdentity) -> u64 {
        let detail = if full != 0 {
            Detail::Full
        } else {
            Detail::Basic
        };
        // SAFETY: the verifier has seen to it that each is null or what its type says.
        unsafe {
            if let (Some(facts), false) = (facts.as_ref(), out.is_null()) {
                kernel::identify(facts, detail, out);
            }
        }
        0
    }
    identify(facts, u32::from(detail == Detail::Full), out);
}

/// As [`probe::socket::ends_of`].
///
/// # Safety
/// Both must be writable.
#[inline(always)]
pub unsafe fn ends_of(socket: u64, local: *mut Endpoint, peer: *mut Endpoint) {
    #[unsafe(export_name = "socket_ends")]
    #[inline(never)]
    extern "C" fn ends_of(socket: u64, local: *mut Endpoint, peer: *mut Endpoint) -> u64 {
        if !local.is_null() && !peer.is_null() {
            // SAFETY: the verifier has seen to it that each is null or what its type says.
            unsafe { probe::socket::ends_of(socket, local, peer) };
        }
        0
    }
    ends_of(socket, local, peer);
}

/// As [`emit::lost_of`].
#[inline(always)]
pub fn lost_of(family: u32, vital: u32, slot: &Slot) {
    #[unsafe(export_name = "emit_lost_of")]
    #[inline(never)]
    extern "C" fn lost_of(family: u32, vital: u32, slot: *const Slot) -> u64 {
        // SAFETY: the verifier has seen to it that this is null or a slot.
        if let Some(slot) = unsafe { slot.as_ref() } {
            emit::lost_of(family, vital, slot);
        }
        0
    }
    lost_of(family, vital, slot);
}

/// As [`emit::head`].
///
/// # Safety
/// `header` must be writable.
#[inline(always)]
pub unsafe fn head(header: *mut Header, shape: u32, slot: &Slot, seq: u64, next_fd: u32) -> u32 {
    #[unsafe(export_name = "emit_head")]
    #[inline(never)]
    extern "C" fn head(
        header: *mut Header,
        shape: u32,
        slot: *const Slot,
        seq: u64,
        next_fd: u32,
    ) -> u32 {
        // SAFETY: the verifier has seen to it that each is null or what its type says.
        unsafe {
            match slot.as_ref() {
                Some(slot) if !header.is_null() => emit::head(header, shape, slot, seq, next_fd),
                _ => 0,
            }
        }
    }
    head(header, shape, slot, seq, next_fd)
}

/// Room for a path of `N` bytes.
#[repr(C)]
pub struct Area<const N: usize>([u8; N]);

macro_rules! walks {
    ($($name:ident: $len:literal, $symbol:literal;)*) => {
        $(
            /// As [`probe::path::walk`].
            ///
            /// # Safety
            /// `out` must be writable for an area.
            #[inline(always)]
            unsafe fn $name(dentry: u64, mnt: u64, out: *mut u8, text: *mut TextRef) {
                #[unsafe(export_name = $symbol)]
                #[inline(never)]
                extern "C" fn $name(
                    dentry: u64,
                    mnt: u64,
                    out: *mut Area<$len>,
                    text: *mut TextRef,
                ) -> u64 {
                    if !out.is_null() && !text.is_null() {
                        // SAFETY: the verifier has seen to it that each is null or what its type
                        // says.
                        unsafe { probe::path::walk::<$len>(dentry, mnt, out.cast(), text) };
                    }
                    0
                }
                $name(dentry, mnt, out.cast(), text);
            }
        )*
        /// The kernel's path: see [`probe::path::walk`].
        ///
        /// # Safety
        /// `out` must be writable for `AREA` bytes, `text` be in a record.
        #[inline(always)]
        pub unsafe fn path<const AREA: usize>(
            dentry: u64,
            mnt: u64,
            out: *mut u8,
            text: *mut TextRef,
        ) {
            const { assert!(matches!(AREA, $($len)|*), "no walk of that size") };
            // SAFETY: by contract.
            unsafe {
                match AREA {
                    $($len => $name(dentry, mnt, out, text),)*
                    _ => {}
                }
            }
        }
    };
}

walks! {
    path_512: 512, "path_walk_512";
    path_1024: 1024, "path_walk_1024";
    path_2048: 2048, "path_walk_2048";
    path_4096: 4096, "path_walk_4096";
    path_8192: 8192, "path_walk_8192";
}
