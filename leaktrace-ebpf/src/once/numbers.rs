//! The same where no pointer may be passed: by the number of a task, or as ordinary functions.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use leaktrace_common::{
    abi::Op,
    record::{FileIdentity, Header, TextRef, socket::Endpoint, text_flag, text_kind},
};

use crate::{
    emit,
    kernel::{self, Address, Detail, FileFacts, Table, Task, table_at},
    maps,
    probe::{self, call::Told},
    tree::{self, Slot},
};

/// As [`tree::table_changed`].
#[inline(always)]
pub fn table_changed(_: &Slot) {
    #[unsafe(export_name = "table_changed")]
    #[inline(never)]
    extern "C" fn table_changed() -> u64 {
        if let Some(slot) = tree::noted(tree::current()) {
            tree::table_changed(slot);
        }
        0
    }
    table_changed();
}

/// As [`probe::walk::table`].
#[inline(always)]
pub fn walk(_: &Slot, task: impl FnOnce() -> u64, _: &Table, cause: u32) -> u32 {
    #[unsafe(export_name = "walk_table")]
    #[inline(never)]
    extern "C" fn walk(task: u64, cause: u32) -> u32 {
        let Some(slot) = tree::noted(task) else {
            return 0;
        };
        let table = Address(task).table();
        probe::walk::table(slot, task, &table, cause)
    }
    walk(task(), cause)
}

macro_rules! of_walks {
    ($($name:ident($($argument:ident),*) = $handler:ident, $symbol:literal;)*) => {
        $(
            #[doc = concat!("As [`probe::walk::", stringify!($handler), "`].")]
            #[inline(always)]
            pub fn $name($($argument: u32),*) -> u32 {
                #[unsafe(export_name = $symbol)]
                #[inline(never)]
                extern "C" fn $name($($argument: u32),*) -> u32 {
                    probe::walk::$handler($($argument),*)
                }
                $name($($argument),*)
            }
        )*
    };
}

of_walks! {
    walk_block(which, block, what) = block, "walk_block";
    walk_word(which, word, what) = word, "walk_word";
    walk_part(which, index, is_empty) = part, "walk_part";
}

/// As [`probe::file::found`].
#[inline(always)]
pub fn found(_: &Slot, task: impl FnOnce() -> u64, _: &Table, op: Op, fd: u32) {
    #[unsafe(export_name = "file_found")]
    #[inline(never)]
    extern "C" fn found(task: u64, op: u32, fd: u32) -> u64 {
        if let Some(slot) = tree::noted(task) {
            let table = table_at(task);
            probe::file::found(slot, &table, Op(op as u8), fd);
        }
        0
    }
    found(task(), u32::from(op.0), fd);
}

/// As [`probe::call::tell`].
#[inline(never)]
pub fn tell(slot: &mut Slot, told: &Told) {
    probe::call::tell(slot, told);
}

/// As [`kernel::identify`].
///
/// # Safety
/// `out` must be writable for a [`FileIdentity`].
#[inline(never)]
pub unsafe fn identify(facts: &FileFacts, detail: Detail, out: *mut FileIdentity) {
    // SAFETY: by contract.
    unsafe { kernel::identify(facts, detail, out) };
}

/// As [`probe::socket::ends_of`].
///
/// # Safety
/// Both must be writable.
#[inline(never)]
pub unsafe fn ends_of(socket: u64, local: *mut Endpoint, peer: *mut Endpoint) {
    // SAFETY: by contract.
    unsafe { probe::socket::ends_of(socket, local, peer) };
}

/// As [`emit::lost_of`].
#[inline(never)]
pub fn lost_of(family: u32, vital: u32, slot: &Slot) {
    emit::lost_of(family, vital, slot);
}

/// As [`emit::head`].
///
/// # Safety
/// `header` must be writable.
#[inline(never)]
pub unsafe fn head(header: *mut Header, shape: u32, slot: &Slot, seq: u64, next_fd: u32) -> u32 {
    // SAFETY: by contract.
    unsafe { emit::head(header, shape, slot, seq, next_fd) }
}

/// Room for a path, and what is known of it.
#[repr(C)]
pub struct Path {
    text: TextRef,
    reserved: u32,
    bytes: [u8; LONGEST],
}

/// The longest area that there is for a path.
const LONGEST: usize = 8192;

/// The kernel's path: see [`probe::path::walk`]. It is written to a map first, of this CPU, by
/// a function that needs no pointer: programs on tracepoints do not interrupt each other there, and
/// those in interrupts have no paths.
///
/// # Safety
/// `out` must be writable for `AREA` bytes, `text` be in a record.
#[inline(always)]
pub unsafe fn path<const AREA: usize>(dentry: u64, mnt: u64, out: *mut u8, text: *mut TextRef) {
    #[unsafe(export_name = "path_walk")]
    #[inline(never)]
    extern "C" fn walk(dentry: u64, mnt: u64) -> u64 {
        if let Some(path) = maps::PATH.get_ptr_mut(0) {
            // SAFETY: a map value of this CPU.
            unsafe {
                let out = (&raw mut (*path).bytes).cast();
                probe::path::walk::<LONGEST>(dentry, mnt, out, &raw mut (*path).text);
            }
        }
        0
    }
    walk(dentry, mnt);
    // SAFETY: by contract; a map value of this CPU, which has more bytes than an area.
    unsafe {
        (*text).len = 0;
        (*text).kind = text_kind::WALK;
        (*text).flags = text_flag::TRUNCATED;
        let Some(path) = maps::PATH.get_ptr(0) else {
            return;
        };
        bpf_probe_read_kernel(out.cast(), AREA as u32, (&raw const (*path).bytes).cast());
        let len = core::ptr::read_volatile(&raw const (*path).text.len);
        if usize::from(len) > AREA {
            return;
        }
        (*text).len = len;
        (*text).flags = core::ptr::read_volatile(&raw const (*path).text.flags);
    }
}

/// As [`probe::appear::step`].
#[inline(always)]
pub fn appear_step(index: u32) {
    #[unsafe(export_name = "appear_step")]
    #[inline(never)]
    extern "C" fn step(index: u32) -> u64 {
        if let Some(slot) = tree::noted(tree::current()) {
            probe::appear::step(slot, index);
        }
        0
    }
    step(index);
}

/// As [`probe::scope::entry`].
#[inline(always)]
pub fn scope_entry(place: u64) -> u64 {
    #[unsafe(export_name = "scope_entry")]
    #[inline(never)]
    extern "C" fn entry(place: u64) -> u64 {
        probe::scope::entry(place)
    }
    entry(place)
}
