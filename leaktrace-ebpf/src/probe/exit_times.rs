//! When the kernel's functions of exit are entered and left, where programs can be there (fentry, fexit).
//!
//! A thread that ends notes the times in its slot; of the last one they are told. They are kept where a
//! call keeps what it needs: none is made any more.

use leaktrace_common::record::{Family, exit::ExitTimes, kind};

use crate::{
    emit::{self, HEADER, Position},
    kernel::{offset, read},
    tree::{self, Slot, process_flag},
};

/// The places in [`ExitTimes`], and the bits in [`Slot::exit_times`] of those that are noted.
pub mod time {
    pub const UNMAP_BEGAN: usize = 0;
    pub const UNMAP_ENDED: usize = 1;
    pub const FILES_BEGAN: usize = 2;
    pub const FILES_ENDED: usize = 3;
}

/// A function is entered or left. An address space also goes where a program is replaced by another,
/// which is no exit.
#[inline(always)]
pub fn note<const TIME: usize>() {
    let Some(slot) = tree::own_slot() else {
        return;
    };
    let flags: u32 = read(tree::current(), offset!(task_flags));
    if flags & process_flag::EXITING == 0 {
        return;
    }
    // SAFETY: all of the room is numbers.
    unsafe { slot.room.taken[TIME] = emit::now() };
    slot.exit_times |= 1 << TIME;
}

/// Nothing is left to be released.
#[inline(always)]
pub fn tell() {
    const SIZE: usize = HEADER + size_of::<ExitTimes>();
    let Some(slot) = tree::own_slot() else {
        return;
    };
    let signal: u64 = read(tree::current(), offset!(task_signal));
    let live: i32 = read(signal, offset!(signal_live));
    if live > 0 || slot.exit_times == 0 {
        return;
    }
    let record = emit::reserve::<SIZE>(Family::Exit);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<ExitTimes>();
        (*payload).unmap_began_ns = noted::<{ time::UNMAP_BEGAN }>(slot);
        (*payload).unmap_ended_ns = noted::<{ time::UNMAP_ENDED }>(slot);
        (*payload).files_began_ns = noted::<{ time::FILES_BEGAN }>(slot);
        (*payload).files_ended_ns = noted::<{ time::FILES_ENDED }>(slot);
        emit::finish(record, kind::EXIT_TIMES, SIZE, slot, Position::default());
    }
}

#[inline(always)]
fn noted<const TIME: usize>(slot: &Slot) -> u64 {
    match slot.exit_times & 1 << TIME {
        0 => 0,
        // SAFETY: all of the room is numbers.
        _ => unsafe { slot.room.taken[TIME] },
    }
}
