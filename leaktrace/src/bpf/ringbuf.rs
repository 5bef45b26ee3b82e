//! A BPF ring buffer that is read by memory.
//!
//! aya's asks bpf(2) what the map is, which the kernel refuses a plain user before Linux 5.19; memory
//! takes no right, and whoever was handed the fd can map it. In kernel/bpf/ringbuf.c (v5.8 to v7.3)
//! there is a page with the reader's position, a page with the writers', and the data, twice in a
//! row so that every record is in one piece. A record is a head of eight bytes, the first four its
//! length with two flags, and what was written, padded to eight.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use anyhow::{Context as _, ensure};
use aya_obj::generated::{BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ};
use memmap2::{MmapOptions, MmapRaw};

use super::maps::SharedMap;
use crate::census::host;

const HEAD: usize = BPF_RINGBUF_HDR_SZ as usize;

/// The reading end. There is one for each map.
#[derive(Debug)]
pub(super) struct RingBuffer {
    map: SharedMap,
    /// The reader's position.
    position: MmapRaw,
    /// The writers' position, then the data.
    written: MmapRaw,
    /// Bytes before the data.
    page: usize,
    /// Bytes of the data, a power of two.
    size: usize,
    /// Both count bytes from the beginning of time: what is read, and what was seen to be written.
    at: usize,
    end: usize,
}

impl RingBuffer {
    /// # Errors
    /// The map is another one, or the kernel refuses.
    pub(super) fn new(map: SharedMap) -> anyhow::Result<RingBuffer> {
        let page = host::page_bytes() as usize;
        let size = map.shape.entries as usize;
        ensure!(
            map.shape.value_bytes == 0 && size.is_power_of_two() && size >= page,
            "a map is no ring: {:?}",
            map.shape
        );
        let position = MmapOptions::new()
            .len(page)
            .map_raw(&map.as_fd())
            .context("map the reader's side of a ring")?;
        let written = MmapOptions::new()
            .offset(page as u64)
            .len(page + 2 * size)
            .map_raw_read_only(&map.as_fd())
            .context("map the writers' side of a ring")?;
        let mut ring = RingBuffer {
            map,
            position,
            written,
            page,
            size,
            at: 0,
            end: 0,
        };
        ring.at = ring.position().load(Ordering::Acquire);
        ring.end = ring.at;
        Ok(ring)
    }

    /// Shows the oldest record and gives its room back; `false`: none is complete.
    ///
    /// Nothing is done about wake-ups: the programs decide about each by how much waits, and the
    /// reader looks by itself after a while.
    #[inline]
    pub(super) fn next(&mut self, show: impl FnOnce(&[u8])) -> bool {
        loop {
            if self.at == self.end {
                self.end = self.end().load(Ordering::Acquire);
                if self.at == self.end {
                    return false;
                }
            }
            let begin = self.page + (self.at & (self.size - 1));
            // Pairs with the xchg of whoever has written it (bpf_ringbuf_commit).
            let head = self.head(begin).load(Ordering::Acquire);
            if head & BPF_RINGBUF_BUSY_BIT != 0 {
                return false;
            }
            let len = (head & !BPF_RINGBUF_DISCARD_BIT) as usize;
            // No record is longer than the ring.
            let len = len.min(self.size - HEAD);
            if head & BPF_RINGBUF_DISCARD_BIT == 0 {
                // SAFETY: it begins in the first copy of the data and ends in the second at the
                // latest; nobody writes there before the position has moved on.
                show(unsafe {
                    std::slice::from_raw_parts(self.written.as_ptr().add(begin + HEAD), len)
                });
                self.pass(len);
                return true;
            }
            self.pass(len);
        }
    }

    #[inline]
    fn pass(&mut self, len: usize) {
        self.at = self.at.wrapping_add((HEAD + len).next_multiple_of(8));
        // Pairs with the load of who looks for room (__bpf_ringbuf_reserve).
        self.position().store(self.at, Ordering::Release);
    }

    fn position(&self) -> &AtomicUsize {
        // SAFETY: the first word of a page that is mapped as long as self, and is never read or
        // written otherwise.
        unsafe { AtomicUsize::from_ptr(self.position.as_mut_ptr().cast()) }
    }

    fn end(&self) -> &AtomicUsize {
        // SAFETY: as above; it is loaded only, which a mapping that cannot be written allows.
        unsafe { AtomicUsize::from_ptr(self.written.as_mut_ptr().cast()) }
    }

