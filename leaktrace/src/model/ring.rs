//! What io_uring rings hold by themselves: direct descriptors, which are in no fd table, and
//! registered buffers.

use leaktrace_common::record::ring::RingState;

use super::{
    Model,
    facts::{Kind, ResourceFacts, RingFacts},
    hash::NumberMap,
};

/// Rings by the address of their `struct file`.
#[derive(Debug, Default)]
pub(super) struct Rings {
    by_file: NumberMap<u64, Known>,
    /// The file of a ring by the address of its context: completions know no more.
    file_of: NumberMap<u64, u64>,
}

/// What is known of the ring that has a file now.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The address of its context. It is freed by a worker, some time after the file, whose address
    /// may be another ring's by then (io_ring_ctx_wait_and_kill in io_uring/io_uring.c, v6.18).
    ring: u64,
    facts: RingFacts,
}

/// Rings that are remembered; more at once are told without what they hold.
const AT_MOST: usize = 4_096;

impl Rings {
    /// A ring is gone.
    pub(super) fn forget(&mut self, ring: u64) {
        if let Some(file) = self.file_of.remove(&ring) {
            self.leave(file, ring);
        }
    }

    /// What is known under a file's address, unless it is another ring's by now.
    fn leave(&mut self, file: u64, ring: u64) {
        if self.by_file.get(&file).is_some_and(|it| it.ring == ring) {
            self.by_file.remove(&file);
        }
    }

    /// `false`: there is no room for another ring.
    fn state(&mut self, state: &RingState) -> bool {
        let ring = state.ring;
        let facts = RingFacts {
            direct: state.direct,
            slots: state.slots,
            buffers: state.buffers,
        };
        if state.file != 0 && self.file_of.len() < AT_MOST {
            // Either address may have been another ring's before.
            if let Some(before) = self.file_of.insert(ring, state.file)
                && before != state.file
            {
                self.leave(before, ring);
            }
            self.by_file.insert(state.file, Known { ring, facts });
            return true;
        }
        let Some(file) = self.file_of.get(&ring) else {
            // What another ring left under the address is not this one's.
            self.by_file.remove(&state.file);
            return state.file == 0;
        };
        if let Some(known) = self.by_file.get_mut(file)
            && known.ring == ring
        {
            known.facts = facts;
        }
        true
    }
}

impl Model {
    pub(super) fn ring_state(&mut self, state: &RingState) {
        self.evicted += u64::from(!self.rings.state(state));
    }

    /// Adds what a ring holds to what is told of its fd.
    pub(super) fn with_ring(&self, file: u64, facts: ResourceFacts) -> ResourceFacts {
        let ring = match facts.kind {
            Kind::IoUring => self.rings.by_file.get(&file).map(|known| known.facts),
            _ => None,
        };
        ResourceFacts { ring, ..facts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(ring: u64, file: u64, direct: u32) -> RingState {
        RingState {
            ring,
            file,
            direct,
            ..RingState::default()
        }
    }

    fn direct(rings: &Rings, file: u64) -> Option<u32> {
        rings.by_file.get(&file).map(|known| known.facts.direct)
    }

    #[test]
    fn a_ring_that_goes_after_its_file_takes_nothing_from_the_next() {
        let mut rings = Rings::default();
        assert!(rings.state(&state(0xa0, 0xf0, 3)));
        // The address of the file is used again; the context of the first goes on for a while.
        assert!(rings.state(&state(0xb0, 0xf0, 0)));
        assert!(rings.state(&state(0xb0, 0, 2)));
        assert!(rings.state(&state(0xa0, 0, 1)));
        assert_eq!(direct(&rings, 0xf0), Some(2));
        rings.forget(0xa0);
        assert_eq!(direct(&rings, 0xf0), Some(2));
        rings.forget(0xb0);
        assert_eq!(direct(&rings, 0xf0), None);
        assert!(rings.file_of.is_empty());
    }

    #[test]
    fn a_context_that_is_used_again_is_another_ring() {
        let mut rings = Rings::default();
        assert!(rings.state(&state(0xa0, 0xf0, 3)));
        assert!(rings.state(&state(0xa0, 0xe0, 1)));
        assert_eq!(
            (direct(&rings, 0xf0), direct(&rings, 0xe0)),
            (None, Some(1))
        );
        // Of one that was never told with its file nothing is known.
        assert!(rings.state(&state(0xc0, 0, 9)));
        assert_eq!(rings.by_file.len(), 1);
    }

    #[test]
    fn more_than_are_remembered_are_counted() {
        let mut rings = Rings::default();
        for ring in 1..=AT_MOST as u64 {
            assert!(rings.state(&state(ring, ring << 20, 1)));
        }
        assert!(!rings.state(&state(0xa_0000, 5 << 20, 1)));
        assert_eq!(direct(&rings, 5 << 20), None);
        assert!(rings.state(&state(1, 1 << 20, 2)));
        assert_eq!(direct(&rings, 1 << 20), Some(2));
    }
}
