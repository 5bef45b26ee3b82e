//! A run on processes that leaktrace did not start.

use std::future::pending;

use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep_until},
};

use super::Live;
use crate::{
    census::Census,
    launch::{Signals, Target, signals},
    source::{Item, Kernel},
};

/// Until when to watch.
#[derive(Debug, Default)]
pub struct Until {
    /// At the latest.
    pub deadline: Option<Instant>,
    /// Until all of these have ended; none: they do not matter.
    pub targets: Vec<Target>,
}

impl<K: Kernel, C: Census> Live<K, C> {
    /// Watches until the deadline, the end of the targets, or a signal, whichever is first.
    ///
    /// # Errors
    /// Records cannot be read, or the capture not be written.
    pub async fn attend(
        &mut self,
        signals: &AsyncFd<Signals>,
        until: &Until,
    ) -> anyhow::Result<()> {
        let deadline = async {
            match until.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                received = signals::next(signals) => {
                    received?;
                    break;
                }
                () = &mut deadline => break,
                batch = self.next_batch() => {
                    let batch = batch?;
                    self.take(Item::Records(batch));
                    self.tick();
                }
            }
            if !until.targets.is_empty() && until.targets.iter().all(Target::has_ended) {
                break;
            }
        }
        self.catch_up()
    }
}
