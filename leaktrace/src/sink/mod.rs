//! Sinks: they write the report and decide nothing.

pub mod escape;
pub mod human;
pub mod json;
pub mod text;

pub use escape::{escape, escape_str};

#[cfg(test)]
mod golden_tests;
