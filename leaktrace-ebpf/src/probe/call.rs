//! Calls that are told as they are: those that failed for want of room, those that took long,
//! and those whose arguments are all there is to know.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::{
    abi::Op,
    record::{
        Family,
        call::{Call, call_flag},
        kind,
    },
};

use super::Arguments;
use crate::{
    emit::{self, HEADER, Position},
    kernel::{Address, Task, file_at, offset, read},
    once,
    tree::{self, Slot},
};

const SIZE: usize = HEADER + size_of::<Call>();

/// A call that takes longer is told of, ns.
pub const LONG: u64 = 1_000_000_000;

const ENOMEM: i64 = -12;
const ENFILE: i64 = -23;
const EMFILE: i64 = -24;
const ENOSPC: i64 = -28;

/// Whether a call failed for want of room.
#[inline(always)]
pub fn no_room(result: i64) -> bool {
    result == ENOMEM || result == ENFILE || result == EMFILE || result == ENOSPC
}

/// The family in which an operation is told.
#[inline(always)]
pub fn family(op: Op) -> Family {
    match op {
        Op::SOCKET | Op::SOCKETPAIR | Op::ACCEPT | Op::ACCEPT4 => Family::Socket,
        Op::BIND | Op::LISTEN | Op::CONNECT => Family::Socket,
        Op::MMAP | Op::MREMAP | Op::MUNMAP | Op::MSYNC | Op::MADVISE => Family::Mapping,
        Op::BRK => Family::Mapping,
        Op::SETSOCKOPT => Family::Ring,
        Op::MLOCK | Op::MLOCK2 | Op::MUNLOCK | Op::MLOCKALL | Op::MUNLOCKALL => Family::Mapping,
        Op::IO_URING_SETUP | Op::IO_URING_ENTER | Op::IO_URING_REGISTER => Family::Ring,
        Op::IO_SETUP | Op::IO_SUBMIT | Op::IO_GETEVENTS | Op::IO_DESTROY => Family::Ring,
        Op::TIMER_CREATE | Op::TIMER_DELETE | Op::SETITIMER | Op::ALARM => Family::Signal,
        Op::SHMGET | Op::SEMGET | Op::MSGGET | Op::SHMAT | Op::MQ_OPEN => Family::Ipc,
        Op::MKDIR | Op::MKDIRAT | Op::MKNOD | Op::MKNODAT => Family::Name,
        Op::LINK | Op::LINKAT | Op::SYMLINK | Op::SYMLINKAT => Family::Name,
        Op::RENAME | Op::RENAMEAT | Op::RENAMEAT2 => Family::Name,
        _ => Family::File,
    }
}

/// What a record says beyond the call itself. Without padding: the verifier wants all of it.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Told {
    pub op: u32,
    pub flags: u32,
    pub result: i64,
    pub file: u64,
    pub value: u64,
    pub interval: u64,
}

/// Emits a call.
#[inline(always)]
pub fn tell(slot: &Slot, told: &Told) {
    let arguments = Arguments::current();
    let family = family(Op(told.op as u8));
    let record = emit::reserve::<SIZE>(family);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Call>();
        (*payload).begin_ns = slot.begin_ns;
        (*payload).result = told.result;
        (*payload).arguments[0] = arguments.a0();
        (*payload).arguments[1] = arguments.a1();
        (*payload).arguments[2] = arguments.a2();
        (*payload).arguments[3] = arguments.a3();
        (*payload).file = told.file;
        (*payload).value = told.value;
        (*payload).interval = told.interval;
        (*payload).op = told.op as u8;
        (*payload).flags = told.flags as u8;
        (*payload).reserved = [0; 6];
        let kind = (family as u16) << 8 | kind::CALL;
        emit::finish(record, kind, SIZE, slot, Position::default());
    }
}

/// A call failed for want of room.
#[inline(always)]
pub fn refused(slot: &mut Slot, op: Op, result: i64) {
    let told = Told {
        op: u32::from(op.0),
        flags: u32::from(call_flag::NO_ROOM),
        result,
        ..Told::default()
    };
    once::tell(slot, &told);
}

/// A call that may wait returned: told if it took long.
#[inline(always)]
pub fn waited(slot: &mut Slot, op: Op, result: i64) {
    if emit::now().wrapping_sub(slot.begin_ns) >= LONG {
        let told = Told {
            op: u32::from(op.0),
            flags: u32::from(call_flag::LONG),
            result,
            file: file_of(Arguments::current().a0()),
            ..Told::default()
        };
        once::tell(slot, &told);
    }
}

/// The `struct file` behind one of the caller's numbers.
#[inline(always)]
pub fn file_of(fd: u64) -> u64 {
    let table = Address(tree::current()).table();
    file_at(&table, fd & 0xffff_ffff)
}

