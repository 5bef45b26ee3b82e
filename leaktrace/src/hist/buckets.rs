//! Durations in fixed classes: what a metrics endpoint tells, to be added up over machines.

/// Upper bounds, ns: four times the one before, from 1 µs on.
pub const BOUNDS_NS: [u64; 14] = {
    let mut bounds = [1_000; 14];
    let mut i = 1;
    while i < bounds.len() {
        bounds[i] = bounds[i - 1] * 4;
        i += 1;
    }
    bounds
};

/// How many durations fell into each class; the last has no upper bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// By class.
    pub counts: [u64; BOUNDS_NS.len() + 1],
    /// Their sum, ns.
    pub sum_ns: u64,
}

impl Buckets {
    /// Adds a duration.
    pub fn add(&mut self, ns: u64) {
        let class = BOUNDS_NS.partition_point(|bound| *bound < ns);
        self.counts[class] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_class() {
        let mut buckets = Buckets::default();
        for ns in [0, 1_000, 1_001, 4_000, u64::MAX] {
            buckets.add(ns);
        }
        assert_eq!(buckets.counts[..2], [2, 2]);
        assert_eq!(buckets.counts[BOUNDS_NS.len()], 1);
        assert_eq!(buckets.count(), 5);
    }
}
