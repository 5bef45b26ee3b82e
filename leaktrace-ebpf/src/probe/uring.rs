//! fds that io_uring makes and closes.
//!
//! A request is carried out by the thread that submits it, by a worker, or by the thread that
//! polls the submission queue. Workers and that thread share the fd table of the task that made
//! the ring and belong to its process, so the current task's table is the right one whoever
//! completes. A completion tells what was asked and which number came of it; that the number is
//! in the table is looked up, as everywhere.
//!
//! A request that is told to post no completion when it succeeds (IOSQE_CQE_SKIP_SUCCESS) is seen
//! by the comparison of the table across io_uring_enter(2), unless another thread carries it out.

use leaktrace_common::{
    abi::Op,
    record::{Family, file::FdGone, header_flag, kind, task::taint},
};

use super::file;
use crate::{
    emit::{self, HEADER},
    kernel::{Table, file_at, number, offset, read},
    maps::{ACCEPTING, CLOSING},
    once, rounds,
    tree::{self, Slot, flag},
};

/// IORING_OP_* (include/uapi/linux/io_uring.h).
mod opcode {
    pub const RECVMSG: u8 = 10;
    pub const ACCEPT: u8 = 13;
    pub const OPENAT: u8 = 18;
    pub const CLOSE: u8 = 19;
    pub const FILES_UPDATE: u8 = 20;
    pub const OPENAT2: u8 = 28;
    pub const RENAMEAT: u8 = 35;
    pub const MKDIRAT: u8 = 37;
    pub const SYMLINKAT: u8 = 38;
    pub const LINKAT: u8 = 39;
    pub const MSG_RING: u8 = 40;
    pub const SOCKET: u8 = 45;
    pub const URING_CMD: u8 = 46;
    pub const FIXED_FD_INSTALL: u8 = 54;
    pub const PIPE: u8 = 62;
}

/// IOSQE_CQE_SKIP_SUCCESS: REQ_F_CQE_SKIP has the same bit (include/linux/io_uring_types.h).
const SILENT: u32 = 1 << 6;

/// A request was taken from the submission queue of which nothing is known but what it asks for. What
/// names an open makes is then not known either.
#[inline(always)]
pub fn submitted_unseen(opcode: u8) {
    let Some(slot) = tree::current_slot() else {
        return;
    };
    if makes_names(opcode) || opens(opcode) {
        once::task::taint(slot, taint::RING_NAMES, flag::RING_NAMES);
    }
}

/// A request was taken from the submission queue. Where completions are not followed what an open has
/// made may be closed again before anybody looks: that it makes something is all that is known.
#[cfg(feature = "reduced")]
#[inline(always)]
pub fn submitted(request: u64) {
    let Some(slot) = tree::current_slot() else {
        return;
    };
    let opcode = read::<u8>(request, offset!(kiocb_opcode));
    if makes_names(opcode) || opens(opcode) && creates(request) {
        once::task::taint(slot, taint::RING_NAMES, flag::RING_NAMES);
    }
}

/// A request was taken from the submission queue.
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub fn submitted(request: u64) {
    let Some(slot) = tree::current_slot() else {
        return;
    };
    let opcode = read::<u8>(request, offset!(kiocb_opcode));
    if read::<u32>(request, offset!(kiocb_flags)) & SILENT != 0 && changes_table(opcode) {
        once::uring::silent(slot, number(request), opcode);
    }
    match opcode {
        opcode::CLOSE => {
            let _ = CLOSING.insert(request, emit::now(), 0);
        }
        opcode::ACCEPT if read::<u32>(request, offset!(uring_accept_slot)) == 0 => {
            let _ = ACCEPTING.insert(name(request), 1, 0);
        }
        _ if makes_names(opcode) => {
            once::task::taint(slot, taint::RING_NAMES, flag::RING_NAMES);
        }
        // The polling thread carries out what it submits: its table is compared from here on.
        opcode::RECVMSG | opcode::URING_CMD if is_worker(slot) => once::appear::begin(slot),
        _ => {}
    }
}

/// What they leave is not known by name, and that is declared. A removal needs no telling: the census
/// finds that the thing is gone.
#[inline(always)]
fn makes_names(code: u8) -> bool {
    matches!(
        code,
        opcode::RENAMEAT | opcode::MKDIRAT | opcode::SYMLINKAT | opcode::LINKAT
    )
}

#[inline(always)]
fn opens(code: u8) -> bool {
    code == opcode::OPENAT || code == opcode::OPENAT2
}

/// O_CREAT (include/uapi/asm-generic/fcntl.h).
const O_CREAT: u64 = 0o100;

/// Of a request that opens.
#[inline(always)]
fn creates(request: u64) -> bool {
    read::<u64>(request, offset!(uring_open_flags)) & O_CREAT != 0
}

#[inline(always)]
pub fn silent(slot: &mut Slot, request: u64, code: u8) {
    if opens(code) && creates(request) {
        once::task::taint(slot, taint::SILENT_CREATION, flag::SILENT_CREATION);
    } else {
        once::task::taint(slot, taint::SILENT, flag::SILENT);
    }
}

#[inline(always)]
fn changes_table(code: u8) -> bool {
    matches!(
        code,
        opcode::OPENAT
            | opcode::OPENAT2
            | opcode::ACCEPT
            | opcode::SOCKET
            | opcode::PIPE
            | opcode::CLOSE
            | opcode::FIXED_FD_INSTALL
            | opcode::RECVMSG
    )
}

/// Ring and user data of a request.
#[inline(always)]
fn name(request: u64) -> [u64; 2] {
    [
        read(request, offset!(kiocb_ctx)),
        read(request, offset!(kiocb_user_data)),
    ]
}

