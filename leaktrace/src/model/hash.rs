//! A quick hash for numbers that the kernel hands out (pids, addresses, ids).
//!
//! Names come from watched programs and are hashed with std's keyed hash instead.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A map keyed by numbers from the kernel.
pub(super) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Multiplies and folds each number that is written.
#[derive(Clone, Copy, Default)]
pub(super) struct NumberHasher(u64);

/// One number, mixed: high and low bits both depend on all of it.
#[inline]
pub(super) fn mix(number: u64) -> u64 {
    // 2^64 divided by the golden ratio: Fibonacci hashing.
    let wide = u128::from(number ^ 0x5851_f42d_4c95_7f2d) * 0x9e37_79b9_7f4a_7c15;
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl Hasher for NumberHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    #[inline]
    fn write_i32(&mut self, number: i32) {
        self.write_u64(u64::from(number as u32));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0.rotate_left(5) ^ number);
    }
}
