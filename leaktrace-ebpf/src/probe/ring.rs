//! io_uring.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::{
    abi::{NO_OFFSET, Op, fault},
    record::{
        Family,
        call::Call,
        kind,
        ring::{RingExit, RingSetup, RingState, ring_exit},
        task::taint,
    },
};

use super::{Arguments, call, call::file_of, file, path};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{Detail, in_flight, offset, ones, read},
    maps::{RING_OPERATIONS, RINGS, count_fault},
    once, rounds,
    tree::{self, Slot, flag},
};

/// IORING_SETUP_SQPOLL.
const SQPOLL: u32 = 1 << 1;

/// io_uring_setup returned. `struct io_uring_params` begins with sq_entries, cq_entries and
/// flags, which the kernel has filled in (include/uapi/linux/io_uring.h).
#[inline(always)]
pub fn setup(slot: &mut Slot, params: u64, result: i64) {
    const SIZE: usize = HEADER + size_of::<RingSetup>();
    let Some((table, facts)) = file::returned(slot, result) else {
        return;
    };
    RING_OPERATIONS.set(read(facts.file, offset!(file_op)));
    tell_state(slot, facts.private_data, facts.file);
    follow(facts.private_data);
    let record = emit::reserve::<SIZE>(Family::Ring);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both; three words are read to where three words are.
    unsafe {
        let payload = record.add(HEADER).cast::<RingSetup>();
        let fd = &raw mut (*payload).fd;
        file::fill(
            fd,
            &facts,
            Op::IO_URING_SETUP,
            result as i32,
            -1,
            Detail::Basic,
        );
        (*fd).area = 0;
        path::none(&raw mut (*fd).text);
        (*payload).reserved = 0;
        bpf_probe_read_user(
            (&raw mut (*payload).sq_entries).cast(),
            12,
            params as *const _,
        );
        emit::finish(
            record,
            kind::RING_SETUP,
            SIZE,
            slot,
            emit::position(slot, &table),
        );
    }
    // The thread that polls is none of the process's where a submission comes without its request
    // (kernels before 5.12, fs/io_uring.c): what it is asked for nobody sees.
    if cfg!(feature = "reduced") && offset!(uring_submit_arguments) == 5 {
        let mut flags = 0u32;
        // SAFETY: the destination is four bytes.
        unsafe {
            bpf_probe_read_user((&raw mut flags).cast(), 4, (params + 8) as *const _);
        }
        if flags & SQPOLL != 0 {
            once::task::taint(slot, taint::RING_NAMES, flag::RING_NAMES);
        }
    }
}

/// Buffers of one registration that are told.
const BUFFERS: u64 = 64;

/// IORING_REGISTER_BUFFERS, IORING_UNREGISTER_BUFFERS, IORING_REGISTER_BUFFERS2
/// (include/uapi/linux/io_uring.h).
const REGISTER_BUFFERS: u32 = 0;
const UNREGISTER_BUFFERS: u32 = 1;
const REGISTER_BUFFERS2: u32 = 15;

/// io_uring_register returned: buffers came or went.
#[inline(always)]
pub fn register(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    if result < 0 {
        return;
    }
    slot.begin_ns = 0;
    let file = file_of(arguments.a0());
    tell_state(slot, read(file, offset!(file_private_data)), file);
    let argument = arguments.a2();
    let (first, count) = match arguments.a1() as u32 {
        REGISTER_BUFFERS => (argument, arguments.a3() & 0xffff_ffff),
        // `struct io_uring_rsrc_register`: nr, flags, resv2, data, tags.
        REGISTER_BUFFERS2 => (
            call::user(argument.wrapping_add(16)),
            call::user(argument) & 0xffff_ffff,
        ),
        UNREGISTER_BUFFERS => {
            buffer(slot, file, 0, 0);
            return;
        }
        _ => return,
    };
    let mut context = Buffers {
        slot,
        file,
        first,
        count,
    };
    // SAFETY: the context is what the step takes.
    unsafe {
        rounds::go::<{ BUFFERS as u32 }, _>(BUFFERS as u32, one_buffer, &raw mut context);
    }
}

struct Buffers {
    slot: *mut Slot,
    file: u64,
    first: u64,
    count: u64,
}

extern "C" fn one_buffer(index: u64, context: *mut Buffers) -> i64 {
    // SAFETY: it is what `register` gave.
    let context = unsafe { &mut *context };
    if index >= context.count {
        return 1;
    }
    // `struct iovec`: address, length.
    let place = context.first.wrapping_add((index & 0xffff) * 16);
    let (address, len) = (call::user(place), call::user(place.wrapping_add(8)));
    if address != 0 {
        // SAFETY: the slot lives as long as the task, which is in this call.
        buffer(unsafe { &mut *context.slot }, context.file, address, len);
    }
    0
}

/// One buffer was registered; address 0: all of them were taken back.
#[inline(always)]
fn buffer(slot: &mut Slot, file: u64, address: u64, len: u64) {
    once::ring::tell(slot, Op::IO_URING_REGISTER, file, address, len);
}

