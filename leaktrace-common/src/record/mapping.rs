//! Address space mappings.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::TextRef;

/// mmap(2) succeeded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Map {
    /// The `mm_struct`.
    pub mm: u64,
    /// Where.
    pub address: u64,
    /// Length in bytes as passed.
    pub bytes: u64,
    /// PROT_*.
    pub prot: u32,
    /// MAP_*.
    pub flags: u32,
    /// The fd, or -1 for an anonymous mapping.
    pub fd: i32,
    /// Device of the mapped file's inode, 0 if anonymous.
    pub dev: u32,
    /// Inode number of the mapped file, 0 if anonymous.
    pub ino: u64,
}

const _: () = assert!(size_of::<Map>() == 48);

/// A range of a process's address space as /proc lists it: what was mapped before it was
/// watched, or while records were lost. The ranges of one reading come one after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MapSeed {
    /// Where.
    pub address: u64,
    /// Length in bytes; 0: the reading has no range at all.
    pub bytes: u64,
    /// Inode number of the mapped file, 0 if anonymous.
    pub ino: u64,
    /// Its device, kernel encoding.
    pub dev: u32,
    /// [`map_seed_flag`].
    pub flags: u32,
    /// SysV id of an attach; -1 otherwise.
    pub ipc_id: i32,
    /// Size of the one text area.
    pub area: u16,
    /// Zero.
    pub reserved: u16,
    /// The file's path, of shared mappings.
    pub text: TextRef,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<MapSeed>() == 48);

/// Bits of [`MapSeed::flags`].
pub mod map_seed_flag {
    /// First of a reading.
    pub const FIRST: u32 = 1;
    /// Last of a reading.
    pub const LAST: u32 = 2;
    /// Shared, not private.
    pub const SHARED: u32 = 4;
    /// Writable.
    pub const WRITE: u32 = 8;
    /// The heap of brk(2).
    pub const HEAP: u32 = 16;
}

/// munmap(2) returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Unmap {
    /// The `mm_struct`.
    pub mm: u64,
    /// Where.
    pub address: u64,
    /// Length in bytes as passed.
    pub bytes: u64,
    /// Entry, ns of CLOCK_BOOTTIME.
    pub begin_ns: u64,
    /// Positive errno, or 0.
    pub errno: i32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Unmap>() == 40);

/// mremap(2) returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Remap {
    /// The `mm_struct`.
    pub mm: u64,
    /// Old place.
    pub old_address: u64,
    /// Old length in bytes.
    pub old_bytes: u64,
    /// New place.
    pub new_address: u64,
    /// New length in bytes.
    pub new_bytes: u64,
    /// Entry, ns of CLOCK_BOOTTIME.
    pub begin_ns: u64,
    /// MREMAP_* (MAYMOVE 1, FIXED 2, DONTUNMAP 4).
    pub flags: u32,
    /// Positive errno, or 0.
    pub errno: i32,
}

const _: () = assert!(size_of::<Remap>() == 56);
