//! Stacks of calls that acquire something. Told only if asked for (`Config::stacks`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::TextRef;

/// Return addresses that the kernel follows by frame pointers.
pub const CHAIN: usize = 32;

/// Words of the stack itself, from the stack pointer on: what the C library keeps in the frames
/// of its system calls, which have no frame pointers, fits.
pub const WORDS: usize = 128;

/// The stack of the header's task in the call that it is returning from. The records that tell
/// what the call did come after it, and have [`super::header_flag::STACK`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Stack {
    /// The `mm_struct`.
    pub mm: u64,
    /// `mm_struct.start_code`, `end_code`: where the program's own code is.
    pub start_code: u64,
    /// Its end.
    pub end_code: u64,
    /// Instruction pointer.
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer.
    pub fp: u64,
    /// Link register; 0 where there is none.
    pub lr: u64,
    /// How many of `chain` are written.
    pub chain_len: u32,
    /// How many of `words` are written.
    pub words_len: u32,
    /// The instruction pointer, then return addresses by frame pointers, innermost first.
    pub chain: [u64; CHAIN],
    /// The stack from `sp` on.
    pub words: [u64; WORDS],
}

const _: () = assert!(size_of::<Stack>() == 64 + 8 * (CHAIN + WORDS));

/// A range of code that is mapped from a file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Image {
    /// The `mm_struct`; 0: that of the header's process.
    pub mm: u64,
    /// Where.
    pub address: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Place in the file.
    pub offset: u64,
    /// The fd; -1: the text has the path.
    pub fd: i32,
    /// Size of the one text area.
    pub area: u16,
    /// Zero.
    pub reserved: u16,
    /// The path, of ranges that are read from /proc.
    pub text: TextRef,
    /// Zero.
    pub reserved2: u32,
}

const _: () = assert!(size_of::<Image>() == 48);
