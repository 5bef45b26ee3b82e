//! Writing records into the ring.
//!
//! A record is reserved by size class, filled in place and submitted; no scratch memory is
//! shared with other programs, which may run in between. The time is taken after the ring gave
//! room, so that the order in the ring is the order of times on one CPU.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{
        bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ringbuf_discard, bpf_ringbuf_query,
        bpf_ringbuf_reserve, bpf_ringbuf_submit,
    },
};
use aya_log_ebpf::debug;
use leaktrace_common::{
    abi::{FamilyCount, fault},
    record::{FAMILY_SLOTS, Family, Header, header_flag},
};

use crate::{
    atomic,
    kernel::Table,
    maps::{COUNTS, DROPPED, RING, SEQUENCES, SPARE, SPARE_BYTES, count_fault, wake_bytes},
    once,
    tree::{self, Slot},
};

/// Size of a header.
pub const HEADER: usize = size_of::<Header>();

/// Now, ns of CLOCK_BOOTTIME.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[inline(always)]
fn ring() -> *mut core::ffi::c_void {
    (&raw const RING).cast_mut().cast()
}

#[inline(always)]
fn spare() -> *mut core::ffi::c_void {
    (&raw const SPARE).cast_mut().cast()
}

/// This CPU's counters of a family.
#[inline(always)]
fn counts(family: u32) -> Option<*mut FamilyCount> {
    // SAFETY: no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
    COUNTS.get_ptr_mut(cpu * FAMILY_SLOTS as u32 + family)
}

/// Counts a record that a program set out to write.
#[inline(always)]
fn produced(family: Family) {
    if let Some(counts) = counts(family as u32) {
        // SAFETY: a map value; programs may interleave on a CPU, hence atomic.
        unsafe { atomic::add(&raw mut (*counts).produced, 1) };
    }
}

/// Counts a record for which there was no room, and marks the task of which it would have told:
/// the next record of that task that comes says so.
#[inline(always)]
pub fn lost_of(family: u32, vital: u32, slot: &Slot) {
    counted(family, vital);
    let mut bits = mark(family);
    if vital != 0 {
        bits |= mark(Family::Name as u32);
    }
    slot.mark(bits);
}

/// The same for the current task.
#[inline(always)]
pub fn lost(family: u32, vital: u32) {
    match tree::own_slot() {
        Some(slot) => lost_of(family, vital, slot),
        None => {
            counted(family, vital);
            count_fault(fault::UNATTRIBUTED);
        }
    }
}

#[inline(never)]
fn counted(family: u32, vital: u32) {
    if let Some(counts) = counts(family) {
        // SAFETY: a map value, as in `produced`.
        unsafe {
            atomic::add(&raw mut (*counts).lost, 1);
            if vital != 0 {
                atomic::add(&raw mut (*counts).vital, 1);
            }
        }
    }
    DROPPED.count();
    debug!((), "ring full: a record of family {} is lost", family);
}

/// The bit of [`Slot::lost`] for a family; a header has it in the same place.
#[inline(always)]
const fn mark(family: u32) -> u64 {
    1 << ((header_flag::LOST_SHIFT as u32 + family) & 63)
}

/// Room for a record of `SIZE` bytes, or null, which is counted as lost.
#[inline(always)]
pub fn reserve<const SIZE: usize>(family: Family) -> *mut u8 {
    produced(family);
    reserve_again::<SIZE>(family)
}

/// Room for a record that cannot be replaced: the spare ring has some when the ring has none.
#[inline(always)]
pub fn reserve_vital<const SIZE: usize>(family: Family) -> *mut u8 {
    produced(family);
    reserve_vital_again::<SIZE>(family)
}

/// Room for a record that tells of another task than the current one.
#[inline(always)]
pub fn reserve_of<const SIZE: usize>(family: Family, slot: &Slot) -> *mut u8 {
    produced(family);
    // SAFETY: the ring is a ring buffer map, the size a constant.
    let record = unsafe { bpf_ringbuf_reserve(ring(), SIZE as u64, 0) }.cast::<u8>();
    if record.is_null() {
        once::lost_of(family as u32, 0, slot);
    }
    record
}

/// As [`reserve_again`], for a record that cannot be replaced.
#[inline(always)]
pub fn reserve_vital_again<const SIZE: usize>(family: Family) -> *mut u8 {
    // SAFETY: ring buffer maps, the size a constant.
    let mut record = unsafe { bpf_ringbuf_reserve(ring(), SIZE as u64, 0) }.cast::<u8>();
    if record.is_null() {
        // SAFETY: as above.
        record = unsafe { bpf_ringbuf_reserve(spare(), SIZE as u64, 0) }.cast::<u8>();
        if record.is_null() {
            once::lost(family as u32, 1);
        }
    }
    record
}

/// Room for a record that is asked for again if there is none: nothing is lost then.
#[inline(always)]
pub fn reserve_if_room<const SIZE: usize>(family: Family) -> *mut u8 {
    // SAFETY: the ring is a ring buffer map, the size a constant.
    let record = unsafe { bpf_ringbuf_reserve(ring(), SIZE as u64, 0) }.cast::<u8>();
    if !record.is_null() {
        produced(family);
    }
    record
}

/// Marks a task of which a record was lost that told of a new name.
#[inline(always)]
pub fn name_lost(slot: &Slot) {
    slot.mark(mark(Family::Name as u32));
}