    fn head(&self, begin: usize) -> &AtomicU32 {
        // SAFETY: as above; positions are multiples of eight, and what begins in the first copy of
        // the data has its head there.
        unsafe { AtomicU32::from_ptr(self.written.as_mut_ptr().add(begin).cast()) }
    }
}

impl AsFd for RingBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _};

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::{
        super::maps::{Shape, SharedMap},
        *,
    };

    /// A file that looks like a ring of a page, and who writes to it.
    struct Writer {
        file: File,
        page: u64,
        end: u64,
    }

    impl Writer {
        fn new() -> (Writer, RingBuffer) {
            let page = u64::from(host::page_bytes());
            let fd = memfd_create("ring", MemfdFlags::CLOEXEC).expect("a file");
            let file = File::from(fd.try_clone().expect("another fd"));
            file.set_len(4 * page).expect("pages");
            let shape = Shape {
                value_bytes: 0,
                entries: page as u32,
            };
            let ring = RingBuffer::new(SharedMap::received(fd, shape)).expect("a ring");
            let writer = Writer { file, page, end: 0 };
            (writer, ring)
        }

        fn put(&self, bytes: &[u8], at: u64) {
            for (place, byte) in (at..).zip(bytes) {
                let place = place % self.page;
                for copy in [2, 3] {
                    let place = copy * self.page + place;
                    self.file.write_all_at(&[*byte], place).expect("written");
                }
            }
        }

        /// Where its head is.
        fn write(&mut self, flags: u32, record: &[u8]) -> u64 {
            let at = self.end;
            self.put(&(record.len() as u32 | flags).to_ne_bytes(), at);
            self.put(record, at + HEAD as u64);
            self.end = (at + (HEAD + record.len()) as u64).next_multiple_of(8);
            let end = (self.end as usize).to_ne_bytes();
            self.file.write_all_at(&end, self.page).expect("written");
            at
        }
    }

    fn all(ring: &mut RingBuffer) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while ring.next(|record| all.push(record.to_vec())) {}
        all
    }

    #[test]
    fn records_come_once_and_in_their_order() {
        let (mut writer, mut ring) = Writer::new();
        assert!(all(&mut ring).is_empty());
        writer.write(0, b"one");
        writer.write(BPF_RINGBUF_DISCARD_BIT, b"of which nothing is told");
        writer.write(0, b"");
        writer.write(0, b"three, and longer");
        assert_eq!(
            all(&mut ring),
            [&b"one"[..], b"", &b"three, and longer"[..]]
        );
        assert!(all(&mut ring).is_empty());
        assert_eq!(ring.position().load(Ordering::Relaxed) as u64, writer.end);
    }

    #[test]
    fn nothing_comes_before_what_is_still_written() {
        let (mut writer, mut ring) = Writer::new();
        let at = writer.write(BPF_RINGBUF_BUSY_BIT, b"slow");
        writer.write(0, b"quick");
        assert!(all(&mut ring).is_empty());
        writer.put(&4u32.to_ne_bytes(), at);
        assert_eq!(all(&mut ring), [&b"slow"[..], b"quick"]);
    }

    #[test]
    fn a_record_at_the_edge_is_in_one_piece() {
        let (mut writer, mut ring) = Writer::new();
        let record: Vec<u8> = (0..=250).collect();
        for _ in 0..100 {
            writer.write(0, &record);
            assert_eq!(all(&mut ring), [&record[..]]);
        }
    }

    #[test]
    fn no_length_leads_out_of_the_ring() {
        let (mut writer, mut ring) = Writer::new();
        let at = writer.write(0, b"none is so long");
        writer.put(&(u32::MAX >> 2).to_ne_bytes(), at);
        let mut len = 0;
        assert!(ring.next(|record| len = record.len()));
        assert_eq!(len as u64, writer.page - HEAD as u64);
    }

    #[test]
    fn what_is_no_ring_is_refused() {
        let page = host::page_bytes();
        for (value_bytes, entries) in [(0, 0), (0, 1), (0, 100), (0, 3 * page), (8, page)] {
            let fd = memfd_create("ring", MemfdFlags::CLOEXEC).expect("a file");
            let shape = Shape {
                value_bytes,
                entries,
            };
            assert!(RingBuffer::new(SharedMap::received(fd, shape)).is_err());
        }
    }
}
