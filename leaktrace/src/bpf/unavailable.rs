//! Why nothing can be traced.

use thiserror::Error;

use super::{
    health::{self, Outcome},
    load::{MEMORY, VMLINUX},
    probe::Probe,
};

/// Why this kernel, here and now, cannot be traced. One sentence: what, why, what to do.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// No type information.
    #[error(
        "cannot read `{VMLINUX}` ({0}): leaktrace needs a kernel with CONFIG_DEBUG_INFO_BTF; \
         run `leaktrace doctor`"
    )]
    NoBtf(std::io::Error),
    /// Type information that cannot be read.
    #[error("cannot understand `{VMLINUX}` ({0}); run `leaktrace doctor`")]
    BadBtf(String),
    /// The right is missing.
    #[error(
        "cannot load eBPF programs (permission denied): leaktrace needs root, or CAP_BPF and \
         CAP_PERFMON; run it with sudo"
    )]
    NoPermission,
    /// Neither is it there, nor does sudo give it without asking for a password; why.
    #[error(
        "leaktrace needs root, or CAP_BPF and CAP_PERFMON, or a sudo that asks for no password \
         ({0}); run it with sudo"
    )]
    NoDeputy(String),
    /// The deputy says why, or how it ended.
    #[error("{0}")]
    Deputy(String),
    /// The user may trace by the file's capabilities only.
    #[error(
        "file capabilities show a user what leaktrace starts, as in `-- CMD`, and not what others \
         do; run it with sudo"
    )]
    Others,
    /// The process may not open what it needs to.
    #[error(
        "leaktrace needs {0} more open files of its own, which the limit (ulimit -n) does not \
         allow"
    )]
    Files(u32),
    /// To load the programs would take more memory than the cgroup has, and the kernel would end
    /// leaktrace, or something else in there.
    #[error(
        "the memory limit of this cgroup leaves {} MiB, and to verify the programs the kernel \
         takes up to {} MiB for a moment; raise the limit",
        room >> 20,
        MEMORY >> 20
    )]
    Memory {
        /// Bytes left.
        room: u64,
    },
    /// No thread can be made: the limit of the cgroup (pids.max) or of the user (ulimit -u), or a time
    /// namespace that only children enter (time_namespaces(7)), with which the kernel refuses threads
    /// (copy_namespaces in kernel/nsproxy.c, v6.1; from a later Linux on exec enters it).
    #[error(
        "leaktrace cannot make a thread ({0}): see pids.max of this cgroup and ulimit -u, and whether \
         `unshare --time` has no --fork"
    )]
    Threads(std::io::Error),
    /// Before Linux 5.11 maps are locked memory.
    #[error(
        "the limit of locked memory (ulimit -l) is too small for the programs' maps, which this \
         kernel counts there (before Linux 5.11), and may not be raised ({0}); raise it, or give \
         CAP_SYS_RESOURCE"
    )]
    LockedMemory(std::io::Error),
    /// Anything else.
    #[error("cannot load eBPF programs ({0}); run `leaktrace doctor`")]
    Load(String),
    /// A probe without which nothing can be said does not attach.
    #[error("cannot attach to `{hook}` ({why}); run `leaktrace doctor`")]
    Probe {
        /// The tracepoint.
        hook: &'static str,
        /// A clause.
        why: String,
        /// What became of every probe.
        outcomes: Vec<(Probe, Outcome)>,
    },
}

impl Unavailable {
    /// Whether the kernel has looked at a program and does not take it.
    pub(super) fn is_refusal(&self) -> bool {
        let Unavailable::Probe { outcomes, .. } = self else {
            return false;
        };
        health::missing_required(outcomes)
            .iter()
            .all(|(_, outcome)| matches!(outcome, Outcome::Refused(_)))
    }
}
