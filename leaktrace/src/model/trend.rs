//! The number of open fds over a long time, in little memory: the least of each interval.
//!
//! The least, because that is what a leak raises: a burst that goes away again is no growth. A
//! number is at a local minimum just before an acquisition, so those moments are enough.

use crate::id::KtimeNs;

/// Intervals kept. When they are full every second one goes and the interval doubles.
const POINTS: usize = 64;
/// The first interval, ns.
const FIRST: u64 = 1_000_000_000;

/// Least numbers of consecutive intervals.
#[derive(Clone, Debug, Default)]
pub(super) struct Trend {
    points: Vec<(u64, u32)>,
    /// Of the interval that is running.
    least: u32,
    /// When that ends; 0: nothing was noted yet.
    until: u64,
    interval: u64,
}

impl Trend {
    /// Notes that `open` were open just before now.
    #[inline]
    pub(super) fn note(&mut self, now: u64, open: u32) {
        if now < self.until {
            self.least = self.least.min(open);
        } else {
            self.roll(now, open);
        }
    }

    fn roll(&mut self, now: u64, open: u32) {
        if self.until == 0 {
            self.interval = FIRST;
        } else {
            self.points.push((self.until, self.least));
            // Nothing happened since: what is open now was open all the time.
            let quiet = (now - self.until) / self.interval;
            for step in (1..=quiet.min(POINTS as u64)).rev() {
                let ahead = (quiet + 1 - step).saturating_mul(self.interval);
                let at = self.until.saturating_add(ahead);
                self.points.push((at, open));
                if self.points.len() >= 2 * POINTS {
                    self.thin();
                }
            }
            if self.points.len() >= POINTS {
                self.thin();
            }
        }
        self.least = open;
        self.until = (now - now % self.interval).saturating_add(self.interval);
    }

    /// Halves the points; of each two the lesser stays.
    fn thin(&mut self) {
        let pairs = self.points.chunks(2).map(|pair| {
            let last = pair[pair.len() - 1];
            (last.0, pair[0].1.min(last.1))
        });
        self.points = pairs.collect();
        self.interval = self.interval.saturating_mul(2);
    }

    /// The points, with the interval that is running as the last one.
    pub(super) fn points(&self, now: u64, open: u32) -> Vec<(KtimeNs, u32)> {
        if self.points.is_empty() {
            return Vec::new();
        }
        let last = (now, self.least.min(open));
        let all = self.points.iter().copied().chain([last]);
        all.map(|(at, open)| (KtimeNs(at), open)).collect()
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.points.capacity() * size_of::<(u64, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::{POINTS, Trend};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_rising_floor_shows_and_bursts_do_not() {
        let mut trend = Trend::default();
        for second in 1..=50u64 {
            let floor = second as u32;
            trend.note(second * SECOND + 1, floor);
            trend.note(second * SECOND + 2, floor + 500);
            trend.note(second * SECOND + 3, floor);
        }
        let points = trend.points(51 * SECOND, 50);
        assert!(points.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        assert_eq!(points.first().map(|point| point.1), Some(1));
        assert_eq!(points.last().map(|point| point.1), Some(50));
    }

    #[test]
    fn a_long_life_takes_little_memory() {
        let mut trend = Trend::default();
        for step in 1..100_000u64 {
            trend.note(step * SECOND * 3, 7);
        }
        assert!(trend.points.len() <= 2 * POINTS);
        assert!(trend.points.iter().all(|point| point.1 == 7));
        let ordered = trend.points.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(ordered, "{:?}", trend.points);
    }
}
