//! A run on processes that leaktrace did not start.

use std::future::pending;

use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep_until},
};

use super::{Live, mend::Haste};
use crate::{
    census::Census,
    launch::{Signals, signals},
    source::{Item, Kernel},
};

/// Until when to watch.
pub struct Until<'a> {
    /// At the latest.
    pub deadline: Option<Instant>,
    /// Whether what is watched has ended.
    pub ended: &'a dyn Fn() -> bool,
}

/// Why watching is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// What was watched has ended.
    Ended,
    /// The time is over, or a signal came: what was watched goes on.
    Stopped,
}

impl<K: Kernel, C: Census> Live<K, C> {
    /// Watches until the deadline, the end of what is watched, or a signal, whichever is first.
    ///
    /// # Errors
    /// Records cannot be read, or the capture not be written.
    pub async fn attend(
        &mut self,
        signals: &AsyncFd<Signals>,
        until: &Until<'_>,
    ) -> anyhow::Result<Over> {
        let deadline = async {
            match until.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        tokio::pin!(deadline);
        let over = loop {
            tokio::select! {
                biased;
                received = signals::next(signals) => {
                    received?;
                    break Over::Stopped;
                }
                () = &mut deadline => break Over::Stopped,
                batch = self.next_batch() => {
                    let batch = batch?;
                    self.take(Item::Records(batch));
                    self.tick();
                    self.look_for_waiting()?;
                    self.mend(Haste::InTurn)?;
                }
            }
            if (until.ended)() {
                break Over::Ended;
            }
        };
        self.catch_up()?;
        Ok(over)
    }
}
