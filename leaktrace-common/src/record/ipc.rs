//! SysV ipc and POSIX message queues. POSIX shared memory and semaphores are files.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{TextRef, file::FdAcquire};

/// Which of the SysV three.
pub mod what {
    /// Shared memory.
    pub const SHM: u32 = 1;
    /// Semaphore set.
    pub const SEM: u32 = 2;
    /// Message queue.
    pub const MSG: u32 = 3;
}

/// shmget, semget or msgget succeeded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IpcGet {
    /// Bytes (shm) or semaphores (sem); 0 for msg.
    pub size: u64,
    /// [`what`].
    pub what: u32,
    /// The id.
    pub id: i32,
    /// The key; 0 is IPC_PRIVATE.
    pub key: u32,
    /// Flags as passed.
    pub flags: u32,
    /// Inode number of the ipc namespace.
    pub ipc_ns: u32,
    /// [`created`].
    pub created: u32,
}

const _: () = assert!(size_of::<IpcGet>() == 32);

/// Whether a get made the thing.
pub mod created {
    /// No: it existed.
    pub const NO: u32 = 0;
    /// Yes, surely: IPC_PRIVATE, or IPC_CREAT with IPC_EXCL.
    pub const YES: u32 = 1;
    /// The namespace's count of such things rose during the call, so almost surely; another
    /// process may have made one meanwhile.
    pub const LIKELY: u32 = 2;
}

/// shmctl, semctl or msgctl with IPC_RMID returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IpcRemove {
    /// Entry, ns of CLOCK_BOOTTIME.
    pub begin_ns: u64,
    /// [`what`].
    pub what: u32,
    /// The id.
    pub id: i32,
    /// Inode number of the ipc namespace.
    pub ipc_ns: u32,
    /// Positive errno, or 0.
    pub errno: i32,
}

const _: () = assert!(size_of::<IpcRemove>() == 24);

/// shmat(2) succeeded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ShmAttach {
    /// The `mm_struct`.
    pub mm: u64,
    /// Where.
    pub address: u64,
    /// The id.
    pub id: i32,
    /// Inode number of the ipc namespace.
    pub ipc_ns: u32,
}

const _: () = assert!(size_of::<ShmAttach>() == 24);

/// shmdt(2) returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ShmDetach {
    /// The `mm_struct`.
    pub mm: u64,
    /// Where.
    pub address: u64,
    /// Entry, ns of CLOCK_BOOTTIME.
    pub begin_ns: u64,
    /// Positive errno, or 0.
    pub errno: i32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ShmDetach>() == 32);

/// mq_open(3) succeeded. The fd's text is the name as passed to the syscall: without the
/// leading slash, which the C library takes off.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MqOpen {
    /// [`created`].
    pub created: u32,
    /// Inode number of the ipc namespace.
    pub ipc_ns: u32,
    /// The fd. Last, so that its text area follows.
    pub fd: FdAcquire,
}

const _: () = assert!(size_of::<MqOpen>() == 80);

/// mq_unlink(3) returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MqUnlink {
    /// Entry, ns of CLOCK_BOOTTIME.
    pub begin_ns: u64,
    /// Positive errno, or 0.
    pub errno: i32,
    /// Inode number of the ipc namespace.
    pub ipc_ns: u32,
    /// Size of the one text area.
    pub area: u16,
    /// Zero.
    pub reserved: u16,
    /// The name, without the leading slash.
    pub text: TextRef,
}

const _: () = assert!(size_of::<MqUnlink>() == 24);
