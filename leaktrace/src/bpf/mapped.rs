//! Arrays of the programs that are read and written by memory.
//!
//! A system call that looks into a map raises `bpf_prog_active` of the CPU it runs on, with
//! preemption on (`bpf_disable_instrumentation` in kernel/bpf/syscall.c); until it has run on, the
//! kernel skips every program at a function there, for all tasks (`trace_call_bpf` in
//! kernel/trace/bpf_trace.c). Memory is looked at without the kernel (BPF_F_MMAPABLE, since Linux
//! 5.5), and by whoever was handed the fd.

use std::{
    marker::PhantomData,
    os::fd::{AsFd as _, BorrowedFd},
};

use anyhow::{Context as _, ensure};
use leaktrace_common::abi::{self, BUCKET};
use memmap2::{MmapOptions, MmapRaw};
use zerocopy::{FromBytes, IntoBytes};

use super::maps::{Shape, SharedMap};

/// Elements of an array are padded to words (`array_map_alloc` in kernel/bpf/arraymap.c).
const WORD: usize = size_of::<u64>();

/// An array of `T` that is read.
#[derive(Debug)]
pub(super) struct Mapped<T> {
    memory: MmapRaw,
    len: usize,
    _values: PhantomData<T>,
}

impl<T: FromBytes + IntoBytes> Mapped<T> {
    /// # Errors
    /// The map is another one, or the kernel refuses.
    pub(super) fn new(map: &SharedMap) -> anyhow::Result<Mapped<T>> {
        Mapped::of(map.as_fd(), map.shape)
    }

