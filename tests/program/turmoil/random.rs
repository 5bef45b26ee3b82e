//! Numbers that only the seed decides.

/// xorshift64*.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence for one of several users of a seed.
    pub fn new(seed: u64, user: u64) -> Self {
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (user + 1) << 32;
        Self(mixed | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    /// Takes one out of a list.
    pub fn take<T>(&mut self, list: &mut Vec<T>) -> Option<T> {
        match list.len() {
            0 => None,
            len => Some(list.swap_remove(self.below(len as u64) as usize)),
        }
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        match list.len() {
            0 => None,
            len => Some(list[self.below(len as u64) as usize]),
        }
    }
}
