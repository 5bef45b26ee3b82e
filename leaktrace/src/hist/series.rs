//! Durations of one kind: a few as they are, many as a histogram.

use hdrhistogram::Histogram;

use super::Quantiles;

/// From here on a histogram takes less memory than the values.
const MOST_PLAIN: usize = 512;
/// Below this a percentile would be one of a handful of values.
const LEAST_FOR_PERCENTILES: u64 = 20;
/// Relative error of a histogram's values: below 1 %.
const DIGITS: u8 = 2;

/// Durations, ns.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Empty once there is a histogram.
    plain: Vec<u64>,
    large: Option<Box<Large>>,
}

/// min and max are kept aside: a histogram rounds them.
#[derive(Clone, Debug)]
struct Large {
    histogram: Histogram<u32>,
    n: u64,
    min: u64,
    max: u64,
}

impl Series {
    /// One value.
    pub fn one(ns: u64) -> Series {
        Series {
            plain: vec![ns],
            large: None,
        }
    }

    /// Adds a value.
    pub fn add(&mut self, ns: u64) {
        if let Some(large) = &mut self.large {
            large.add(ns);
            return;
        }
        self.plain.push(ns);
        if self.plain.len() > MOST_PLAIN
            && let Some(mut large) = Large::new()
        {
            self.plain.drain(..).for_each(|ns| large.add(ns));
            self.plain = Vec::new();
            self.large = Some(Box::new(large));
        }
    }

    /// Adds all of another's values.
    pub fn merge(&mut self, other: &Series) {
        if let Some(theirs) = &other.large {
            match &mut self.large {
                Some(ours) => ours.merge(theirs),
                None => {
                    let mut large = theirs.clone();
                    self.plain.drain(..).for_each(|ns| large.add(ns));
                    self.large = Some(large);
                }
            }
        }
        other.plain.iter().for_each(|ns| self.add(*ns));
    }

    /// What is told of the values; all zero for none.
    pub fn quantiles(&self) -> Quantiles {
        if let Some(large) = &self.large {
            return large.quantiles();
        }
        let mut sorted = self.plain.clone();
        sorted.sort_unstable();
        let n = sorted.len() as u64;
        // Nearest rank: the smallest value that at least that share does not exceed.
        let rank = |percent: u64| {
            let index = (n * percent).div_ceil(100).saturating_sub(1);
            sorted
                .get(index as usize)
                .copied()
                .filter(|_| n >= LEAST_FOR_PERCENTILES)
        };
        Quantiles {
            n,
            min_ns: sorted.first().copied().unwrap_or(0),
            max_ns: sorted.last().copied().unwrap_or(0),
            p50_ns: rank(50),
            p90_ns: rank(90),
            p99_ns: rank(99),
        }
    }
}

impl Large {
    fn new() -> Option<Large> {
        let histogram = Histogram::new(DIGITS).ok()?;
        Some(Large {
            histogram,
            n: 0,
            min: u64::MAX,
            max: 0,
        })
    }

    fn add(&mut self, ns: u64) {
        // Resizing has no upper limit but u64's: the largest value that it can index.
        let _ = self.histogram.record(ns.min(u64::MAX >> 1));
        self.n += 1;
        self.min = self.min.min(ns);
        self.max = self.max.max(ns);
    }

    fn merge(&mut self, other: &Large) {
        let _ = self.histogram.add(&other.histogram);
        self.n += other.n;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    fn quantiles(&self) -> Quantiles {
        let at = |quantile: f64| {
            Some(
                self.histogram
                    .value_at_quantile(quantile)
                    .clamp(self.min, self.max),
            )
        };
        Quantiles {
            n: self.n,
            min_ns: self.min,
            max_ns: self.max,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn series(values: impl IntoIterator<Item = u64>) -> Series {
        let mut series = Series::default();
        values.into_iter().for_each(|ns| series.add(ns));
        series
    }

    #[test]
    fn nineteen_samples_have_no_percentile_and_twenty_have() {
        let few = series(1..=19).quantiles();
        assert_eq!((few.n, few.min_ns, few.max_ns), (19, 1, 19));
        assert_eq!((few.p50_ns, few.p90_ns, few.p99_ns), (None, None, None));
        let enough = series(1..=20).quantiles();
        assert_eq!(
            (enough.p50_ns, enough.p90_ns, enough.p99_ns),
            (Some(10), Some(18), Some(20))
        );
        assert_eq!(series([]).quantiles(), Quantiles::default());
    }

    #[test]
    fn extremes_survive_in_a_histogram() {
        let many = series((0..2000).map(|n| n * 1001).chain([u64::MAX])).quantiles();
        assert_eq!((many.n, many.min_ns, many.max_ns), (2001, 0, u64::MAX));
    }

    proptest! {
        /// Against the plain definition, within the histogram's error, however it was put
        /// together.
        #[test]
        fn percentiles_are_those_of_the_values(
            mut values in proptest::collection::vec(0_u64..10_000_000_000, 20..1500),
            cut in 0_usize..1500,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut all = series(left.iter().copied());
            all.merge(&series(right.iter().copied()));
            let got = all.quantiles();
            values.sort_unstable();
            prop_assert_eq!(got.n, values.len() as u64);
            prop_assert_eq!((got.min_ns, got.max_ns), (values[0], values[values.len() - 1]));
            for (percent, got) in [(50, got.p50_ns), (90, got.p90_ns), (99, got.p99_ns)] {
                let want = values[(values.len() * percent).div_ceil(100) - 1] as f64;
                let got = got.unwrap() as f64;
                prop_assert!((got - want).abs() <= want * 0.01 + 1.0, "{percent}: {got} {want}");
            }
        }
    }
}
