//! The walk of an fd table, where there is no bpf_loop: see `walk`.
//!
//! The verifier goes through a loop round by round, but through a function that takes numbers once
//! (see `once`): the loops are in three of those, one in the other, and what they share is in a map.

use leaktrace_common::abi::fault;
use leaktrace_common::record::{
    file::{FdWalk, WALK_LEN, WalkEntry, walk_cause},
    kind,
};

use crate::{
    emit::{self, HEADER, Position},
    kernel::{
        Detail, FileRoom, IO_URING, Table, credentials, file_facts_by, in_flight, offset, ones,
        read,
    },
    maps::{FOUND_TABLE, LAST_WALK, WALKS, count_fault},
    once, rounds,
    tree::{self, Slot},
};

const SIZE: usize = HEADER + size_of::<FdWalk>();

/// Bytes before the entries.
const HEAD: usize = size_of::<FdWalk>() - WALK_LEN * size_of::<WalkEntry>();

/// Words of a table that one function goes through, and how often it does: a million numbers, as
/// many as fs.nr_open allows by default.
const WORDS: u32 = 128;
const BLOCKS: u32 = 128;

/// A walk that is going on.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Walking {
    task: u64,
    fds: u64,
    open: u64,
    cloexec: u64,
    seq: u64,
    total: u64,
    words: u32,
    walk: u32,
    sharers: u32,
    next_fd: u32,
    cause: u32,
    sent: u32,
}

/// The walk of this CPU: one of the tracepoints' programs, or of an iterator, which they may
/// interrupt.
#[inline(always)]
fn walking(which: u32) -> Option<&'static mut Walking> {
    // SAFETY: a map value of this CPU.
    WALKS
        .get_ptr_mut(which & 1)
        .map(|walking| unsafe { &mut *walking })
}

/// Sends the whole table of a task. Returns the number of the walk.
#[inline(always)]
pub fn table(slot: &Slot, task: u64, table: &Table, cause: u32) -> u32 {
    let is_iterator = cause == walk_cause::ITERATOR;
    let which = u32::from(is_iterator);
    let walk = if is_iterator {
        FOUND_TABLE.next() as u32
    } else {
        LAST_WALK.next() as u32
    };
    let Some(state) = walking(which) else {
        return 0;
    };
    let mut words = table.max_fds / 64;
    if words > WORDS * BLOCKS {
        words = WORDS * BLOCKS;
        count_fault(fault::WALK_CUT);
    }
    *state = Walking {
        task,
        fds: table.fds,
        open: table.open,
        cloexec: table.cloexec,
        seq: emit::next_seq(slot),
        total: 0,
        words,
        walk,
        sharers: read(table.files, offset!(files_count)),
        next_fd: table.next_fd,
        cause,
        sent: 0,
    };
    // Counted first: every part tells how many there are.
    blocks(which, COUNT);
    blocks(which, SEND);
    // SAFETY: a map value; the parts have written to it.
    if unsafe { core::ptr::read_volatile(&raw const state.sent) } == 0 {
        once::walk_part(which, 0, 1);
    }
    walk
}

/// What is done with the words of a table.
const COUNT: u32 = 0;
const SEND: u32 = 1;

#[inline(always)]
fn blocks(which: u32, what: u32) {
    let mut index = 0;
    while index < BLOCKS && once::walk_block(which, index, what) == 0 {
        index += 1;
    }
}

/// Goes through a block of the table. What is looked at is in the function that it calls: there the
/// verifier does not see which round it is. Gives 1 behind the end.
#[inline(always)]
pub fn block(which: u32, block: u32, what: u32) -> u32 {
    let mut index = 0;
    while index < WORDS {
        if once::walk_word(which, block.wrapping_mul(WORDS).wrapping_add(index), what) != 0 {
            return 1;
        }
        index += 1;
    }
    0
}

