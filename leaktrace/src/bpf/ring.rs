//! Reading the ring.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use leaktrace_common::record::{FAMILY_SLOTS, Header};
use tokio::io::{Interest, unix::AsyncFd};
use zerocopy::FromBytes;

use super::{loss::Losing, ringbuf::RingBuffer};
use crate::census::host;

/// Bytes after which a batch is handed on although more records wait. A reader that falls behind takes
/// no more memory than a few of these.
const BATCH: usize = 256 << 10;

/// No record is longer.
const RECORD: usize = 64 << 10;

/// A record of the spare ring is older than this when it is handed on: a program that was
/// interrupted while it filled a record of the ring holds up those behind it.
const MARGIN: Duration = Duration::from_millis(2);

/// Bytes of the spare ring's records that wait for their place at most. A reader that is too slow
/// would grow without this; so the ring fills, and what has no room there is counted as lost.
const WAITING: usize = 256 << 10;

/// Longest time between two looks at the ring: most records come without a wake-up.
const LOOK: Duration = Duration::from_millis(5);

/// The rings and what was read from them.
pub struct Reader {
    ring: RingBuffer,
    /// Records for which the ring had no room and which cannot be replaced.
    spare: RingBuffer,
    /// Of the ring, what is not handed on: all of it may come after something of the spare ring.
    read: BytesMut,
    /// Of the spare ring, what is not in its place yet.
    waiting: BytesMut,
    /// Whether there was something to merge the last time.
    is_merging: bool,
    watch: Option<AsyncFd<OwnedFd>>,
    /// Records read.
    pub(super) received: Received,
    /// Loss on demand.
    pub(super) losing: Option<Losing>,
}

/// Records read, by CPU and family number.
#[derive(Clone, Debug, Default)]
pub struct Received(Vec<[u64; FAMILY_SLOTS]>);

impl Received {
    #[inline]
    fn count(&mut self, cpu: u16, family: u8) {
        let cpu = usize::from(cpu);
        if cpu >= self.0.len() {
            self.0.resize(cpu + 1, [0; FAMILY_SLOTS]);
        }
        if let Some(count) = self.0[cpu].get_mut(usize::from(family)) {
            *count += 1;
        }
    }

