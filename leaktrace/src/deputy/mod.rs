//! The deputy: a small process that does for leaktrace what only a privileged one can.
//!
//! Started by a plain user, leaktrace itself stays one: it starts CMD, reads records, judges, writes.
//! For the rest it starts itself once more, `leaktrace deputy own` through `sudo -n`, with a socket
//! as standard input; or systemd does that for whoever may connect to its socket (`reach`). The deputy takes the user's uid, gid and groups at once, keeps CAP_BPF,
//! CAP_PERFMON and CAP_SYS_PTRACE and gives up every other right for good (`rights`). It loads
//! and attaches the programs, hands over the maps from which records are read (`wire`), and
//! answers what /proc or the iterators tell of processes (`serve`): of those that are watched,
//! and of the user's own, never of others (`sight`). It ends, and the programs with it, when the
//! socket is closed, which the kernel does if leaktrace dies.
//!
//! `leaktrace deputy all` is for looking at the whole system and keeps CAP_DAC_READ_SEARCH too. The
//! two are words of the command line so that sudoers(5) can tell them apart.
//!
//! What is here is no part of what CMD gets: it is forked before.

mod channel;
mod client;
mod reach;
mod rights;
mod serve;
mod sight;
pub mod wire;

use serde::{Deserialize, Serialize};

pub use client::{Started, attempt, start};
pub use reach::{SOCKET, Through};
pub use serve::serve;

/// Name of the hidden subcommand.
pub const COMMAND: &str = "deputy";

/// What a deputy may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Grant {
    /// What the user's own processes do, and those that they start.
    Own,
    /// What everybody does.
    All,
}

impl Grant {
    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Grant::Own => "own",
            Grant::All => "all",
        }
    }
}
