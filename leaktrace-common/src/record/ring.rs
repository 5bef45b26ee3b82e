//! io_uring, and contexts of aio.

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

/// What a ring has registered: files of its own table (direct descriptors), which are in no fd
/// table, and buffers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RingState {
    /// The `io_ring_ctx`.
    pub ring: u64,
    /// Its `struct file`; 0: as told before.
    pub file: u64,
    /// Slots of its table that hold a file.
    pub direct: u32,
    /// Slots there are.
    pub slots: u32,
    /// Buffers.
    pub buffers: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<RingState>() == 32);

/// How far the kernel is with what an aio context was asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AioState {
    /// What io_setup(2) has given: the address of its ring.
    pub context: u64,
    /// Places in its ring: one more than there may be requests in flight (`nr_events` in
    /// `struct kioctx`, fs/aio.c).
    pub entries: u32,
    /// Completions so far, modulo that (`tail`).
    pub tail: u32,
    /// [`aio_cause`].
    pub cause: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<AioState>() == 24);

/// Why an [`AioState`] is told.
pub mod aio_cause {
    /// leaktrace looks at what waits.
    pub const LOOK: u32 = 1;
    /// io_destroy(2) was entered.
    pub const DESTROY: u32 = 2;
    /// exit_group(2) was entered.
    pub const EXIT: u32 = 3;
}

/// The kernel's own end of a ring: its last reference has gone, and a worker waits for the
/// requests in flight. The header is that of the task that made the ring.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RingExit {
    /// The `io_ring_ctx`.
    pub ring: u64,
    /// [`ring_exit`].
    pub phase: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<RingExit>() == 16);

/// Phases of a [`RingExit`].
pub mod ring_exit {
    /// The work was queued.
    pub const BEGUN: u32 = 1;
    /// It has ended: the ring is gone.
    pub const ENDED: u32 = 2;
}
