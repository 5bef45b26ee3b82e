//! io_uring.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::file::FdAcquire;

/// io_uring_setup(2) succeeded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RingSetup {
    /// The fd; its text is empty.
    pub fd: FdAcquire,
    /// Submission queue entries that the kernel made.
    pub sq_entries: u32,
    /// Completion queue entries that the kernel made.
    pub cq_entries: u32,
    /// IORING_SETUP_*.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<RingSetup>() == 88);
