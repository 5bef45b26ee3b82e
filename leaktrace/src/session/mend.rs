//! Making tables right again after a loss.
//!
//! Shared by the runs that judge and by the live screen. Pure but for the clock, which comes as a
//! value: what is to be done is told, the caller does it.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    census::holdings,
    id::ProcessKey,
    model::{Model, facts::Families},
    source::Kernel,
};

/// Time between two looks at what was lost.
const EVERY: Duration = Duration::from_millis(100);
/// A process that changes too fast to be read is tried again ever less often, down to this.
const SELDOM: Duration = Duration::from_secs(5);

/// When what was last tried.
#[derive(Debug, Default)]
pub(super) struct Mending {
    looked: Option<Instant>,
    lost: u64,
    tries: BTreeMap<ProcessKey, (u32, Instant)>,
}

/// Whether there is time to wait for the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// There is.
    InTurn,
    /// There is not: something is to be judged now.
    Now,
}

impl Mending {
    /// Has read again what the model cannot trust. The answer is records for the model, which
    /// must have been fed everything that was drained before; more come through the ring.
    pub(super) fn mend(
        &mut self,
        kernel: &mut impl Kernel,
        model: &Model,
        haste: Haste,
    ) -> anyhow::Result<Vec<Bytes>> {
        let now = Instant::now();
        let is_due = self
            .looked
            .is_none_or(|last| now.duration_since(last) >= EVERY);
        if haste == Haste::InTurn && !is_due {
            return Ok(Vec::new());
        }
        self.looked = Some(now);
        let lost = kernel.lost()?;
        let more = lost != std::mem::replace(&mut self.lost, lost);
        let tainted = model.tainted();
        self.tries
            .retain(|key, _| tainted.iter().any(|(other, _)| other == key));
        let due: Vec<(ProcessKey, Families)> = tainted
            .into_iter()
            .filter(|(key, _)| haste == Haste::Now || self.is_due(*key, now))
            .collect();
        if due.is_empty() && !more {
            return Ok(Vec::new());
        }
        let pids: Vec<u32> = due.iter().map(|(key, _)| key.pid.0).collect();
        kernel.reread(&pids)?;
        let mut records = Vec::new();
        for (key, families) in due {
            let (tries, at) = self.tries.entry(key).or_insert((0, now));
            (*tries, *at) = (*tries + 1, now);
            if !families.both(Families::MAPPINGS).is_empty() {
                records.extend(holdings::mapped(key));
            }
        }
        Ok(records)
    }

    fn is_due(&self, key: ProcessKey, now: Instant) -> bool {
        let Some((tries, last)) = self.tries.get(&key) else {
            return true;
        };
        let wait = EVERY.saturating_mul(1 << (*tries).min(6)).min(SELDOM);
        now.duration_since(*last) >= wait
    }
}
