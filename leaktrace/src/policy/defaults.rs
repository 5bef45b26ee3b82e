//! Known caches and daemons: `defaults.toml`, shipped.

/// The shipped table.
#[derive(Clone, Debug, Default)]
pub struct Known {}
