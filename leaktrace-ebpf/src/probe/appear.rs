//! fds that appear in a table across a call, whatever made them.
//!
//! Many calls make fds without returning them as such: recvmsg (SCM_RIGHTS), ioctl (TIOCGPTPEER,
//! KVM, namespaces, drm), read of a fanotify fd, clone with CLONE_PIDFD. What the table has at
//! entry is compared with what it has at exit: `open_fds` for the numbers 0 to 255, `next_fd` for
//! those above, which grows with every new one there because all numbers below it are taken
//! (alloc_fd in fs/file.c). prctl(2) makes no fd in any version.
//!
//! Other threads make and lose fds meanwhile, and theirs are seen here as well. So what is told
//! is no acquisition but a fact, that a number holds a description, and the model takes it for
//! one only if nothing else has told of it.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::abi::Op;

use super::{Arguments, file, uring};
use crate::{
    kernel::{Chunk, Table, file_at, file_facts, offset, opaque, read, table_at},
    once, rounds,
    tree::{self, Slot},
};

/// include/uapi/linux/sched.h
pub const CLONE_PIDFD: u64 = 0x1000;

/// Numbers that are compared one by one.
const NEAR: u32 = 256;

/// Numbers above [`NEAR`] that are told at most: SCM_RIGHTS passes 253 at a time
/// (SCM_MAX_FD in include/net/scm.h).
const FAR: u32 = 256;

/// Notes what the table has.
#[inline(always)]
pub fn begin(slot: &mut Slot) {
    let table = file::current_table(slot);
    slot.seq = u64::from(table.next_fd);
    slot.room.taken = taken(&table);
    slot.before = 0;
}

/// The first words of `open_fds`. A table has 64 numbers at first.
#[inline(always)]
fn taken(table: &Table) -> [u64; 4] {
    let chunk = Chunk::<4>::read(table.open);
    let word = |index: u32| {
        if table.max_fds > index * 64 {
            chunk.get::<u64>(0, index * 8)
        } else {
            0
        }
    };
    [word(0), word(1), word(2), word(3)]
}

struct State {
    /// Whose table.
    slot: *mut Slot,
    table: *const Table,
}

/// No number.
const NONE: u32 = u32::MAX;

/// Tells what the table has that it had not at entry, or the number that the call returned.
/// What is to be told goes through the slot: the verifier does not follow what is in a map, and
/// looks at what is behind it once, not once for each way here.
#[inline(always)]
pub fn end(slot: &mut Slot, op: Op, result: i64) {
    let table = file::current_table(slot);
    if !op.begins_at_entry() {
        slot.returned = result as u32;
        slot.count = u32::from(result >= 0);
    } else {
        // Where that takes too long the walk at the end tells.
        if op == Op::IO_URING_ENTER && !cfg!(feature = "reduced") {
            vanished(slot, &table);
        }
        compare(slot, &table);
    }
    if slot.count != 0 {
        // No call is in flight any more: the field is free.
        slot.op = u32::from(op.0);
        tell(slot, &table);
        slot.op = 0;
    }
}

/// Tells what the table has under a number, or if that could not be read (negative) what it has
/// that it had not at entry: another task that shares the table may have left the number meanwhile.
#[inline(always)]
pub fn known(slot: &mut Slot, op: Op, fd: i64) {
    let table = file::current_table_by_address(slot);
    if fd < 0 {
        compare(slot, &table);
    } else {
        slot.returned = fd as u32;
        slot.count = 1;
    }
    if slot.count != 0 {
        slot.op = u32::from(op.0);
        tell(slot, &table);
    }
}

// A function of its own, as others here: its frame is gone when something is told.
#[inline(never)]
fn compare(slot: &mut Slot, table: &Table) {
    let now = taken(table);
    // SAFETY: what `begin` left there; any bits are numbers.
    let new = unsafe { &mut slot.room.taken };
    new[0] = now[0] & !new[0];
    new[1] = now[1] & !new[1];
    new[2] = now[2] & !new[2];
    new[3] = now[3] & !new[3];
    let near = new[0] | new[1] | new[2] | new[3];
    let far = u64::from(table.next_fd) > slot.seq && table.next_fd > NEAR;
    slot.returned = NONE;
    slot.count = if near != 0 || far { 1 + NEAR + FAR } else { 0 };
}

#[inline(always)]
fn tell(slot: &mut Slot, table: &Table) {
    let steps = slot.count;
    let mut state = State { slot, table };
    // SAFETY: the context is what the step takes.
    unsafe {
        rounds::go::<{ 1 + NEAR + FAR }, _>(steps, one, &raw mut state);
    }
}

#[cfg(feature = "reduced")]
extern "C" fn one(index: u64, _: *mut State) -> i64 {
    once::appear_step(index as u32);
    0
}

/// One number, by a function of its own.
#[cfg(feature = "reduced")]
#[inline(always)]
pub fn step(slot: &mut Slot, index: u32) {
    let table = table_at(tree::current());
    let fd = number(index, table.next_fd, slot);
    if fd != NONE {
        once::found(slot, tree::current, &table, Op(slot.op as u8), fd);
    }
}

