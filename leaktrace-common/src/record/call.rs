//! Calls that are told as they are: what they did is for userspace to work out.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A system call, in the family of what it is about.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Call {
    /// Entry, ns of CLOCK_BOOTTIME; 0: not taken.
    pub begin_ns: u64,
    /// What it returned; nothing while it is in flight.
    pub result: i64,
    /// Its first four arguments.
    pub arguments: [u64; 4],
    /// `struct file` of the fd that the call is about; 0: none, or not read.
    pub file: u64,
    /// By operation: timer_create: the timer's id; setitimer, alarm: µs until it fires;
    /// prlimit64, setrlimit: the soft RLIMIT_NOFILE of the caller after the call; close of an
    /// io_uring: requests in flight; io_uring_register: length of a buffer, whose address is in
    /// the third argument.
    pub value: u64,
    /// setitimer: µs between two expirations. Otherwise zero.
    pub interval: u64,
    /// [`crate::abi::Op`].
    pub op: u8,
    /// [`call_flag`].
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<Call>() == 80);

/// Bits of [`Call::flags`].
pub mod call_flag {
    /// It failed for want of room: EMFILE, ENFILE, ENOMEM or ENOSPC.
    pub const NO_ROOM: u8 = 1;
    /// It took a second or longer.
    pub const LONG: u8 = 2;
    /// It has not returned yet.
    pub const IN_FLIGHT: u8 = 4;
}

/// Signals that were pending or blocked when a process called exit_group.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitPending {
    /// Bit n - 1: signal n, of the process or of the thread that called it.
    pub pending: u64,
    /// Those that its thread blocks.
    pub blocked: u64,
}

const _: () = assert!(size_of::<ExitPending>() == 16);
