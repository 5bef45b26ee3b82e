//! The live terminal UI: state, update, view.
//!
//! Terminal events become an `input::Intent`, `update` turns a state and an intent into the
//! next state, `view` draws a state. It reads [`crate::model::snapshot::Snapshot`]s and knows
//! nothing of records, /proc or the report. Nothing here changes the system.

mod arrange;
mod cursor;
mod filter;
mod fold;
mod format;
mod input;
mod layout;
#[expect(unsafe_code, reason = "signals to itself: kill(2), raise(3)")]
mod run;
mod state;
mod terminal;
mod update;
mod view;

pub use run::{Ended, Next, Options, SnapshotSource, run};
pub use state::Site;
pub use terminal::check as check_terminal;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod screens;
#[cfg(test)]
mod update_tests;
