//! The model: per-process resource tables rebuilt from records. Pure and deterministic.

pub mod facts;
pub mod snapshot;
