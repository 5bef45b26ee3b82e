//! Sinks: they write the report and decide nothing.

#![forbid(unsafe_code)]

pub mod escape;
pub mod github;
pub mod gitlab;
pub mod human;
pub mod json;
pub mod jsonl;
pub mod junit;
pub mod markdown;
pub mod metrics;
pub mod sarif;
pub mod schema;
pub mod text;

mod finding;

pub use escape::{escape, escape_str};

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod hostile_tests;