#[cfg(not(feature = "reduced"))]
extern "C" fn one(index: u64, state: *mut State) -> i64 {
    // SAFETY: it is what `tell` gave; the slot lives as long as its task.
    let (slot, table) = unsafe { (&mut *(*state).slot, &*(*state).table) };
    let fd = number(index as u32, table.next_fd, slot);
    if fd != NONE {
        once::found(slot, tree::current, table, Op(slot.op as u8), fd);
    }
    0
}

/// The number that a step of the loop stands for, if it is to be told.
#[inline(always)]
fn number(index: u32, last: u32, slot: &Slot) -> u32 {
    if index == 0 {
        return slot.returned;
    }
    let index = index - 1;
    if index < NEAR {
        let word = opaque(index) / 64 & 3;
        // SAFETY: what `compare` left there.
        let new = unsafe { slot.room.taken[word as usize] } >> (index & 63) & 1;
        return if new == 0 { NONE } else { index };
    }
    let fd = last.wrapping_sub(NEAR + FAR).wrapping_add(index);
    if fd < NEAR || u64::from(fd) < slot.seq || fd >= last {
        return NONE;
    }
    fd
}

/// Tells which numbers the table has no more: a request of io_uring that posts no completion may
/// have closed them. Another thread's close is told twice then, which the model knows.
#[inline(never)]
fn vanished(slot: &mut Slot, table: &Table) {
    let now = taken(table);
    // SAFETY: what `begin` left there; any bits are numbers.
    let before = unsafe { &slot.room.taken };
    let gone =
        before[0] & !now[0] | before[1] & !now[1] | before[2] & !now[2] | before[3] & !now[3];
    if gone == 0 {
        return;
    }
    let mut state = State { slot, table };
    // SAFETY: the context is what the step takes.
    unsafe {
        rounds::go::<NEAR, _>(NEAR, one_gone, &raw mut state);
    }
}

extern "C" fn one_gone(index: u64, state: *mut State) -> i64 {
    // SAFETY: it is what `vanished` gave; the slot lives as long as its task.
    let (slot, table) = unsafe { (&mut *(*state).slot, &*(*state).table) };
    let (word, bit) = (index / 64 & 3, index & 63);
    // SAFETY: what `begin` left there.
    let before = unsafe { slot.room.taken[word as usize] };
    if before >> bit & 1 != 0 {
        let now: u64 = read(table.open.wrapping_add(word * 8), 0);
        if table.max_fds as u64 > index && now >> bit & 1 == 0 {
            uring::gone(slot, table, Op::IO_URING_ENTER, index as u32, 0);
        }
    }
    0
}

/// SECCOMP_IOCTL_NOTIF_ADDFD (include/uapi/linux/seccomp.h).
const ADDFD: u64 = 0x4018_2103;

/// Calls that wait for a supervisor which are looked through at most.
const WAITING: u32 = if cfg!(feature = "reduced") { 16 } else { 128 };

struct Search {
    list: u64,
    head: u64,
    id: u64,
    task: u64,
}

/// A supervisor puts an fd into the table of a task whose call it answers: which task that is,
/// while it waits for the answer.
#[inline(always)]
pub fn supervised(slot: &mut Slot) {
    let arguments = Arguments::current();
    if arguments.a1() != ADDFD {
        return;
    }
    let table = file::current_table_by_address(slot);
    let listener = file_facts(file_at(&table, arguments.a0() & 0xffff_ffff));
    let notification: u64 = read(listener.private_data, offset!(seccomp_filter_notif));
    let head = notification.wrapping_add(u64::from(offset!(notification_list)));
    let mut search = Search {
        list: read(head, 0),
        head,
        id: 0,
        task: 0,
    };
    let context: *mut Search = &raw mut search;
    // SAFETY: eight bytes to where eight bytes are; `struct seccomp_notif_addfd` begins with the
    // id. The context is what the step takes.
    unsafe {
        bpf_probe_read_user(
            (&raw mut (*context).id).cast(),
            8,
            arguments.a2() as *const _,
        );
        rounds::go::<WAITING, _>(WAITING, waiting, context);
        slot.before = core::ptr::read_volatile(&raw const (*context).task);
    }
}

extern "C" fn waiting(_index: u64, search: *mut Search) -> i64 {
    // SAFETY: it is what `supervised` gave.
    let search = unsafe { &mut *search };
    if search.list == search.head || search.list == 0 {
        return 1;
    }
    let one = search.list.wrapping_sub(u64::from(offset!(knotif_list)));
    let id: u64 = read(one, offset!(knotif_id));
    if id == search.id {
        search.task = read(one, offset!(knotif_task));
        return 1;
    }
    search.list = read(search.list, 0);
    0
}

/// The supervisor's call returned the number that the fd has in the other table.
#[inline(always)]
pub fn added(slot: &mut Slot, result: i64) {
    let task = slot.before;
    if result < 0 {
        return;
    }
    let Some(target) = tree::slot_of(task) else {
        return;
    };
    let table = table_at(task);
    if table.files == target.files {
        once::found(target, || task, &table, Op::SECCOMP_ADDFD, result as u32);
    }
}
