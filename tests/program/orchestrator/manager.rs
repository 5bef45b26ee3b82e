//! What a manager is, and what it tells.

use std::time::Duration;

use anyhow::Result;

/// Classes of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Memory,
    Mapping,
    Ipc,
    Task,
    Ring,
    Signal,
    Socket,
    Fd,
}

impl Class {
    /// As it stands in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Mapping => "mapping",
            Self::Ipc => "ipc",
            Self::Task => "task",
            Self::Ring => "ring",
            Self::Signal => "signal",
            Self::Socket => "socket",
            Self::Fd => "fd",
        }
    }
}

/// What a cleanup did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Releases that worked.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Releases that the kernel refused.
    pub errors: u64,
    /// Time spent in releases.
    pub time: Duration,
}

/// Takes the resources of one class and gives them back.
pub trait Manager {
    /// Which class.
    fn class(&self) -> Class;
    /// Takes what it manages.
    fn acquire(&mut self) -> Result<()>;
    /// Gives everything back, the last first.
    fn release(&mut self) -> Done;
}

/// Runs one release call and adds what came of it.
pub fn count(done: &mut Done, bytes: u64, call: impl FnOnce() -> i64) {
    let begin = std::time::Instant::now();
    let result = call();
    done.time += begin.elapsed();
    if result < 0 {
        done.errors += 1;
    } else {
        done.count += 1;
        done.bytes += bytes;
    }
}