/// A call whose success is told with its arguments.
#[inline(always)]
pub fn plain(slot: &mut Slot, op: Op, result: i64) {
    let arguments = Arguments::current();
    if result < 0 {
        return;
    }
    if !op.begins_at_entry() {
        // What was begun is another call: this one was not looked at when it was entered.
        slot.begin_ns = 0;
    }
    let mut told = Told {
        op: u32::from(op.0),
        result,
        ..Told::default()
    };
    match op {
        // EPOLL_CTL_MOD (include/uapi/linux/eventpoll.h) changes no member.
        Op::EPOLL_CTL if arguments.a1() as u32 == 3 => return,
        Op::EPOLL_CTL => told.file = file_of(arguments.a2()),
        Op::FSYNC | Op::FDATASYNC => told.file = file_of(arguments.a0()),
        Op::TIMER_CREATE => told.value = u64::from(word(arguments.a2())),
        Op::IO_SETUP => told.value = user(arguments.a1()),
        // Without an address it only asks. Another thread may have moved the end meanwhile: what it is
        // now is told.
        Op::BRK if arguments.a0() == 0 => return,
        Op::BRK => {
            let mm = tree::current_mm();
            told.file = mm;
            told.value = read(mm, offset!(mm_start_brk));
            told.interval = read(mm, offset!(mm_brk));
        }
        // `struct tpacket_req` begins with the size of a block and their number, `struct
        // xdp_umem_reg` with address and length; the other options are one number.
        Op::SETSOCKOPT => {
            told.file = file_of(arguments.a0());
            told.value = user(arguments.a3());
            told.interval = user(arguments.a3().wrapping_add(8));
        }
        Op::ALARM => told.value = (arguments.a0() & 0xffff_ffff).wrapping_mul(1_000_000),
        Op::SETITIMER => {
            // `struct itimerval`: interval, value; each seconds and microseconds.
            let new = arguments.a1();
            if new == 0 {
                return;
            }
            told.interval = micros(new);
            told.value = micros(new.wrapping_add(16));
        }
        Op::SETRLIMIT | Op::PRLIMIT64 => {
            let (resource, new) = match op {
                Op::SETRLIMIT => (arguments.a0(), arguments.a1()),
                _ => (arguments.a1(), arguments.a2()),
            };
            if resource as u32 != RLIMIT_NOFILE || new == 0 {
                return;
            }
            let signal: u64 = read(tree::current(), offset!(task_signal));
            told.value = read(signal, offset!(signal_rlim).wrapping_add(7 * 16));
        }
        _ => {}
    }
    once::tell(slot, &told);
}

/// include/uapi/asm-generic/mman-common.h
const MADV_DONTFORK: u64 = 10;
const MADV_DOFORK: u64 = 11;

/// Whether a madvise is about who gets the range at a fork. Allocators make many others.
#[inline(always)]
pub fn decides_for_children(arguments: Arguments) -> bool {
    matches!(arguments.a2(), MADV_DONTFORK | MADV_DOFORK)
}

/// SOL_PACKET and SOL_XDP (include/linux/socket.h).
const SOL_PACKET: u32 = 263;
const SOL_XDP: u32 = 283;
/// PACKET_RX_RING and PACKET_TX_RING (include/uapi/linux/if_packet.h).
const PACKET_RINGS: u64 = 1 << 5 | 1 << 13;
/// XDP_RX_RING to XDP_UMEM_COMPLETION_RING (include/uapi/linux/if_xdp.h).
const XDP_RINGS: u64 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6;

/// Whether a setsockopt gives a socket a ring of memory, or takes it back.
#[inline(always)]
pub fn makes_ring(arguments: Arguments) -> bool {
    let rings = match arguments.a1() as u32 {
        SOL_PACKET => PACKET_RINGS,
        SOL_XDP => XDP_RINGS,
        _ => return false,
    };
    rings >> (arguments.a2() & 63) & 1 == 1
}

/// include/uapi/asm-generic/resource.h
const RLIMIT_NOFILE: u32 = 7;

#[inline(always)]
fn word(address: u64) -> u32 {
    let mut value = 0u32;
    // SAFETY: the destination is four bytes.
    unsafe {
        bpf_probe_read_user((&raw mut value).cast(), 4, address as *const _);
        core::ptr::read_volatile(&raw const value)
    }
}

/// Eight bytes of user memory; zero if they cannot be read.
#[inline(always)]
pub fn user(address: u64) -> u64 {
    let mut value = 0u64;
    // SAFETY: the destination is eight bytes.
    unsafe {
        bpf_probe_read_user((&raw mut value).cast(), 8, address as *const _);
        core::ptr::read_volatile(&raw const value)
    }
}

#[inline(always)]
fn micros(address: u64) -> u64 {
    user(address)
        .wrapping_mul(1_000_000)
        .wrapping_add(user(address.wrapping_add(8)))
}