/// Room for a part of a walk. What it tells can be read again, so it takes no more than half of
/// the spare ring. A part of a walk that leaktrace asked for is not of the watched program's
/// doing: it counts as a record of tasks if it comes, and if it does not, the task is marked, so
/// that it is asked for again, and nothing is lost.
#[inline(always)]
pub fn reserve_part<const SIZE: usize>(slot: &Slot, was_asked: impl Fn() -> bool) -> *mut u8 {
    // SAFETY: ring buffer maps, the size a constant; flag 0 asks for the bytes that wait.
    let mut record = unsafe { bpf_ringbuf_reserve(ring(), SIZE as u64, 0) }.cast::<u8>();
    if record.is_null() {
        // SAFETY: as above.
        unsafe {
            if bpf_ringbuf_query(spare(), 0) < SPARE_BYTES / 2 {
                record = bpf_ringbuf_reserve(spare(), SIZE as u64, 0).cast::<u8>();
            }
        }
    }
    // Two calls: with the test as an argument the verifier of 6.1 loses what became of the record.
    if record.is_null() {
        part_counted(slot, true, was_asked());
        return record;
    }
    part_counted(slot, false, was_asked());
    record
}

#[inline(never)]
fn part_counted(slot: &Slot, is_lost: bool, was_asked: bool) {
    // Where tasks are not marked the loss is told as such.
    if was_asked && !(is_lost && cfg!(feature = "reduced")) {
        if is_lost {
            slot.mark(mark(Family::File as u32));
        } else {
            produced(Family::Task);
        }
    } else {
        produced(Family::File);
        if is_lost {
            once::lost_of(Family::File as u32, 0, slot);
        }
    }
}

/// Room for a record in the place of one that was too small and has been discarded: it is
/// counted already. Null is counted as lost.
#[inline(always)]
pub fn reserve_again<const SIZE: usize>(family: Family) -> *mut u8 {
    // SAFETY: the ring is a ring buffer map, the size a constant.
    let record = unsafe { bpf_ringbuf_reserve(ring(), SIZE as u64, 0) }.cast::<u8>();
    if record.is_null() {
        once::lost(family as u32, 0);
    }
    record
}

/// Gives room back without a record.
///
/// # Safety
/// `record` must come from [`reserve`] and not be used afterwards.
#[inline(always)]
pub unsafe fn discard(record: *mut u8) {
    // SAFETY: by contract.
    unsafe { bpf_ringbuf_discard(record.cast(), u64::from(BPF_RB_NO_WAKEUP)) };
}

/// Gives room back of which nothing has to be told after all: the record is counted no more.
///
/// # Safety
/// As for [`discard`].
#[inline(always)]
pub unsafe fn withdraw(family: Family, record: *mut u8) {
    // SAFETY: by contract.
    unsafe { discard(record) };
    if let Some(counts) = counts(family as u32) {
        // SAFETY: a map value, as in `produced`; the addition wraps.
        unsafe { atomic::add(&raw mut (*counts).produced, u64::MAX) };
    }
}

/// What a header tells of the fd table.
#[derive(Clone, Copy, Default)]
pub struct Position {
    pub seq: u64,
    pub next_fd: u32,
}

/// Fills the header and hands the record to the reader. The reader is woken when enough has
/// gathered; it also looks by itself every few milliseconds.
///
/// # Safety
/// `record` must come from [`reserve`], have room for at least a header, and not be used
/// afterwards.
#[inline(always)]
pub unsafe fn finish(record: *mut u8, kind: u16, len: usize, slot: &Slot, position: Position) {
    let shape = u32::from(kind) << 16 | len as u32 & 0xffff;
    // SAFETY: by contract.
    unsafe {
        let flags = once::head(record.cast(), shape, slot, position.seq, position.next_fd);
        bpf_ringbuf_submit(record.cast(), u64::from(flags));
    }
}

/// Fills a header. Gives the flags by which its record is to be submitted.
///
/// # Safety
/// `header` must be writable.
#[inline(always)]
pub unsafe fn head(header: *mut Header, shape: u32, slot: &Slot, seq: u64, next_fd: u32) -> u32 {
    // SAFETY: by contract. A ring buffer map; flag 0 asks for the bytes that wait.
    unsafe {
        (*header).len = shape as u16;
        (*header).kind = (shape >> 16) as u16;
        (*header).cpu = bpf_get_smp_processor_id() as u16;
        (*header).flags = slot.flags as u16;
        // This record comes for sure, so it takes the marks along.
        if slot.is_marked() {
            (*header).flags = slot.flags as u16 | slot.take_marks() as u16;
        }
        (*header).dropped = DROPPED.get() as u32;
        (*header).pid = slot.pid;
        (*header).tid = slot.tid;
        (*header).ns_pid = slot.ns_pid;
        (*header).start_ns = slot.start_ns;
        (*header).table = slot.table;
        (*header).next_fd = next_fd;
        (*header).seq = seq;
        (*header).time_ns = now();
        let waiting = bpf_ringbuf_query(ring(), 0);
        let wake = u64::from(wake_bytes());
        // Only while the amount passes the threshold: a reader that is behind is awake already.
        if waiting >= wake && waiting < wake + (16 << 10) {
            BPF_RB_FORCE_WAKEUP
        } else {
            BPF_RB_NO_WAKEUP
        }
    }
}

/// The next number in the sequence of a task's fd table.
#[inline(always)]
pub fn next_seq(slot: &Slot) -> u64 {
    match SEQUENCES.get_ptr_mut(slot.table & (leaktrace_common::abi::TABLE_SLOTS - 1)) {
        // SAFETY: a map value of that type, used atomically everywhere.
        Some(sequence) => unsafe { atomic::next(sequence) },
        None => 0,
    }
}

/// Position of a change of the table made now.
#[inline(always)]
pub fn position(slot: &Slot, table: &Table) -> Position {
    Position {
        seq: next_seq(slot),
        next_fd: table.next_fd,
    }
}
