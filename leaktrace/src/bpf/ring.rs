//! Reading the ring.

use std::{
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use bytes::{Bytes, BytesMut};
use leaktrace_common::record::{FAMILY_SLOTS, Header};
use tokio::io::{Interest, unix::AsyncFd};
use zerocopy::FromBytes;

use super::loss::Losing;

/// Bytes after which a batch is handed on although more records wait.
const BATCH: usize = 1 << 20;

/// Longest time between two looks at the ring: most records come without a wake-up.
const LOOK: Duration = Duration::from_millis(5);

/// The ring and what was read from it.
pub struct Reader {
    ring: RingBuf<MapData>,
    watch: Option<AsyncFd<OwnedFd>>,
    /// Records read, by family number.
    pub received: [u64; FAMILY_SLOTS],
    /// Loss on demand.
    pub(super) losing: Option<Losing>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader of the ring; `losing` is for tests.
    pub(super) fn new(ring: RingBuf<MapData>, losing: Option<Losing>) -> Self {
        Reader {
            ring,
            watch: None,
            received: [0; FAMILY_SLOTS],
            losing,
        }
    }

    /// The records that wait, up to a batch; does not wait.
    pub fn drain(&mut self) -> Bytes {
        let mut batch = BytesMut::new();
        if let Some(losing) = &self.losing {
            losing.nap();
        }
        while batch.len() < BATCH {
            let Some(item) = self.ring.next() else { break };
            match &mut self.losing {
                None => append(&mut batch, &item, &mut self.received),
                Some(losing) => append_or_lose(&mut batch, &item, &mut self.received, losing),
            }
        }
        batch.freeze()
    }

    /// Records; waits until there are some, or for a short while.
    ///
    /// # Errors
    /// The ring's fd cannot be watched.
    pub async fn next_batch(&mut self) -> anyhow::Result<Bytes> {
        let batch = self.drain();
        if !batch.is_empty() {
            return Ok(batch);
        }
        if self.watch.is_none() {
            // SAFETY: the map is open as long as self.
            let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
            let fd = ring
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

/// As [`append`], unless the record is to be lost.
fn append_or_lose(
    batch: &mut BytesMut,
    item: &[u8],
    received: &mut [u64; FAMILY_SLOTS],
    losing: &mut Losing,
) {
    let drops = Header::read_from_prefix(item).is_ok_and(|(header, _)| losing.drops(&header));
    if drops {
        return;
    }
    let at = batch.len();
    append(batch, item, received);
    losing.mark(&mut batch[at..]);
}

/// Copies the written part of a record, padded to eight bytes, and counts it.
pub fn append(batch: &mut BytesMut, item: &[u8], received: &mut [u64; FAMILY_SLOTS]) {
    let (Some(len), Some(kind)) = (word(item, 0), word(item, 2)) else {
        return;
    };
    let len = usize::from(len).min(item.len());
    if batch.capacity() - batch.len() < len + 8 {
        batch.reserve(len.max(64 << 10));
    }
    batch.extend_from_slice(&item[..len]);
    let padded = batch.len().next_multiple_of(8);
    batch.resize(padded, 0);
    if let Some(count) = received.get_mut(usize::from(kind >> 8)) {
        *count += 1;
    }
}

fn word(item: &[u8], at: usize) -> Option<u16> {
    let bytes = item.get(at..at + 2)?;
    Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
}
