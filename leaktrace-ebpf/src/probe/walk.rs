//! The walk of an fd table: what is in it is the kernel's own word.

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
    maps::{LAST_WALK, count_fault},
    once, rounds,
    tree::Slot,
};

const SIZE: usize = HEADER + size_of::<FdWalk>();

/// Bytes before the entries.
const HEAD: usize = size_of::<FdWalk>() - WALK_LEN * size_of::<WalkEntry>();

/// bpf_loop goes round 2^23 times at most (BPF_MAX_LOOPS in include/linux/bpf.h), four times for
/// each word: more numbers than fs.nr_open has by default by a factor of 128.
const MOST_WORDS: u32 = 1 << 21;

struct State {
    slot: *const Slot,
    fds: u64,
    open: u64,
    cloexec: u64,
    total: u32,
    walk: u32,
    sharers: u32,
    seq: u64,
    next_fd: u32,
    cause: u16,
    sent: u16,
}

/// Sends the whole table. Returns the number of the walk.
#[inline(always)]
pub fn table(slot: &Slot, table: &Table, cause: u32) -> u32 {
    let walk = LAST_WALK.next() as u32;
    let mut state = State {
        slot,
        fds: table.fds,
        open: table.open,
        cloexec: table.cloexec,
        total: 0,
        walk,
        cause: cause as u16,
        sharers: read(table.files, offset!(files_count)),
        seq: emit::next_seq(slot),
        next_fd: table.next_fd,
        sent: 0,
    };
    let mut words = table.max_fds / 64;
    if words > MOST_WORDS {
        words = MOST_WORDS;
        count_fault(fault::WALK_CUT);
    }
    let context: *mut State = &raw mut state;
    // SAFETY: the context is what the steps take.
    unsafe {
        rounds::go::<MOST_WORDS, _>(words, count_word, context);
        rounds::go::<{ 4 * MOST_WORDS }, _>(words * 4, send_part, context);
        if (*context).sent == 0 {
            (*context).open = 0;
            send(&mut *context, 0, 0);
        }
    }
    walk
}

extern "C" fn count_word(index: u64, state: *mut State) -> i64 {
    // SAFETY: it is what `table` gave.
    let state = unsafe { &mut *state };
    let word: u64 = read(state.open.wrapping_add((index & 0xff_ffff) * 8), 0);
    state.total = state.total.wrapping_add(ones(word));
    0
}

extern "C" fn send_part(index: u64, state: *mut State) -> i64 {
    // SAFETY: it is what `table` gave.
    let state = unsafe { &mut *state };
    let index = index & 0xff_ffff;
    let mask: u16 = read(state.open.wrapping_add(index * 2), 0);
    if mask != 0 {
        send(state, index as u32 * WALK_LEN as u32, mask);
    }
    0
}

#[inline(always)]
fn send(state: &mut State, base: u32, mask: u16) {
    state.sent = 1;
    // Behind the record proper is room to work in: the stack is short this deep.
    let cause = &raw const state.cause;
    // Read anew where it is needed: what is kept is on the stack.
    // SAFETY: the caller's state.
    let was_asked = || unsafe { core::ptr::read_volatile(cause) } == walk_cause::ITERATOR as u16;
    let record = emit::reserve_part::<{ SIZE + size_of::<FileRoom>() }>(
        // SAFETY: the caller's slot.
        unsafe { &*state.slot },
        was_asked,
    );
    if record.is_null() {
        return;
    }
    let cloexec: u16 = if mask == 0 {
        0
    } else {
        read(state.cloexec.wrapping_add(u64::from(base / 8)), 0)
    };
    let mut part = Part {
        entries: record.wrapping_add(HEADER + HEAD).cast(),
        room: record.wrapping_add(SIZE).cast(),
        fds: state.fds.wrapping_add(u64::from(base) * 8),
        mask: u64::from(mask),
        seen: 0,
    };
    let context: *mut Part = &raw mut part;
    // SAFETY: the record has room for header and payload; the context is what the step takes.
    unsafe {
        // A loop of the kernel's: the verifier looks at its body once, not WALK_LEN times.
        rounds::go::<{ WALK_LEN as u32 }, _>(WALK_LEN as u32, entry, context);
        let payload = record.add(HEADER).cast::<FdWalk>();
        (*payload).walk = state.walk;
        (*payload).cause = u32::from(state.cause);
        (*payload).base = base;
        (*payload).total = state.total;
        (*payload).sharers = state.sharers;
        (*payload).cloexec = cloexec;
        (*payload).mask = core::ptr::read_volatile(&raw const (*context).seen) as u16;
        let position = Position {
            seq: state.seq,
            next_fd: state.next_fd,
        };
        let kind = if was_asked() {
            kind::FD_REWALK
        } else {
            kind::FD_WALK
        };
        emit::finish(record, kind, SIZE, &*state.slot, position);
    }
}

struct Part {
    entries: *mut WalkEntry,
    room: *mut FileRoom,
    fds: u64,
    mask: u64,
    seen: u64,
}

extern "C" fn entry(index: u64, part: *mut Part) -> i64 {
    // SAFETY: it is what `send` gave.
    let part = unsafe { &mut *part };
    let index = index & (WALK_LEN as u64 - 1);
    if part.mask >> index & 1 == 0 {
        return 0;
    }
    part.seen |= 1 << index;
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
