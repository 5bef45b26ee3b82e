//! Scopes: parts of its life that a process marks.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::TextRef;

/// The header's process marked a scope.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Scope {
    /// [`verb`].
    pub verb: u32,
    /// Size of the one text area.
    pub area: u16,
    /// Zero.
    pub reserved: u16,
    /// The name.
    pub text: TextRef,
    /// Zero.
    pub reserved2: u32,
}

const _: () = assert!(size_of::<Scope>() == 16);

/// What a process says of a scope: the directory below [`PREFIX`] that it fails to open.
pub mod verb {
    /// `begin`: one begins, and everything held past its end is its leak.
    pub const BEGIN: u32 = 1;
    /// `plain`: one begins, and files and sockets held past its end are its leaks; what the
    /// runtime of a language makes for itself is not.
    pub const PLAIN: u32 = 2;
    /// `keep`: one begins in which things are acquired that are meant to outlive it.
    pub const KEEP: u32 = 3;
    /// `end`: the last one of that name ends, with those that were begun within it.
    pub const END: u32 = 4;
    /// The environment of a program that was started names one: it spans the program.
    pub const PROGRAM: u32 = 5;
}

/// What the names of the files begin with that mark a scope by not being there.
pub const PREFIX: &[u8; 12] = b"/.leaktrace/";

/// Bytes of a name that are told; longer ones are cut.
pub const NAME_LEN: usize = 512;

/// What the entry of an environment begins with that names a scope.
pub const VARIABLE: &[u8; 16] = b"LEAKTRACE_SCOPE=";
