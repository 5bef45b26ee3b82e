//! Signals.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `signal_generate`: a signal that ends a process by default was sent to the header's
/// process. `Header::tid` is the thread it was directed to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SignalGenerate {
    /// Number.
    pub signal: u32,
    /// si_code; SI_KERNEL (0x80) also where the kernel passed no siginfo.
    pub code: i32,
    /// 1: to the process, 0: to the thread.
    pub group: u32,
    /// TRACE_SIGNAL_* (include/trace/events/signal.h): 0 delivered, 1 ignored, 2 already
    /// pending, 3 and 4 lost.
    pub result: u32,
    /// Process that sent it, initial pid namespace.
    pub sender_pid: u32,
    /// Zero.
    pub reserved: u32,
    /// The sender's comm.
    pub sender_comm: [u8; 16],
}

const _: () = assert!(size_of::<SignalGenerate>() == 40);

/// `signal_deliver`: the header's thread takes a signal.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SignalDeliver {
    /// Number.
    pub signal: u32,
    /// si_code.
    pub code: i32,
    /// [`handler`].
    pub handler: u32,
    /// 1: the kernel passes this to siblings of a process in group exit or exec
    /// (SIGNAL_GROUP_EXIT is set, SIGKILL without siginfo): not a kill.
    pub group_exit: u32,
}

const _: () = assert!(size_of::<SignalDeliver>() == 16);

/// rt_sigaction(2) succeeded in setting an action.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SignalAction {
    /// Number.
    pub signal: u32,
    /// [`handler`].
    pub handler: u32,
}

/// What is to happen on a signal.
pub mod handler {
    /// SIG_DFL.
    pub const DEFAULT: u32 = 0;
    /// SIG_IGN.
    pub const IGNORE: u32 = 1;
    /// A function.
    pub const FUNCTION: u32 = 2;
}
