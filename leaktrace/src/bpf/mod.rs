//! The programs: how they are loaded, attached and read. The only place that knows aya.
//!
//! [`load`] gives [`Programs`], which implement [`crate::source::Kernel`]. What can be
//! seen here is data: [`probe::PROBES`] says what there is to attach, [`health`] turns what
//! happened into coverage.

mod attach;
mod attempt;
pub mod btf;
mod called;
mod diagnostics;
pub mod engine;
pub mod events;
pub mod health;
mod holders;
mod identity;
mod inside;
mod iterator;
mod load;
mod local;
pub mod loss;
mod mapped;
mod maps;
pub mod object;
mod options;
pub mod probe;
mod programs;
mod ring;
mod ringbuf;
mod seed;
mod selftest;
mod statistics;
mod syscalls;
mod unavailable;

pub use attempt::{attempt, attempt_here};
pub use identity::Identities;
pub use load::{load, load_for, may_need_functions};
pub use local::{Local, Watched};
pub use maps::{Maps, NUMBER as MAPS, Shape};
pub use options::{Diagnostics, ExitTimes, LoadOptions, Scope, Stacks, Targets};
pub use programs::{Programs, WANTED};
pub use syscalls::number as syscall_number;
pub use unavailable::Unavailable;
