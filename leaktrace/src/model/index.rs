//! Finds entries of a store by a hash of what they hold.
//!
//! Holds the entries' numbers only, 4 bytes each, so that neither names nor file pointers are
//! kept twice; std's maps would keep the key beside every value.

/// Marks a free place.
const FREE: u32 = u32::MAX;

/// An open-addressing table of entry numbers, at most three quarters full.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: Vec<u32>,
    used: usize,
}

impl Index {
    /// The entry with this hash for which `is` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.place(hash, is).map(|place| self.places[place])
    }

    /// Adds an entry; `hash_of` tells the hash of any entry that is in here.
    pub(super) fn insert(&mut self, hash: u64, entry: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.used + 1) * 4 > self.places.len() * 3 {
            self.grow(hash_of);
        }
        self.put(hash, entry);
        self.used += 1;
    }

    /// Takes an entry out, if it is in.
    pub(super) fn remove(&mut self, hash: u64, entry: u32, hash_of: impl Fn(u32) -> u64) {
        let Some(mut hole) = self.place(hash, |other| other == entry) else {
            return;
        };
        // Moves later entries of the run back, so that no search stops at the hole.
        let mask = self.places.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let moved = self.places[next];
            if moved == FREE {
                break;
            }
            let home = hash_of(moved) as usize & mask;
            let from_home = next.wrapping_sub(home) & mask;
            let from_hole = next.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.places[hole] = moved;
                hole = next;
            }
        }
        self.places[hole] = FREE;
        self.used -= 1;
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
    }

    #[inline]
    fn place(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        loop {
            let entry = self.places[place];
            if entry == FREE {
                return None;
            }
            if is(entry) {
                return Some(place);
            }
            place = (place + 1) & mask;
        }
    }

    fn put(&mut self, hash: u64, entry: u32) {
        let mask = self.places.len() - 1;
        let mut place = hash as usize & mask;
        while self.places[place] != FREE {
            place = (place + 1) & mask;
        }
        self.places[place] = entry;
    }

    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let len = (self.places.len() * 2).max(16);
        let old = std::mem::replace(&mut self.places, vec![FREE; len]);
        for entry in old.into_iter().filter(|entry| *entry != FREE) {
            self.put(hash_of(entry), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Index;

    proptest! {
        // Each case looks for everything after every step.
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn finds_what_a_set_has(steps in proptest::collection::vec((0u32..200, any::<bool>()), 0..800)) {
            // Few hashes, so that runs are long and wrap around.
            let hash = |entry: u32| u64::from(entry % 13) | 0xf0;
            let mut index = Index::default();
            let mut set = BTreeSet::new();
            for (entry, add) in steps {
                if add && set.insert(entry) {
                    index.insert(hash(entry), entry, hash);
                } else if !add {
                    set.remove(&entry);
                    index.remove(hash(entry), entry, hash);
                }
                for entry in 0..200 {
                    let found = index.find(hash(entry), |other| other == entry);
                    prop_assert_eq!(found.is_some(), set.contains(&entry));
                }
            }
        }
    }
}
