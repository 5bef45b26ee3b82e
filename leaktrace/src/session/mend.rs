//! Making tables right again after a loss.
//!
//! Shared by the runs that judge and by the live screen. Pure but for the clock, which comes as a
//! value: what is to be done is told, the caller does it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    census::sysv_changes,
    id::ProcessKey,
    model::{Model, facts::Families},
    source::{Kernel, Start},
};

/// Time between two looks at what was lost.
const EVERY: Duration = Duration::from_millis(100);
/// A process that changes too fast to be read is tried again ever less often, down to this.
const SELDOM: Duration = Duration::from_secs(5);

/// Time after a loss, and between two searches for who has gone.
const SEARCH: Duration = Duration::from_secs(1);
/// The same once nobody was missing: what was read again of a process may come behind its end, and
/// make it seem to live.
const SEARCH_AGAIN: Duration = Duration::from_secs(10);

/// When what was last tried.
#[derive(Debug, Default)]
pub(super) struct Mending {
    looked: Option<Instant>,
    lost: (u64, u64),
    tries: BTreeMap<ProcessKey, (u32, Instant)>,
    /// When processes that are believed to live are to be looked for, once records have been lost,
    /// and those that were not there the last time.
    search: Option<Instant>,
    missing: BTreeSet<ProcessKey>,
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
        start: &Start,
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
        let before = std::mem::replace(&mut self.lost, lost);
        let (more, more_vital) = (lost != before, lost.1 != before.1);
        let tainted = model.tainted();
        self.tries
            .retain(|key, _| tainted.iter().any(|(other, _)| other == key));
        let due: Vec<(ProcessKey, Families)> = tainted
            .into_iter()
            .filter(|(key, _)| haste == Haste::Now || self.is_due(*key, now))
            .collect();
        if more {
            self.search.get_or_insert(now + SEARCH);
        }
        let mut records = self.search(kernel, model, now);
        if due.is_empty() && !more {
            return Ok(records);
        }
        let by_program = due
            .iter()
            .filter(|(_, families)| !families.without(Families::MAPPINGS).is_empty());
        let mut pids: Vec<u32> = by_program.map(|(key, _)| key.pid.0).collect();
        if more_vital {
            // Somebody may have been born whom nobody told of.
            pids.insert(0, 0);
            let known = model.sysv(start.ipc_ns);
            let somebody = model.living().next();
            records.extend(somebody.and_then(|somebody| {
                sysv_changes(&known, start, somebody, |pid| model.last_with(pid))
            }));
        }
        // After a loss also of nobody: who has marks says so then.
        if more || !pids.is_empty() {
            kernel.reread(&pids)?;
        }
        for (key, families) in due {
            let (tries, at) = self.tries.entry(key).or_insert((0, now));
            (*tries, *at) = (*tries + 1, now);
            if !families.both(Families::MAPPINGS).is_empty() {
                records.extend(kernel.mapped(key));
            }
        }
        Ok(records)
    }

    /// Processes whose end was lost, and that they went too. What is missing once may have records
    /// on their way; what is missing twice has none.
    fn search(&mut self, kernel: &mut impl Kernel, model: &Model, now: Instant) -> Vec<Bytes> {
        if self.search.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let before = std::mem::take(&mut self.missing);
        let mut records = Vec::new();
        for key in model.living() {
            match kernel.gone(key) {
                Some(record) if before.contains(&key) => records.push(record),
                Some(_) => {
                    self.missing.insert(key);
                }
                None => {}
            }
        }
        let wait = match self.missing.is_empty() {
            true => SEARCH_AGAIN,
            false => SEARCH,
        };
        self.search = Some(now + wait);
        records
    }

    fn is_due(&self, key: ProcessKey, now: Instant) -> bool {
        let Some((tries, last)) = self.tries.get(&key) else {
            return true;
        };
        let wait = EVERY.saturating_mul(1 << (*tries).min(6)).min(SELDOM);
        now.duration_since(*last) >= wait
    }
}