#[inline(always)]
pub fn tell(slot: &Slot, op: Op, file: u64, argument: u64, value: u64) {
    const SIZE: usize = HEADER + size_of::<Call>();
    let record = emit::reserve::<SIZE>(Family::Ring);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Call>();
        (*payload).begin_ns = slot.begin_ns;
        (*payload).result = 0;
        (*payload).arguments = [0, 0, argument, 0];
        (*payload).file = file;
        (*payload).value = value;
        (*payload).interval = 0;
        (*payload).op = op.0;
        (*payload).flags = 0;
        (*payload).reserved = [0; 6];
        let kind = (Family::Ring as u16) << 8 | kind::CALL;
        emit::finish(record, kind, SIZE, slot, Position::default());
    }
}

/// An fd is about to be closed: if it is a ring, how many requests are in flight. Costs one load
/// until somebody has made a ring.
#[inline(always)]
pub fn closing(slot: &mut Slot) {
    let rings = RING_OPERATIONS.get();
    if rings != 0 && slot.before != 0 {
        once::ring::closing_file(slot, rings);
    }
}

#[inline(always)]
pub fn closing_file(slot: &mut Slot, rings: u64) {
    let file = slot.before;
    let operations: u64 = read(file, offset!(file_op));
    if operations == rings {
        let in_flight = in_flight(read(file, offset!(file_private_data)));
        if in_flight != 0 {
            once::ring::tell(slot, Op::CLOSE, file, 0, u64::from(in_flight));
        }
    }
}

/// From here on the ring's end is followed: its memory holds the work that waits for the
/// requests in flight once the last reference has gone (io_ring_ctx_wait_and_kill in
/// io_uring/io_uring.c).
#[inline(always)]
fn follow(ring: u64) {
    let place = offset!(ring_exit_work);
    if place == NO_OFFSET || ring == 0 {
        return;
    }
    // Looked up again: a map takes a value from a map or from the stack only (up to v6.4,
    // map_key_value_types in kernel/bpf/verifier.c).
    let Some(slot) = tree::slot_of(tree::current()) else {
        return;
    };
    if RINGS.insert(ring + u64::from(place), slot, 0).is_err() {
        count_fault(fault::RING_NOT_FOLLOWED);
    }
}

/// A work was queued, or has ended: of interest if it is the end of a ring that is followed.
#[inline(always)]
pub fn work(work: u64, phase: u32) {
    const SIZE: usize = HEADER + size_of::<RingExit>();
    let Some(maker) = RINGS.get_ptr(work) else {
        return;
    };
    let record = emit::reserve::<SIZE>(Family::Ring);
    if !record.is_null() {
        // SAFETY: the record has room for both; the element goes only below, and nobody else
        // removes it: a work ends once.
        unsafe {
            let payload = record.add(HEADER).cast::<RingExit>();
            (*payload).ring = work - u64::from(offset!(ring_exit_work));
            (*payload).phase = phase;
            (*payload).reserved = 0;
            emit::finish(record, kind::RING_EXIT, SIZE, &*maker, Position::default());
        }
    }
    if phase == ring_exit::ENDED {
        let _ = RINGS.remove(work);
    }
}

/// A ring has gone, seen by itself.
#[inline(always)]
pub fn gone(ring: u64) {
    let place = offset!(ring_exit_work);
    if place != NO_OFFSET {
        work(ring.wrapping_add(u64::from(place)), ring_exit::ENDED);
    }
}

/// Words of the bitmap of a ring's own table that are counted: 32768 slots, as many as there can
/// be (IORING_MAX_FIXED_FILES in io_uring/rsrc.h is 1 << 20, tables of that length are cut).
const WORDS: u32 = 512;

struct Count {
    bitmap: u64,
    slots: u32,
    direct: u32,
}

/// As [`state`], where it can be told: the loop is too long for a verifier that goes through it round
/// by round.
#[inline(always)]
fn tell_state(slot: &mut Slot, ring: u64, file: u64) {
    if !cfg!(feature = "reduced") {
        once::ring::state(slot, ring, file);
    }
}

/// Tells what a ring has registered. `file` 0: which ring it is has been told.
#[inline(always)]
pub fn state(slot: &Slot, ring: u64, file: u64) {
    const SIZE: usize = HEADER + size_of::<RingState>();
    let slots: u32 = read(ring, offset!(ring_files_count));
    let mut count = Count {
        bitmap: read(ring, offset!(ring_files)),
        slots,
        direct: 0,
    };
    let context: *mut Count = &raw mut count;
    // SAFETY: the context is what the step takes.
    unsafe {
        rounds::go::<WORDS, _>(WORDS, count_word, context);
    }
    let record = emit::reserve::<SIZE>(Family::Ring);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<RingState>();
        (*payload).ring = ring;
        (*payload).file = file;
        (*payload).direct = core::ptr::read_volatile(&raw const (*context).direct);
        (*payload).slots = slots;
        (*payload).buffers = read(ring, offset!(ring_buffers_count));
        (*payload).reserved = 0;
        emit::finish(record, kind::RING_STATE, SIZE, slot, Position::default());
    }
}

extern "C" fn count_word(index: u64, count: *mut Count) -> i64 {
    // SAFETY: it is what `state` gave.
    let count = unsafe { &mut *count };
    let first = (index as u32 & 0xffff) * 64;
    if first >= count.slots {
        return 1;
    }
    let mut word: u64 = read(count.bitmap.wrapping_add(u64::from(first / 8)), 0);
    if count.slots - first < 64 {
        word &= (1 << ((count.slots - first) & 63)) - 1;
    }
    count.direct += ones(word);
    0
}
