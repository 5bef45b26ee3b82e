//! How to load.

use serde::{Deserialize, Serialize};

use super::loss::Loss;

/// Whose records are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scope {
    /// The tree below the held child.
    Tree,
    /// Every process but leaktrace's own.
    System,
    /// Processes that are there, and the trees below them.
    Targets(Targets),
}

/// Which processes to watch that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// kernfs id and depth of the v2 cgroup whose programs are watched, also those that are
    /// started later.
    pub cgroup: Option<(u64, u32)>,
}

/// How to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Whose records.
    pub scope: Scope,
    /// Bytes of the ring; rounded up to a power of two of at least one page.
    pub ring_bytes: u32,
    /// Wake the reader when this many bytes wait.
    pub wake_bytes: u32,
    /// Diagnostics of the programs go to stderr.
    pub diagnostics: Diagnostics,
    /// Stacks of acquisitions.
    pub stacks: Stacks,
    /// Times in the kernel's functions of exit.
    pub exit_times: ExitTimes,
    /// Loss on demand, for tests.
    pub loss: Option<Loss>,
}

/// Whether the stacks of calls that acquire something are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stacks {
    /// No: the code is pruned by the verifier.
    #[default]
    Off,
    /// They are.
    Told,
}

/// Whether the parts of exit are timed, where the kernel lets programs into its functions. It takes long
/// to let them in and out: the kernel waits until every task has left what it replaces
/// (`bpf_trampoline_update` in kernel/bpf/trampoline.c, v6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitTimes {
    /// No: a run starts and ends as quickly as it can.
    #[default]
    Off,
    /// They are.
    Told,
}

/// Whether the programs tell what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostics {
    /// No: the code is pruned by the verifier.
    Off,
    /// To stderr.
    Stderr,
}

impl LoadOptions {
    /// What `run` and `check` use.
    pub fn tree() -> Self {
        LoadOptions {
            scope: Scope::Tree,
            ring_bytes: 32 << 20,
            wake_bytes: 512 << 10,
            diagnostics: Diagnostics::Off,
            stacks: Stacks::Off,
            exit_times: ExitTimes::Off,
            // What is malformed has been refused before anything ran.
            loss: Loss::from_environment().ok().flatten(),
        }
    }

    /// What judges processes that leaktrace did not start.
    pub fn targets(targets: Targets) -> Self {
        LoadOptions {
            scope: Scope::Targets(targets),
            ..LoadOptions::tree()
        }
    }

    /// What the system-wide views use.
    pub fn system() -> Self {
        LoadOptions {
            scope: Scope::System,
            ..LoadOptions::tree()
        }
    }
}