    /// As [`Mapped::new`], of a map that stays with the programs.
    ///
    /// # Errors
    /// As there.
    pub(super) fn of(map: BorrowedFd<'_>, shape: Shape) -> anyhow::Result<Mapped<T>> {
        let len = len_of::<T>(shape)?;
        let memory = MmapOptions::new()
            .len(len * size_of::<T>())
            .map_raw_read_only(&map)
            .context("map an array")?;
        Ok(Mapped {
            memory,
            len,
            _values: PhantomData,
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One of them; `None`: there are not so many. Its words are whole, each as it is when it is
    /// looked at.
    pub(super) fn get(&self, index: usize) -> Option<T> {
        if index >= self.len {
            return None;
        }
        let mut value = T::new_zeroed();
        let begin = index * size_of::<T>();
        for (at, word) in value.as_mut_bytes().chunks_exact_mut(WORD).enumerate() {
            // SAFETY: within the length that was mapped, and aligned: the memory begins with a
            // page. The programs change it meanwhile, hence volatile.
            let read = unsafe {
                self.memory
                    .as_ptr()
                    .add(begin + at * WORD)
                    .cast::<u64>()
                    .read_volatile()
            };
            word.copy_from_slice(&read.to_ne_bytes());
        }
        Some(value)
    }
}

/// A set of numbers but zero that the programs look into: see [`abi::BUCKET`].
#[derive(Debug)]
pub(super) struct Set {
    memory: MmapRaw,
    buckets: u32,
}

impl Set {
    /// # Errors
    /// The map is another one, or the kernel refuses.
    pub(super) fn new(map: BorrowedFd<'_>, shape: Shape) -> anyhow::Result<Set> {
        let len = len_of::<[u64; BUCKET]>(shape)?;
        ensure!(len.is_power_of_two(), "a set of {len} buckets");
        let memory = MmapOptions::new()
            .len(len * size_of::<[u64; BUCKET]>())
            .map_raw(&map)
            .context("map a set")?;
        Ok(Set {
            memory,
            buckets: len as u32,
        })
    }

    /// Puts a key in; `false`: there is no room for it.
    pub(super) fn insert(&mut self, key: u64) -> bool {
        let bucket = abi::bucket(key, self.buckets) as usize * BUCKET;
        let places = bucket..bucket + BUCKET;
        let free = places.clone().find(|at| self.word(*at) == 0);
        if places.clone().any(|at| self.word(at) == key) {
            return true;
        }
        if let Some(at) = free {
            self.put(at, key);
        }
        free.is_some()
    }

    /// Takes all out and puts these in, as far as there is room for them: the rest is given back,
    /// and is less than all.
    pub(super) fn replace<'k>(&mut self, keys: &'k [u64]) -> &'k [u64] {
        for at in 0..self.buckets as usize * BUCKET {
            self.put(at, 0);
        }
        let full = keys.iter().position(|key| !self.insert(*key));
        &keys[full.unwrap_or(keys.len())..]
    }

    fn word(&self, at: usize) -> u64 {
        // SAFETY: places are within the length that was mapped, and aligned: the memory begins with
        // a page. Nobody else writes.
        unsafe { self.memory.as_ptr().cast::<u64>().add(at).read_volatile() }
    }

    fn put(&mut self, at: usize, key: u64) {
        // SAFETY: as in `word`; the programs look at it meanwhile, hence volatile.
        unsafe {
            self.memory
                .as_mut_ptr()
                .cast::<u64>()
                .add(at)
                .write_volatile(key);
        }
    }
}

/// How many elements an array of `T` has.
fn len_of<T>(shape: Shape) -> anyhow::Result<usize> {
    const { assert!(size_of::<T>().is_multiple_of(WORD) && size_of::<T>() > 0) };
    let is_as_known = shape.value_bytes as usize == size_of::<T>() && shape.entries > 0;
    ensure!(is_as_known, "a map has another shape than it had");
    Ok(shape.entries as usize)
}

/// One more than the highest number that a CPU can have: the kernel tells ranges in ascending
/// order (Documentation/ABI/testing/sysfs-devices-system-cpu).
///
/// # Errors
/// The kernel does not tell.
pub(super) fn cpus() -> anyhow::Result<u32> {
    const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
    let text = std::fs::read_to_string(POSSIBLE).with_context(|| format!("read `{POSSIBLE}`"))?;
    last_of(&text)
        .and_then(|last| last.checked_add(1))
        .with_context(|| format!("understand `{POSSIBLE}`"))
}

fn last_of(ranges: &str) -> Option<u32> {
    ranges.trim().rsplit([',', '-']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cpu_is_told_whatever_is_missing_before_it() {
        assert_eq!(last_of("0\n"), Some(0));
        assert_eq!(last_of("0-63\n"), Some(63));
        assert_eq!(last_of("0-1,4,8-11\n"), Some(11));
        assert_eq!(last_of("0-3,7"), Some(7));
        assert_eq!(last_of("none"), None);
    }

    fn set(buckets: u32) -> Set {
        let len = buckets as usize * size_of::<[u64; BUCKET]>();
        let memory = MmapOptions::new().len(len).map_anon().expect("memory");
        Set {
            memory: memory.into(),
            buckets,
        }
    }

    fn has(set: &Set, key: u64) -> bool {
        let bucket = abi::bucket(key, set.buckets) as usize * BUCKET;
        (bucket..bucket + BUCKET).any(|at| set.word(at) == key)
    }

    #[test]
    fn a_set_holds_what_was_put_in_until_it_is_cleared() {
        // As many as it is used for: an eighth. Addresses, numbers of processes, inodes.
        let mut set = set(abi::WANTED_BUCKETS);
        let keys = (0..1400).flat_map(|n| [0xffff_8880_0000_0000 + n * 256, n + 1, n << 40 | 7]);
        let keys: Vec<u64> = keys.take(abi::WANTED_BUCKETS as usize * 2).collect();
        assert!(keys.iter().all(|key| set.insert(*key)));
        assert!(keys.iter().all(|key| has(&set, *key)));
        assert!(!has(&set, 0xffff_8880_0000_0001));
        assert!(set.replace(&[]).is_empty());
        assert!(!keys.iter().any(|key| has(&set, *key)));
    }

    #[test]
    fn a_full_bucket_says_so_and_takes_no_key_twice() {
        let mut set = set(1);
        for _ in 0..2 {
            assert!((1..=BUCKET as u64).all(|key| set.insert(key)));
        }
        assert!(!set.insert(99));
        assert!(has(&set, 1) && !has(&set, 99));
        let keys: Vec<u64> = (50..90).collect();
        assert_eq!(set.replace(&keys), &keys[BUCKET..]);
        assert!(has(&set, 50) && !has(&set, 1));
    }
}
