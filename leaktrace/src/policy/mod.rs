//! What the user tolerates: one value, handed to audit.

pub mod allow;
pub mod defaults;

use crate::report::Level;

/// Everything that decides how observations are judged.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `--fail-on`: groups and rules (ids or names) raised to error.
    pub fail_on: Vec<String>,
    /// `--fail-on none`: every rule is a note.
    pub fail_on_none: bool,
    /// `--allow` and `[[allow]]`.
    pub allow: Vec<allow::Allow>,
    /// Known caches and daemons.
    pub known: defaults::Known,
    /// How order is judged.
    pub order: OrderMode,
    /// `--require`: families (or `all`) whose absence is inconclusive.
    pub require: Vec<String>,
    /// `--allow-loss`: loss does not make the run inconclusive.
    pub allow_loss: bool,
}

/// Order modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderMode {
    /// Last in, first out within a class.
    #[default]
    Instance,
    /// Reverse acquisition over all kinds.
    Global,
    /// fd, socket, signal, ring, task, ipc, mapping, memory.
    FdsFirst,
    /// mapping, memory, task, ring, signal, ipc, socket, fd.
    MappingsFirst,
}

impl OrderMode {
    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            OrderMode::Instance => "instance",
            OrderMode::Global => "global",
            OrderMode::FdsFirst => "class:fds-first",
            OrderMode::MappingsFirst => "class:mappings-first",
        }
    }
}

/// A level by its rule's default and the policy.
pub fn level_of(policy: &Policy, rule: &str, name: &str, group: &str, default: Level) -> Level {
    if policy.fail_on_none {
        return default.min(Level::Note);
    }
    let named = policy
        .fail_on
        .iter()
        .any(|word| word == rule || word == name || word == group);
    if named { Level::Error } else { default }
}
