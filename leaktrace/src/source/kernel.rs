//! The seam to a live kernel: what a run needs of it, without a word about BPF.

use std::future::Future;

use bytes::Bytes;
use leaktrace_common::abi::Holder;

use super::Start;
use crate::{census::holdings, id::ProcessKey, report::Events};

/// Programs that are attached and write records.
pub trait Kernel {
    /// What the run starts with, as far as the kernel side knows it: coverage, clock,
    /// namespaces, SysV objects that were there before.
    fn start(&self) -> Start;

    /// The number by which the held child makes itself known.
    fn nonce(&self) -> u64;

    /// Whether the programs have seen the held child's call.
    ///
    /// # Errors
    /// The programs cannot be asked.
    fn root_held(&self) -> anyhow::Result<bool>;

    /// Whole records, back to back; waits until there are some, or for a short while (then
    /// there may be none). A call that is dropped before it is done loses nothing.
    ///
    /// # Errors
    /// The ring cannot be read.
    fn next_batch(&mut self) -> impl Future<Output = anyhow::Result<Bytes>>;

    /// The records that are there now; does not wait.
    ///
    /// # Errors
    /// The ring cannot be read.
    fn drain(&mut self) -> anyhow::Result<Bytes>;

    /// Records of what is the case now and no event tells: calls that have been waiting for
    /// long. They did not come through the ring and do not count as produced.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn waiting(&mut self) -> anyhow::Result<Bytes> {
        Ok(Bytes::new())
    }

    /// How many records were produced, read and lost. Exact after [`Kernel::detach`] and a last
    /// [`Kernel::drain`].
    ///
    /// # Errors
    /// The counters cannot be read.
    fn counts(&mut self) -> anyhow::Result<Events>;

    /// What went wrong in the kernel and no record or counter tells, a clause each.
    ///
    /// # Errors
    /// The counters cannot be read.
    fn faults(&self) -> anyhow::Result<Vec<String>>;

    /// How many records were lost so far, and how many of them tell of births, ends, names and
    /// ipc objects; cheap enough to ask ten times a second.
    ///
    /// # Errors
    /// The counters cannot be read.
    fn lost(&mut self) -> anyhow::Result<(u64, u64)> {
        Ok((0, 0))
    }

    /// Has these processes, or all of them if 0 is among them, read again from the kernel, and every task say whether records of it
    /// were lost. What that tells comes as records.
    ///
    /// # Errors
    /// The kernel refuses.
    fn reread(&mut self, pids: &[u32]) -> anyhow::Result<()> {
        let _ = pids;
        Ok(())
    }

    /// Every fd and mapping in the system whose `struct file` or inode number is one of these.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn holders(&mut self, wanted: &[u64]) -> anyhow::Result<Vec<Holder>>;

    /// What a process has mapped, as records; see [`holdings::mapped`].
    fn mapped(&mut self, key: ProcessKey) -> Option<Bytes> {
        holdings::mapped(key)
    }

    /// Where a process has code mapped, as records; see [`holdings::images`].
    fn images(&mut self, key: ProcessKey) -> Option<Bytes> {
        holdings::images(key)
    }

    /// That a process has gone, as a record; see [`holdings::gone`].
    fn gone(&mut self, key: ProcessKey) -> Option<Bytes> {
        holdings::gone(key)
    }

    /// Takes the programs out of the kernel; nothing is produced after that.
    ///
    /// # Errors
    /// The kernel refuses.
    fn detach(&mut self) -> anyhow::Result<()>;
}