/// Counts or sends a word of the table. Gives 1 behind the end.
#[inline(always)]
pub fn word(which: u32, word: u32, what: u32) -> u32 {
    let Some(state) = walking(which) else {
        return 1;
    };
    if word >= state.words {
        return 1;
    }
    let bits: u64 = read(state.open.wrapping_add(u64::from(word) * 8), 0);
    if what == COUNT {
        state.total = state.total.wrapping_add(u64::from(ones(bits)));
    } else if bits != 0 {
        once::walk_part(which, word * 4, 0);
        once::walk_part(which, word * 4 + 1, 0);
        once::walk_part(which, word * 4 + 2, 0);
        once::walk_part(which, word * 4 + 3, 0);
    }
    0
}

/// Sends sixteen numbers of the table, if there is anything among them, or word that there is
/// nothing in the whole.
#[inline(always)]
pub fn part(which: u32, index: u32, is_empty: u32) -> u32 {
    let Some(state) = walking(which) else {
        return 1;
    };
    let Some(slot) = tree::noted(state.task) else {
        return 1;
    };
    let mut mask: u16 = 0;
    let mut cloexec: u16 = 0;
    if is_empty == 0 {
        mask = read(state.open.wrapping_add(u64::from(index) * 2), 0);
        if mask == 0 {
            return 0;
        }
        cloexec = read(state.cloexec.wrapping_add(u64::from(index) * 2), 0);
    }
    state.sent = 1;
    let base = index.wrapping_mul(WALK_LEN as u32);
    let was_asked = which != 0;
    // Behind the record proper is room to work in: the stack is short this deep.
    let record = emit::reserve_part::<{ SIZE + size_of::<FileRoom>() }>(slot, || was_asked);
    if record.is_null() {
        return 1;
    }
    // SAFETY: the record has room for header and payload; the context is what the step takes.
    unsafe {
        let payload = record.add(HEADER).cast::<FdWalk>();
        (*payload).mask = 0;
        let mut part = Part {
            entries: record.wrapping_add(HEADER + HEAD).cast(),
            room: record.wrapping_add(SIZE).cast(),
            fds: state.fds.wrapping_add(u64::from(base) * 8),
            mask: u64::from(mask),
            seen: &raw mut (*payload).mask,
        };
        rounds::go::<{ WALK_LEN as u32 }, _>(WALK_LEN as u32, entry, &raw mut part);
        (*payload).walk = state.walk;
        (*payload).cause = state.cause;
        (*payload).base = base;
        (*payload).total = state.total as u32;
        (*payload).sharers = state.sharers;
        (*payload).cloexec = cloexec;
        let position = Position {
            seq: state.seq,
            next_fd: state.next_fd,
        };
        let kind = if was_asked {
            kind::FD_REWALK
        } else {
            kind::FD_WALK
        };
        emit::finish(record, kind, SIZE, slot, position);
    }
    0
}

struct Part {
    entries: *mut WalkEntry,
    room: *mut FileRoom,
    fds: u64,
    mask: u64,
    /// In the record, whose bytes the verifier does not follow.
    seen: *mut u16,
}

extern "C" fn entry(index: u64, part: *mut Part) -> i64 {
    // SAFETY: it is what `part` gave.
    let part = unsafe { &mut *part };
    if part.mask >> index & 1 == 0 {
        return 0;
    }
    // SAFETY: in the record.
    unsafe {
        let seen = core::ptr::read_volatile(part.seen);
        core::ptr::write_volatile(part.seen, seen | 1 << index);
    }
    let file: u64 = read(part.fds.wrapping_add(index * 8), 0);
    if file == 0 {
        // Reserved: another thread is in the middle of an open.
        // SAFETY: the index is below the number of entries.
        unsafe { (*part.entries.add(index as usize)).identity.file = 0 };
        return 0;
    }
    // SAFETY: the room is in the record; the index is below the number of entries.
    unsafe {
        let facts = file_facts_by(file, &mut *part.room);
        let out = part.entries.add(index as usize);
        once::identify(&facts, Detail::Full, &raw mut (*out).identity);
        (*out).open_flags = facts.flags;
        (*out).cred = credentials(file, u32::from((*out).identity.count));
        let detail = &raw mut (*out).identity.detail;
        if *detail.cast::<u64>() == IO_URING {
            *detail.cast::<u32>().add(3) = in_flight(facts.private_data);
        }
    }
    0
}
