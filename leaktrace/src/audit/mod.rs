//! Audit: asks the census what it must know, and judges.
//!
//! Inputs are values (facts, answers, clock readings); so is the report. No clock, no /proc, no
//! order of arrival: judging a capture gives what judging live gave.

#![forbid(unsafe_code)]

pub mod case;
pub mod evidence;
pub mod order;
pub mod outcome;
pub mod residue;
pub mod roots;
pub mod rule;
pub mod settle;
pub mod teardown;

mod ask;
mod bound;
mod daemon;
mod explain;
mod finding;
mod fingerprint;
mod identity;
mod judge;
mod kept;
pub(crate) mod location;
mod orphan;
mod process;
mod quality;
mod resource;
mod scope;
pub(crate) mod stack;
mod tolerated;
mod trend;
mod trust;

#[cfg(test)]
pub(crate) mod fixture;

pub use ask::{Scope, questions};
pub use explain::{explain, explain_all, list, page};
pub use judge::judge;
pub use kept::questions as holder_questions;
pub use location::sources;
pub use outcome::Command;
pub use process::cleanup_line;
pub use quality::teardown_line;
pub use settle::{Settling, deadline, questions as settle_questions, settle};
pub use stack::questions as stack_questions;
