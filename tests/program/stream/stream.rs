//! The stream itself: what it holds and the ways in which it lets go.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

use crate::monitor::Monitor;
use crate::operation::Operation;
use crate::spool::Spool;

/// What a stream may take, and how long it may take to give it back.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Operations at once.
    pub pending: usize,
    /// For all of them to end once cancelled.
    pub cleanup: Duration,
}

/// A stream at work.
#[derive(Debug)]
pub struct Stream {
    limits: Limits,
    cancel: watch::Sender<bool>,
    spool: Spool,
    monitor: Option<Monitor>,
    pending: Vec<Operation>,
}

impl Stream {
    /// Opens one; must be called inside a runtime.
    pub fn open(limits: Limits) -> Result<Self> {
        Ok(Self {
            limits,
            cancel: watch::Sender::new(false),
            spool: Spool::new()?,
            monitor: Some(Monitor::start()?),
            pending: Vec::new(),
        })
    }

    /// Begins an operation if there is room for one.
    pub async fn begin(&mut self, stubborn: bool) -> Result<()> {
        ensure!(self.pending.len() < self.limits.pending, "too many pending");
        self.begin_unchecked(stubborn).await
    }

    /// Begins one whether there is room or not.
    pub async fn begin_unchecked(&mut self, stubborn: bool) -> Result<()> {
        let operation = Operation::begin(self.cancel.subscribe(), stubborn).await?;
        self.pending.push(operation);
        Ok(())
    }

    /// Gives every operation something to read.
    pub async fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.spool.push(bytes)?;
        for operation in &mut self.pending {
            operation.peer.write_all(bytes).await?;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok(())
    }

    /// Cancels all, waits as long as the limit allows, aborts who is still there.
    pub async fn cleanup(mut self) -> Result<()> {
        self.cancel.send_replace(true);
        let deadline = tokio::time::Instant::now() + self.limits.cleanup;
        while let Some(mut operation) = self.pending.pop() {
            if tokio::time::timeout_at(deadline, &mut operation.task)
                .await
                .is_err()
            {
                operation.task.abort();
                // An aborted task says so instead of how much it read.
                let _ = operation.task.await;
            }
        }
        self.end_monitor().await
    }

    /// Cancels all and waits for as long as it takes.
    pub async fn cleanup_without_limit(mut self) -> Result<()> {
        self.cancel.send_replace(true);
        while let Some(operation) = self.pending.pop() {
            operation.task.await?;
        }
        self.end_monitor().await
    }

    /// Cancels all and leaves the monitor to itself.
    pub async fn cleanup_but_the_monitor(mut self) -> Result<()> {
        if let Some(monitor) = self.monitor.take() {
            monitor.detach();
        }
        self.cleanup().await
    }

    /// Ends the monitor, and leaves the readers and their peers as they are.
    pub async fn end_without_cancelling(mut self) -> Result<()> {
        std::mem::forget(std::mem::take(&mut self.pending));
        self.end_monitor().await
    }

    async fn end_monitor(&mut self) -> Result<()> {
        if let Some(monitor) = self.monitor.take() {
            monitor.stop().await?;
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // On a way out that did not come through a cleanup: at least nobody goes on reading.
        for operation in &self.pending {
            operation.task.abort();
        }
    }
}
