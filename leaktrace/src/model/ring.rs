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
    by_file: NumberMap<u64, RingFacts>,
    /// The file of a ring by the address of its context: completions know no more.
    file_of: NumberMap<u64, u64>,
}

/// Rings that are remembered; more at once are told without what they hold.
const AT_MOST: usize = 4_096;

impl Rings {
    /// A ring is gone.
    pub(super) fn forget(&mut self, ring: u64) {
        if let Some(file) = self.file_of.remove(&ring) {
            self.by_file.remove(&file);
        }
    }
}

impl Model {
    pub(super) fn ring_state(&mut self, state: &RingState) {
        let rings = &mut self.rings;
        if state.file != 0 && rings.file_of.len() < AT_MOST {
            // Either address may have been another ring's before.
            if let Some(before) = rings.file_of.insert(state.ring, state.file)
                && before != state.file
            {
                rings.by_file.remove(&before);
            }
        }
        let Some(file) = rings.file_of.get(&state.ring) else {
            self.evicted += u64::from(state.file != 0);
            return;
        };
        let facts = RingFacts {
            direct: state.direct,
            slots: state.slots,
            buffers: state.buffers,
        };
        rings.by_file.insert(*file, facts);
    }

    /// Adds what a ring holds to what is told of its fd.
    pub(super) fn with_ring(&self, file: u64, facts: ResourceFacts) -> ResourceFacts {
        let ring = match facts.kind {
            Kind::IoUring => self.rings.by_file.get(&file).copied(),
            _ => None,
        };
        ResourceFacts { ring, ..facts }
    }
}
