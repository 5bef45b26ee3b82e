//! The seam to what may load programs: this process, or one that does it for us.

use std::path::PathBuf;

use bytes::Bytes;
use leaktrace_common::abi::Holder;

use super::maps::Maps;
use crate::{census::process::Identity, id::ProcessKey, report::Coverage};

/// What is there once the programs run.
#[derive(Debug)]
pub struct Found {
    /// What whoever reads needs to have.
    pub maps: Maps,
    /// What is seen of each family.
    pub coverage: Vec<Coverage>,
    /// Probes attached and probes known.
    pub probes: (u32, u32),
    /// See [`crate::source::Kernel::nonce`].
    pub nonce: u64,
    /// See [`crate::source::Start::loss_is_marked`].
    pub loss_is_marked: bool,
    /// See [`crate::source::Start::untimed`].
    pub untimed: Option<String>,
}

/// What only a process can do that may load programs, run their iterators and look at others'
/// /proc. Dropped, it takes the programs out of the kernel.
pub trait Engine: std::fmt::Debug {
    /// Whether it still can; to be asked often.
    ///
    /// # Errors
    /// It cannot any more, so the programs do not run any more either.
    fn check(&mut self) -> anyhow::Result<()>;

    /// Watches processes that are there, from the next [`Engine::seed`] on.
    ///
    /// # Errors
    /// There are too many of them, the programs were loaded for something else, or they may not
    /// be watched.
    fn target(&mut self, targets: &[Identity]) -> anyhow::Result<()>;

    /// Reads what was there before attaching, by the task and task_file iterators: whole
    /// records, as from the ring. Every task that is found is watched from then on.
    ///
    /// # Errors
    /// The iterators cannot be read.
    fn seed(&mut self) -> anyhow::Result<Bytes>;

    /// See [`crate::source::Kernel::waiting`].
    ///
    /// # Errors
    /// The iterator cannot be read.
    fn waiting(&mut self) -> anyhow::Result<Bytes>;

    /// See [`crate::source::Kernel::reread`].
    ///
    /// # Errors
    /// The iterator cannot be read.
    fn reread(&mut self, pids: &[u32]) -> anyhow::Result<()>;

    /// See [`crate::source::Kernel::holders`].
    ///
    /// # Errors
    /// The iterators cannot be read.
    fn holders(&mut self, wanted: &[u64]) -> anyhow::Result<Vec<Holder>>;

    /// How often attached programs were to run and did not; `None`: the kernel does not count.
    ///
    /// # Errors
    /// It cannot be asked any more.
    fn missed(&mut self) -> anyhow::Result<Option<u64>>;

    /// Takes the programs out of the kernel.
    ///
    /// # Errors
    /// It cannot be asked any more.
    fn detach(&mut self) -> anyhow::Result<()>;

    /// See [`crate::census::holdings::mapped`].
    fn mapped(&mut self, key: ProcessKey) -> Option<Bytes>;

    /// See [`crate::census::holdings::images`].
    fn images(&mut self, key: ProcessKey) -> Option<Bytes>;

    /// See [`crate::census::holdings::gone`].
    fn gone(&mut self, key: ProcessKey) -> Option<Bytes>;

    /// See [`crate::census::process::place`].
    fn place(&mut self, pid: u32) -> (Option<Vec<u8>>, Option<PathBuf>);
}
