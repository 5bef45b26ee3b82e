//! Contexts of aio, io_submit(2) and its kin: how far each is.
//!
//! A context has no count of the requests that are in flight, but it counts completions, modulo
//! the places of its ring, of which there is one more than requests may be in flight. With what
//! io_submit has returned so far that tells how many are.

use leaktrace_common::{
    abi::NO_OFFSET,
    record::{Family, kind, ring::AioState},
};

use crate::{
    emit::{self, HEADER, Position},
    kernel::{offset, read},
    once, rounds,
    tree::{self, Slot},
};

/// Contexts of one process that are told; there may be more, and nothing is known of those.
const CONTEXTS: u32 = 64;

struct Contexts {
    slot: *const Slot,
    table: u64,
    only: u64,
    len: u32,
    cause: u32,
}

/// As [`of`], of the process that makes the call.
#[inline(always)]
pub fn of_current(slot: &mut Slot, only: u64, cause: u32) {
    of(slot, tree::current_mm(), only, cause);
}

/// Tells of the contexts of an address space, or of one of them. Nearly all have none.
#[inline(always)]
pub fn of(slot: &mut Slot, mm: u64, only: u64, cause: u32) {
    let place = offset!(mm_aio);
    // The loop below is too long for a verifier that goes through it round by round.
    if cfg!(feature = "reduced") || place == NO_OFFSET || mm == 0 {
        return;
    }
    let table: u64 = read(mm, place);
    if table != 0 {
        once::aio::states(slot, table, only, cause);
    }
}

#[inline(always)]
pub fn states(slot: &Slot, table: u64, only: u64, cause: u32) {
    let mut contexts = Contexts {
        slot,
        table,
        only,
        len: read(table, offset!(aio_table_len)),
        cause,
    };
    // SAFETY: the context is what the step takes.
    unsafe {
        rounds::go::<CONTEXTS, _>(CONTEXTS, state, &raw mut contexts);
    }
}

extern "C" fn state(index: u64, contexts: *mut Contexts) -> i64 {
    const SIZE: usize = HEADER + size_of::<AioState>();
    // SAFETY: it is what `states` gave; the slot lives as long as its task.
    let (contexts, slot) = unsafe { (&*contexts, &*(*contexts).slot) };
    if index >= u64::from(contexts.len) {
        return 1;
    }
    let place = contexts.table.wrapping_add((index & 0xffff) * 8);
    let context: u64 = read(place, offset!(aio_table));
    let id: u64 = read(context, offset!(aio_id));
    if id == 0 || contexts.only != 0 && contexts.only != id {
        return 0;
    }
    let record = emit::reserve::<SIZE>(Family::Ring);
    if record.is_null() {
        return 1;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<AioState>();
        (*payload).context = id;
        (*payload).entries = read(context, offset!(aio_entries));
        (*payload).tail = read(context, offset!(aio_tail));
        (*payload).cause = contexts.cause;
        (*payload).reserved = 0;
        emit::finish(record, kind::AIO_STATE, SIZE, slot, Position::default());
    }
    0
}