    /// Records of a family from one CPU.
    pub(super) fn of(&self, cpu: usize, family: usize) -> u64 {
        self.0.get(cpu).map_or(0, |families| families[family])
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader of both rings; `losing` is for tests.
    pub(super) fn new(ring: RingBuffer, spare: RingBuffer, losing: Option<Losing>) -> Self {
        Reader {
            ring,
            spare,
            read: BytesMut::new(),
            waiting: BytesMut::new(),
            is_merging: false,
            watch: None,
            received: Received::default(),
            losing,
        }
    }

    /// Has threads of which records were lost on demand say so, as the programs do for theirs.
    pub(super) fn tell_marks(&mut self) {
        if let Some(losing) = &mut self.losing {
            losing.tell(&mut self.waiting);
        }
    }

    /// The records that wait, up to a batch; does not wait.
    pub fn drain(&mut self) -> Bytes {
        if let Some(losing) = &self.losing {
            losing.nap();
        }
        loop {
            let now = host::boottime_ns();
            fill(&mut self.read, BATCH, |read| {
                let (received, losing) = (&mut self.received, &mut self.losing);
                self.ring
                    .next(|record| take(read, record, received, losing))
            });
            fill(&mut self.waiting, WAITING, |waiting| {
                let (received, losing) = (&mut self.received, &mut self.losing);
                self.spare
                    .next(|record| take(waiting, record, received, losing))
            });
            if self.waiting.is_empty() {
                // That the ring has no room is seldom: what it took is given back.
                if std::mem::take(&mut self.is_merging) {
                    self.waiting = BytesMut::new();
                    return std::mem::take(&mut self.read).freeze();
                }
                return self.read.split().freeze();
            }
            self.is_merging = true;
            // What is later than all that was read of the ring may be later than something that
            // is still in it.
            let mut until = match self.read.len() < BATCH {
                true => now.saturating_sub(MARGIN.as_nanos() as u64),
                false => last_time(&self.read).unwrap_or(now),
            };
            // The same of what was read of the spare ring.
            if self.waiting.len() >= WAITING {
                until = last_time(&self.waiting).map_or(until, |last| last.min(until));
            }
            let merged = merge(&mut self.read, &mut self.waiting, until);
            if !merged.is_empty() {
                return merged.freeze();
            }
            std::thread::sleep(MARGIN);
        }
    }

    /// Records; waits until there are some, or for a short while.
    ///
    /// # Errors
    /// The ring's fd cannot be watched.
    pub async fn next_batch(&mut self) -> anyhow::Result<Bytes> {
        // While there are always records, nothing here would wait, and the runtime would look
        // neither at its timers nor at signals nor at the child's end. Before anything is taken
        // out: whoever waits for several things may drop this future here.
        tokio::task::yield_now().await;
        let batch = self.drain();
        if !batch.is_empty() {
            return Ok(batch);
        }
        if self.watch.is_none() {
            let fd = self
                .ring
                .as_fd()
                .try_clone_to_owned()
                .context("duplicate the ring's fd")?;
            // SAFETY: the fd is owned by the watch and closed by nobody else.
            let watch = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
            self.watch = Some(watch.context("watch the ring")?);
        }
        if let Some(watch) = &self.watch {
            // A timeout is the usual case, not an error.
            if let Ok(ready) = tokio::time::timeout(LOOK, watch.readable()).await {
                ready.context("wait for the ring")?.clear_ready();
            }
        }
        Ok(self.drain())
    }
}

/// Reads records until there are so many bytes, or no more records. What was handed on and is not
/// looked at any more gives its room back: the buffer stays the same.
#[inline]
fn fill(buffer: &mut BytesMut, enough: usize, mut next: impl FnMut(&mut BytesMut) -> bool) {
    buffer.reserve((enough + RECORD).saturating_sub(buffer.len()));
    while buffer.len() < enough && next(buffer) {}
}

/// Copies a record, unless it is to be lost.
#[inline]
fn take(batch: &mut BytesMut, item: &[u8], received: &mut Received, losing: &mut Option<Losing>) {
    let Some(losing) = losing else {
        append(batch, item, received);
        return;
    };
    if !losing.drops(item) {
        let at = batch.len();
        append(batch, item, received);
        losing.mark(&mut batch[at..]);
    }
}

/// Copies the written part of a record, padded to eight bytes, and counts it.
#[inline]
fn append(batch: &mut BytesMut, item: &[u8], received: &mut Received) {
    let (Some(len), Some(kind), Some(cpu)) = (word(item, 0), word(item, 2), word(item, 4)) else {
        return;
    };
    let len = usize::from(len).min(item.len());
    batch.extend_from_slice(&item[..len]);
    let padded = batch.len().next_multiple_of(8);
    batch.resize(padded, 0);
    received.count(cpu, (kind >> 8) as u8);
}

#[inline]
fn word(item: &[u8], at: usize) -> Option<u16> {
    let bytes = item.get(at..at + 2)?;
    Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
}

/// Length, padded, and time of the record at the front.
fn front(records: &[u8]) -> Option<(usize, u64)> {
    let (header, _) = Header::read_from_prefix(records).ok()?;
    let len = usize::from(header.len).next_multiple_of(8);
    (len > 0 && len <= records.len()).then_some((len, header.time_ns))
}

fn last_time(records: &[u8]) -> Option<u64> {
    let mut rest = records;
    let mut last = None;
    while let Some((len, time)) = front(rest) {
        last = Some(time);
        rest = &rest[len..];
    }
    last
}

/// Both in the order of their times, each in its own order, as far as nothing is later than
/// `until`. What is merged is taken out.
fn merge(ring: &mut BytesMut, spare: &mut BytesMut, until: u64) -> BytesMut {
    let mut merged = BytesMut::with_capacity(ring.len() + spare.len());
    loop {
        let first = front(ring).filter(|(_, time)| *time <= until);
        let other = front(spare).filter(|(_, time)| *time <= until);
        let next = match (first, other) {
            (Some((len, time)), Some((_, later))) if time <= later => ring.split_to(len),
            (_, Some((len, _))) => spare.split_to(len),
            (Some((len, _)), None) => ring.split_to(len),
            (None, None) => return merged,
        };
        merged.extend_from_slice(&next);
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    fn records(times: &[u64]) -> Vec<u8> {
        let header = |time: &u64| Header {
            len: 56,
            time_ns: *time,
            ..Header::default()
        };
        let all = times.iter().map(header);
        all.flat_map(|header| header.as_bytes().to_vec()).collect()
    }

    fn times(mut records: &[u8]) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some((len, time)) = front(records) {
            times.push(time);
            records = &records[len..];
        }
        times
    }

    #[test]
    fn what_had_no_room_comes_where_it_belongs_and_not_too_early() {
        let mut spare = BytesMut::from(&records(&[5, 15, 40])[..]);
        let mut ring = BytesMut::from(&records(&[1, 10, 20, 35])[..]);
        let merged = merge(&mut ring, &mut spare, 30);
        assert_eq!(times(&merged), [1, 5, 10, 15, 20]);
        assert_eq!((times(&ring), times(&spare)), (vec![35], vec![40]));
        let merged = merge(&mut ring, &mut spare, 40);
        assert_eq!(times(&merged), [35, 40]);
        assert!(spare.is_empty());
    }

    fn fill_with(buffer: &mut BytesMut, record: &[u8], enough: usize) {
        fill(buffer, enough, |buffer| {
            buffer.extend_from_slice(record);
            true
        });
        assert!((enough..enough + RECORD).contains(&buffer.len()));
    }

    #[test]
    fn what_nobody_looks_at_any_more_is_where_the_next_records_go() {
        let record = records(&[1]);
        let mut buffer = BytesMut::new();
        let mut places = std::collections::HashSet::new();
        for _ in 0..100 {
            fill_with(&mut buffer, &record, 8 << 10);
            places.insert(buffer.split().freeze().as_ptr());
        }
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn a_buffer_does_not_grow_whatever_is_left_in_it() {
        const ENOUGH: usize = 8 << 10;
        let record = records(&[1]);
        let mut buffer = BytesMut::new();
        for round in 0..1_000 {
            fill_with(&mut buffer, &record, ENOUGH);
            drop(buffer.split_to(buffer.len() * (round % 8) / 8));
            assert!(buffer.capacity() <= 2 * (ENOUGH + RECORD));
        }
    }
}