#[inline(always)]
fn is_worker(slot: &Slot) -> bool {
    slot.flags & u32::from(header_flag::IO_WORKER) != 0
}

/// A completion.
pub struct Completed {
    /// The `io_ring_ctx`.
    pub ring: u64,
    /// The `io_kiocb`; 0: this is one of several completions of a request.
    pub request: u64,
    pub user_data: u64,
    pub result: i32,
}

/// What a completion makes of the table.
struct Made {
    slot: *mut Slot,
    table: *const Table,
    fds: [u32; 2],
    op: u32,
}

/// No number.
const NONE: u32 = u32::MAX;

#[inline(always)]
pub fn completed(completed: &Completed) {
    let Some(slot) = tree::current_slot() else {
        return;
    };
    let result = completed.result;
    if result < 0 {
        return;
    }
    let request = completed.request;
    let (op, direct) = if request == 0 {
        // SAFETY: the value is not looked at.
        match unsafe { ACCEPTING.get([completed.ring, completed.user_data]) } {
            Some(_) => (Op::URING_ACCEPT, 0),
            None => return,
        }
    } else {
        match asked(slot, request) {
            Some(asked) => asked,
            None => return,
        }
    };
    if direct == 0 {
        once::uring::told(slot, op, number(request), result as u32);
    } else {
        once::ring::state(slot, number(completed.ring), 0);
    }
}

/// The operation that may change the table, and which slot of the ring's own table it is about:
/// 0 for none.
#[inline(always)]
fn asked(slot: &mut Slot, request: u64) -> Option<(Op, u32)> {
    let slot_at = |offset| read::<u32>(request, offset);
    Some(match read::<u8>(request, offset!(kiocb_opcode)) {
        opcode::OPENAT => (Op::URING_OPENAT, slot_at(offset!(uring_open_slot))),
        opcode::OPENAT2 => (Op::URING_OPENAT2, slot_at(offset!(uring_open_slot))),
        opcode::SOCKET => (Op::URING_SOCKET, slot_at(offset!(uring_socket_slot))),
        opcode::PIPE => (Op::URING_PIPE, slot_at(offset!(uring_pipe_slot))),
        opcode::CLOSE => (Op::URING_CLOSE, slot_at(offset!(uring_close_slot))),
        opcode::FIXED_FD_INSTALL => (Op::URING_INSTALL, 0),
        opcode::ACCEPT => {
            let _ = ACCEPTING.remove(name(request));
            (Op::URING_ACCEPT, slot_at(offset!(uring_accept_slot)))
        }
        // Slots of a ring's own table were filled or emptied.
        opcode::FILES_UPDATE | opcode::MSG_RING => (Op::IO_URING_REGISTER, 1),
        opcode::RECVMSG | opcode::URING_CMD => {
            compared(slot);
            return None;
        }
        _ => return None,
    })
}

/// What came with a message, or of a command of a driver, is found as across a system call. The
/// comparison of io_uring_enter(2) is under way already if the task is in it.
#[inline(always)]
fn compared(slot: &mut Slot) {
    // At its end the room has times, and there is no table any more.
    if slot.op != 0 || slot.exit_times != 0 {
        return;
    }
    if !is_worker(slot) {
        // Between two calls: nothing was noted, so all is told that the model may not know.
        slot.room.taken = [0; 4];
        slot.seq = 0;
    }
    once::appear::end(slot, Op::RECVMSG, 0);
}

#[inline(always)]
pub fn told(slot: &mut Slot, op: Op, request: u64, result: u32) {
    let table = file::current_table_by_address(slot);
    if op == Op::URING_CLOSE {
        closed(slot, &table, request);
        return;
    }
    let mut made = Made {
        slot,
        table: &raw const table,
        fds: [result, NONE],
        op: u32::from(op.0),
    };
    if op == Op::URING_PIPE {
        let (first, second) = file::pair(read(request, offset!(uring_pipe_fds)));
        made.fds = [first as u32, second as u32];
    }
    // SAFETY: the context is what the step takes.
    unsafe {
        rounds::go::<2, _>(2, one, &raw mut made);
    }
}

extern "C" fn one(index: u64, made: *mut Made) -> i64 {
    // SAFETY: it is what `told` gave; the slot lives as long as its task.
    let (made, slot, table) = unsafe { (&mut *made, &mut *(*made).slot, &*(*made).table) };
    let fd = if index == 0 { made.fds[0] } else { made.fds[1] };
    if fd != NONE {
        once::found(slot, tree::current, table, Op(made.op as u8), fd);
    }
    0
}

/// A request to close has been carried out. What the number holds by now is looked up when the
/// record has its place, as in [`file::found`].
#[inline(never)]
fn closed(slot: &mut Slot, table: &Table, request: u64) {
    let fd: u32 = read(request, offset!(uring_close_fd));
    // SAFETY: copied at once.
    let begin = unsafe { CLOSING.get(request) }.copied().unwrap_or(0);
    let _ = CLOSING.remove(request);
    gone(slot, table, Op::URING_CLOSE, fd, begin);
}

/// Tells that a number was taken out of the table.
#[inline(always)]
pub fn gone(slot: &Slot, table: &Table, op: Op, fd: u32, begin_ns: u64) {
    const SIZE: usize = HEADER + size_of::<FdGone>();
    let record = emit::reserve::<SIZE>(Family::File);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<FdGone>();
        (*payload).now = file_at(table, u64::from(fd));
        (*payload).begin_ns = begin_ns;
        (*payload).fd = fd as i32;
        (*payload).op = op.0;
        (*payload).reserved = [0; 3];
        emit::finish(
            record,
            kind::FD_GONE,
            SIZE,
            slot,
            emit::position(slot, table),
        );
    }
}
