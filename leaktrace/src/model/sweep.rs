//! Closes of numbers that are not in use: errors, or the sweep of a program that closes all
//! numbers there may be before it becomes a daemon or executes another.

use super::facts::Refused;

/// Closes in ascending order, the last of them.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    tid: u32,
    last: Option<i32>,
    missed: u32,
    /// The first ones that missed, until the row is long enough to be a sweep.
    waiting: Vec<Refused>,
}

/// So many closes of unused numbers in a row of ascending closes are a sweep.
const LONG: u32 = 3;

impl Sweep {
    /// A close of `fd` by `tid`; `missed`: why it found nothing. Gives back the errors of an
    /// earlier row that turned out to be no sweep.
    pub(super) fn close(&mut self, tid: u32, fd: i32, missed: Option<Refused>) -> Vec<Refused> {
        let goes_on = self.tid == tid && self.last.is_some_and(|last| fd > last);
        let errors = match goes_on {
            true => Vec::new(),
            false => self.end(),
        };
        self.tid = tid;
        self.last = Some(fd);
        if let Some(refused) = missed {
            self.missed += 1;
            match self.missed < LONG {
                true => self.waiting.push(refused),
                false => self.waiting.clear(),
            }
        }
        errors
    }

    /// Whether closes that missed wait to be judged. While none do, closes that find something
    /// need not be told.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.missed > 0
    }

    /// Ends the row and gives back its errors, if it was no sweep.
    pub(super) fn end(&mut self) -> Vec<Refused> {
        self.missed = 0;
        self.last = None;
        std::mem::take(&mut self.waiting)
    }

    /// Errors of a row that has not ended.
    pub(super) fn waiting(&self) -> &[Refused] {
        &self.waiting
    }
}

#[cfg(test)]
mod tests {
    use leaktrace_common::abi::Op;

    use super::{Refused, Sweep};
    use crate::id::KtimeNs;

    fn missed(fd: i32) -> Option<Refused> {
        Some(Refused {
            op: Op::CLOSE,
            errno: 9,
            at: KtimeNs(1),
            argument: fd as u64,
            resource: None,
            again: false,
        })
    }

    #[test]
    fn three_ascending_misses_are_a_sweep_even_with_hits_between() {
        let mut sweep = Sweep::default();
        for (fd, miss) in [(3, true), (4, false), (5, true), (6, true), (7, true)] {
            let missed = miss.then(|| missed(fd)).flatten();
            assert!(sweep.close(1, fd, missed).is_empty());
        }
        assert!(sweep.end().is_empty());
    }

    #[test]
    fn a_number_closed_twice_is_an_error() {
        let mut sweep = Sweep::default();
        sweep.close(1, 5, missed(5));
        assert_eq!(sweep.close(1, 5, missed(5)).len(), 1);
        assert_eq!(sweep.end().len(), 1);
        sweep.close(1, 3, missed(3));
        assert_eq!(
            sweep.close(2, 4, missed(4)).len(),
            1,
            "another thread is another row"
        );
    }
}
