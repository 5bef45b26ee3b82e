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
    /// The name, behind a verb if [`verb::TOLD`].
    pub text: TextRef,
    /// Zero.
    pub reserved2: u32,
}

const _: () = assert!(size_of::<Scope>() == 16);

/// What is said of a scope.
pub mod verb {
    /// What the text says: what the process failed to open below [`super::PREFIX`], as
    /// `verb/name`.
    pub const TOLD: u32 = 0;
    /// The environment of a program that was started names one, which spans the program.
    pub const PROGRAM: u32 = 1;
}

/// What the names of the files begin with that mark a scope by not being there.
pub const PREFIX: &[u8; 12] = b"/.leaktrace/";

/// Bytes of a name that are told, its verb included; longer ones are cut.
pub const NAME_LEN: usize = 512;

/// What the entry of an environment begins with that names a scope.
pub const VARIABLE: &[u8; 16] = b"LEAKTRACE_SCOPE=";
