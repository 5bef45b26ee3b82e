//! Starting CMD without leaving a trace in it, and ending as it did.
//!
//! CMD must see what it would have seen without leaktrace: the same user, environment, limits,
//! signal mask and dispositions, the same open fds, and no tracer. So `main` notes what it found
//! ([`Found::record`]) before anything else, [`hold`] forks before a thread, a limit change or a
//! BPF fd exists, and the child waits on a close-on-exec pipe until the probes are live. It
//! refuses ptrace, SIGSTOP, subreapers and sessions of its own: each of them can be seen by CMD.

mod child;
pub mod environment;
mod found;
mod freezer;
mod held;
mod plan;
pub mod privilege;
pub mod signals;
mod status;
mod target;
mod user;

pub use child::{Held, HoldError, HoldSpec, Running, StartError, hold};
pub use found::{Found, has_room_for, reserve_stdio, settle_own_signals};
pub use freezer::{Freezer, Frozen};
pub use signals::{Received, Sender, Signals};
pub use status::{Status, raise_again};
pub use target::Target;
pub use user::{User, UserError};
