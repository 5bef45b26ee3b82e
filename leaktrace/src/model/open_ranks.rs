//! Ranks of what a process has open: answers which is the youngest.

/// Marks the rank of something that is no longer open and lies between others.
const GONE: u64 = 1 << 63;

/// Gone ranks that are kept for the sake of speed.
const SPARE: usize = 64;

/// Ranks in ascending order; the last is open.
#[derive(Debug, Default)]
pub(super) struct OpenRanks {
    ranks: Vec<u64>,
    gone: usize,
}

impl OpenRanks {
    /// Something was acquired; ranks only rise.
    #[inline]
    pub(super) fn push(&mut self, rank: u64) {
        debug_assert!(self.newest().is_none_or(|newest| newest < rank));
        self.ranks.push(rank);
    }

    /// Something was released. O(1) for the youngest, O(log n) for others.
    #[inline]
    pub(super) fn remove(&mut self, rank: u64) {
        if self.ranks.last() == Some(&rank) {
            self.ranks.pop();
            self.trim();
            return;
        }
        let Ok(place) = self.ranks.binary_search_by_key(&rank, |rank| rank & !GONE) else {
            return;
        };
        if self.ranks[place] & GONE == 0 {
            self.ranks[place] |= GONE;
            self.gone += 1;
        }
        if self.gone > SPARE && self.gone * 2 > self.ranks.len() {
            self.ranks.retain(|rank| rank & GONE == 0);
            self.gone = 0;
        }
    }

    /// The youngest that is open.
    #[inline]
    pub(super) fn newest(&self) -> Option<u64> {
        self.ranks.last().copied()
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.ranks.capacity() * size_of::<u64>()
    }

    /// Takes gone ranks off the end.
    #[inline]
    fn trim(&mut self) {
        while self.ranks.last().is_some_and(|rank| rank & GONE != 0) {
            self.ranks.pop();
            self.gone -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::OpenRanks;

    proptest! {
        #[test]
        fn the_newest_is_that_of_a_set(steps in proptest::collection::vec((any::<bool>(), 0usize..400), 1..600)) {
            let mut ranks = OpenRanks::default();
            let mut set = BTreeSet::new();
            for (number, (add, pick)) in steps.into_iter().enumerate() {
                if add {
                    ranks.push(number as u64);
                    set.insert(number as u64);
                } else if let Some(rank) = set.iter().nth(pick % set.len().max(1)).copied() {
                    ranks.remove(rank);
                    set.remove(&rank);
                }
                prop_assert_eq!(ranks.newest(), set.last().copied());
                prop_assert!(ranks.ranks.len() <= 2 * set.len() + super::SPARE + 1);
            }
        }
    }
}
