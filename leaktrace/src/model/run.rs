//! The final run of releases (docs/verdict.md): one after which nothing is acquired but
//! scratch, that is what is acquired and released again before the next release of anything
//! older.
//!
//! Taken by the letter, a program that opens and closes one file after the other would have
//! begun its end with its first close. So there must be such a next release: the last release
//! of all is of something that was open when the run began. Of the runs for which that holds the
//! one that gives most back is the teardown, of equal ones the last. What was acquired since the
//! release before it and is given back first hardly counts: it may be scratch before a run.
//!
//! Every release may begin a run. A run that begins earlier is of use only while it has given
//! back more than every later one: a later one counts every release that an earlier one counts
//! and stays valid for longer. So few are kept, and a release costs O(log n).

/// A run that may turn out to be the final one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Rank of the next acquisition when it began: what is older was open then.
    pub(super) rank: u64,
    /// Place of its first release in the row of all releases.
    pub(super) place: u64,
    /// When its first release began.
    pub(super) began: u64,
    /// How much more it has given back than the next run; of the last one: how much.
    more: u64,
}

/// What a release counts.
const FULL: u64 = 1 << 20;
/// What the release of the youngest thing counts, if it was acquired since the release before.
const LEAST: u64 = 1;

/// Runs that are kept. More than a few are there only while many things are given back in a
/// row, and then they tell the same.
const KEPT: usize = 256;

/// The runs, by their beginnings.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    /// Rank of what was released last.
    last: u64,
    /// Rank of the next acquisition at the last release.
    since: u64,
}

impl Runs {
    /// What had this rank was released, at this place, in a call that began then. `outlives`:
    /// the youngest thing still open, if that is younger.
    pub(super) fn released(
        &mut self,
        rank: u64,
        outlives: Option<u64>,
        next_rank: u64,
        place: u64,
        began: u64,
    ) {
        if let Some(younger) = outlives {
            // That is no scratch: no run can have begun before it was acquired.
            let over = self.runs.partition_point(|run| run.rank <= younger);
            self.runs.drain(..over);
        }
        let counts = match outlives.is_none() && rank >= self.since {
            true => LEAST,
            false => FULL,
        };
        self.count(rank, counts);
        self.begin(Run {
            rank: next_rank,
            place,
            began,
            more: counts,
        });
        self.last = rank;
        self.since = next_rank;
    }

    /// Counts a release in every run that began while the thing was open.
    fn count(&mut self, rank: u64, counts: u64) {
        let first = self.runs.partition_point(|run| run.rank <= rank);
        let Some(last) = self.runs[first..].last_mut() else {
            return;
        };
        last.more += counts;
        // Runs for which it was scratch fall back; those that fall behind are of no more use.
        let mut back = counts;
        let mut first = first;
        while let Some(before) = first.checked_sub(1) {
            let more = self.runs[before].more;
            if more > back {
                self.runs[before].more -= back;
                return;
            }
            back -= more;
            self.runs.remove(before);
            first = before;
        }
    }

    fn begin(&mut self, run: Run) {
        while let Some(mut last) = self.runs.pop() {
            if last.more > run.more {
                last.more -= run.more;
                self.runs.push(last);
                break;
            }
            if let Some(before) = self.runs.last_mut() {
                before.more += last.more;
            }
        }
        self.runs.push(run);
        if self.runs.len() > KEPT {
            let gone = self.runs.remove(KEPT - 1);
            self.runs[KEPT - 2].more += gone.more;
        }
    }

    /// The final run, were this the end; `newest` is the youngest thing still open.
    pub(super) fn last(&self, newest: Option<u64>) -> Option<&Run> {
        let after = newest.map_or(self.last, |newest| newest.max(self.last));
        self.runs.iter().find(|run| run.rank > after)
    }

    /// How many releases a run has; those that hardly count are not in it.
    pub(super) fn len_of(&self, run: &Run) -> u64 {
        let from = self.runs.partition_point(|other| other.place < run.place);
        let sum: u64 = self.runs[from..].iter().map(|run| run.more).sum();
        sum / FULL
    }

    /// Whether a release is part of a run that may turn out to be the final one.
    pub(super) fn want(&self, rank: u64, place: u64) -> bool {
        let begun = self.runs.partition_point(|run| run.place <= place);
        let newest = begun
            .checked_sub(1)
            .and_then(|newest| self.runs.get(newest));
        newest.is_some_and(|run| rank < run.rank)
    }
}
