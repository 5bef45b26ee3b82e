//! How fast a number of open fds grows: one reading per second, the last ten of them.

/// Seconds over which the rate is taken.
const SECONDS: usize = 10;
/// Whole seconds from which on a rise may be a trend.
const LEAST_FOR_A_TREND: u64 = 3;
const SECOND_NS: u64 = 1_000_000_000;

/// Readings at the last second boundaries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    /// Readings, at `second % len`.
    readings: [u32; SECONDS + 1],
    /// The second that is running.
    second: u64,
    /// When it ends, ns; 0 before the first reading.
    until: u64,
    /// Whole seconds that have been read, at most ten; -1 while the first has not begun.
    known: i8,
}

impl Rate {
    /// Notes that the number was `open` until now. Cheap while the second lasts.
    #[inline]
    pub(super) fn note(&mut self, now_ns: u64, open: u32) {
        if now_ns >= self.until {
            self.roll(now_ns, open);
        }
    }

    fn roll(&mut self, now_ns: u64, open: u32) {
        let second = now_ns / SECOND_NS;
        if self.until == 0 {
            // The second that is running is not seen as a whole; the next one is the first.
            self.second = second;
            self.known = -1;
        } else {
            let passed = (second - self.second).min(SECONDS as u64 + 1);
            for back in (0..passed).rev() {
                let place = self.place(second - back);
                self.readings[place] = open;
            }
            self.known = (i64::from(self.known) + passed as i64).min(SECONDS as i64) as i8;
            self.second = second;
        }
        self.until = (second + 1).saturating_mul(SECOND_NS);
    }

    /// Change per second over the whole seconds of the last ten that are known.
    pub(super) fn per_second(&self) -> f64 {
        let known = self.known();
        if known == 0 {
            return 0.0;
        }
        let newest = self.readings[self.place(self.second)];
        let oldest = self.readings[self.place(self.second - known)];
        (f64::from(newest) - f64::from(oldest)) / known as f64
    }

    /// Whether the number rose in most of the last ten seconds, or of those that are known:
    /// three at least.
    pub(super) fn is_steady(&self) -> bool {
        let known = self.known();
        let rose = (0..known).filter(|back| {
            let end = self.readings[self.place(self.second - back)];
            let begin = self.readings[self.place(self.second - back - 1)];
            end > begin
        });
        known >= LEAST_FOR_A_TREND && rose.count() as u64 > known / 2
    }

    /// Whole seconds that are known.
    fn known(&self) -> u64 {
        u64::try_from(self.known).unwrap_or(0)
    }

    fn place(&self, second: u64) -> usize {
        (second % (SECONDS as u64 + 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, SECOND_NS};

    #[test]
    fn ten_a_second_reads_as_ten() {
        let mut rate = Rate::default();
        let begin = 1_000 * SECOND_NS + 300_000_000;
        for step in 0..200u32 {
            rate.note(begin + u64::from(step) * SECOND_NS / 10, step);
        }
        assert!(
            (rate.per_second() - 10.0).abs() < 0.2,
            "{}",
            rate.per_second()
        );
        assert!(rate.is_steady());
        rate.note(begin + 60 * SECOND_NS, 200);
        assert!(
            rate.per_second().abs() < f64::EPSILON,
            "{}",
            rate.per_second()
        );
        assert!(!rate.is_steady());
    }

    #[test]
    fn the_second_in_which_a_table_is_first_seen_does_not_count() {
        let mut rate = Rate::default();
        let begin = 1_000 * SECOND_NS + 900_000_000;
        for step in 0..35u32 {
            rate.note(begin + u64::from(step) * SECOND_NS / 10, step + 3);
        }
        assert!(
            (rate.per_second() - 10.0).abs() < 0.2,
            "{}",
            rate.per_second()
        );
        assert!(rate.is_steady());
    }

    #[test]
    fn a_single_burst_is_no_trend() {
        let mut rate = Rate::default();
        rate.note(SECOND_NS, 3);
        rate.note(2 * SECOND_NS + 1, 3);
        rate.note(3 * SECOND_NS + 1, 900);
        assert!(rate.per_second() > 0.0);
        assert!(!rate.is_steady());
    }

    #[test]
    fn time_that_stands_still_or_goes_back_changes_nothing() {
        let mut rate = Rate::default();
        rate.note(5 * SECOND_NS, 3);
        rate.note(4 * SECOND_NS, 4);
        rate.note(5 * SECOND_NS, 5);
        assert!(rate.per_second().abs() < f64::EPSILON);
    }
}
