//! Which releases may be the teardown (DESIGN section 3, "teardown trigger").
//!
//! A *run* is a row of releases with nothing acquired since its first but scratch, that is what
//! was acquired and released again before the next release of anything older. Ranks number
//! acquisitions. What was acquired since the run began and is still open is a stack: a release
//! of its top is scratch, a release of anything below makes what lies above it not scratch, so
//! the run begins anew there. Each step costs O(1) (and a look at the few signals that may have
//! been the trigger).

use leaktrace_common::record::signal::SignalGenerate;

use super::{names::Names, signal::Signals, thing::Thing};

/// So many releases in a row look like teardown.
const ROW: usize = 8;

/// One explicit release.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    pub(super) thing: Thing,
    pub(super) rank: u64,
    pub(super) released: u64,
    pub(super) by: u32,
    pub(super) duration: u64,
}

/// The final run so far.
#[derive(Clone, Debug)]
struct Run {
    /// Place of its first release in the log.
    from: usize,
    /// When its first release began.
    began: u64,
    /// Ranks of what was acquired since and is still open, ascending.
    open: Vec<u64>,
}

/// The releases of one process that may be its teardown.
#[derive(Debug, Default)]
pub(super) struct Phase {
    log: Vec<Logged>,
    run: Option<Run>,
    /// Signals that may have been the trigger.
    pub(super) signals: Signals,
}

impl Phase {
    /// Something that takes part in teardown was acquired.
    #[inline]
    pub(super) fn acquired(&mut self, rank: u64) {
        if let Some(run) = &mut self.run {
            run.open.push(rank);
        }
        self.signals.acquired();
    }

    /// Something that takes part was released explicitly.
    pub(super) fn released(&mut self, release: Logged, names: &mut Names) {
        let after_signal = self.signals.released(release.rank);
        let began = release.released.saturating_sub(release.duration);
        let fresh = Run {
            from: self.log.len(),
            began,
            open: Vec::new(),
        };
        let in_run = match &mut self.run {
            None => {
                self.run = Some(fresh);
                true
            }
            Some(run) if run.open.last() == Some(&release.rank) => {
                run.open.pop();
                false
            }
            Some(run) if !run.open.is_empty() => {
                *run = fresh;
                self.forget(names);
                true
            }
            Some(_) => true,
        };
        if in_run || after_signal {
            release.thing.keep(names);
            self.log.push(release);
        }
    }

    /// A signal was generated for the process. `next_rank` is
    /// that of the next acquisition of anything.
    pub(super) fn signalled(&mut self, signal: &SignalGenerate, at: u64, next_rank: u64) {
        self.signals.keep(signal, at, next_rank, self.log.len());
    }

    /// Another program runs: what was done before is not its teardown.
    pub(super) fn restart(&mut self, names: &mut Names) {
        self.run = None;
        self.signals.clear();
        for release in self.log.drain(..) {
            release.thing.release(names);
        }
    }

    /// Start of the final run; none if something acquired since it began is still open.
    pub(super) fn final_run(&self) -> Option<u64> {
        let run = self.run.as_ref()?;
        run.open.is_empty().then_some(run.began)
    }

    /// Whether teardown has begun, as far as one can tell while the process lives: a signal
    /// came, or one release after another and nothing new but scratch. A single release is no
    /// sign of an end.
    pub(super) fn is_teardown(&self) -> bool {
        let run = self.run.as_ref().filter(|run| run.open.is_empty());
        let row = run.is_some_and(|run| self.log.len() - run.from >= ROW);
        row || self.signals.any_counts()
    }

    /// The releases that are kept, in order.
    pub(super) fn log(&self) -> &[Logged] {
        &self.log
    }

    /// Drops releases before the run that no signal makes worth keeping.
    fn forget(&mut self, names: &mut Names) {
        let run = self.run.as_ref().map_or(self.log.len(), |run| run.from);
        let drop = self
            .signals
            .first_place()
            .map_or(run, |first| first.min(run));
        if drop == 0 {
            return;
        }
        for release in self.log.drain(..drop) {
            release.thing.release(names);
        }
        if let Some(run) = &mut self.run {
            run.from -= drop;
        }
        self.signals.shift(drop);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::facts::Kind, Logged, Names, Phase, SignalGenerate, Thing};

    #[derive(Default)]
    struct Play {
        phase: Phase,
        names: Names,
        next: u64,
        now: u64,
    }

    impl Play {
        fn acquire(&mut self) -> u64 {
            self.next += 1;
            self.phase.acquired(self.next - 1);
            self.next - 1
        }

        fn release(&mut self, rank: u64) {
            self.now += 10;
            let release = Logged {
                thing: Thing::of(Kind::File),
                rank,
                released: self.now,
                by: 1,
                duration: 4,
            };
            self.phase.released(release, &mut self.names);
        }

        fn signal(&mut self, signal: u32) {
            let signal = SignalGenerate {
                signal,
                ..SignalGenerate::default()
            };
            self.phase.signalled(&signal, self.now, self.next);
        }

        fn ranks(&self) -> Vec<u64> {
            self.phase
                .log()
                .iter()
                .map(|release| release.rank)
                .collect()
        }
    }

    #[test]
    fn scratch_neither_ends_nor_joins_the_run() {
        let mut play = Play::default();
        let (a, b, c) = (play.acquire(), play.acquire(), play.acquire());
        play.release(a);
        let scratch = play.acquire();
        play.release(scratch);
        play.release(b);
        play.release(c);
        assert_eq!(play.ranks(), [a, b, c]);
        assert_eq!(play.phase.final_run(), Some(6));
    }

    #[test]
    fn an_acquisition_that_outlives_a_release_restarts_the_run_there() {
        let mut play = Play::default();
        let (a, b, c) = (play.acquire(), play.acquire(), play.acquire());
        play.release(a);
        let kept = play.acquire();
        assert_eq!(play.phase.final_run(), None, "held at exit");
        play.release(b);
        play.release(c);
        play.release(kept);
        assert_eq!(play.ranks(), [b, c, kept]);
        assert_eq!(play.phase.final_run(), Some(16));
    }

    #[test]
    fn releases_since_a_terminating_signal_are_kept_through_later_acquisitions() {
        let mut play = Play::default();
        let (a, b, c) = (play.acquire(), play.acquire(), play.acquire());
        play.release(a);
        play.signal(15);
        play.release(b);
        let kept = play.acquire();
        play.release(c);
        assert_eq!(play.ranks(), [b, c]);
        play.release(kept);
        assert_eq!(play.ranks(), [b, c, kept]);
    }

    #[test]
    fn a_reload_signal_stops_mattering_once_something_new_is_kept() {
        let mut play = Play::default();
        let (a, b, c) = (play.acquire(), play.acquire(), play.acquire());
        play.signal(1);
        play.release(a);
        let _kept = play.acquire();
        play.release(b);
        assert_eq!(play.ranks(), [b]);
        play.release(c);
        assert_eq!(play.ranks(), [b, c]);
    }

    #[test]
    fn releases_in_the_order_of_acquisition_are_a_run_from_the_first() {
        let mut play = Play::default();
        let loader = play.acquire();
        play.release(loader);
        let (a, b, c) = (play.acquire(), play.acquire(), play.acquire());
        play.release(a);
        play.release(b);
        play.release(c);
        assert_eq!(play.ranks(), [a, b, c]);
    }

    proptest! {
        /// Against the definition, played out over the whole history.
        #[test]
        fn the_run_is_what_the_definition_says(steps in proptest::collection::vec(0usize..6, 1..120)) {
            let mut play = Play::default();
            let mut open = Vec::new();
            let mut history = Vec::new();
            for step in steps {
                if step < 3 || open.is_empty() {
                    let rank = play.acquire();
                    open.push(rank);
                    history.push((rank, true));
                } else {
                    let rank = open.remove(step % open.len());
                    play.release(rank);
                    history.push((rank, false));
                }
            }
            let expected = define(&history);
            match play.phase.final_run() {
                Some(_) => prop_assert_eq!(play.ranks(), expected),
                None => prop_assert!(expected.is_empty()),
            }
        }
    }

    /// The latest start such that every acquisition after it is scratch, by trying all of them.
    fn define(history: &[(u64, bool)]) -> Vec<u64> {
        let mut run: Vec<u64> = Vec::new();
        let mut since: Vec<u64> = Vec::new();
        for (rank, acquired) in history {
            match (acquired, since.iter().position(|other| other == rank)) {
                (true, _) => since.push(*rank),
                (false, Some(place)) if !run.is_empty() && place + 1 == since.len() => {
                    since.remove(place);
                }
                (false, _) => {
                    if !since.is_empty() && !run.is_empty() {
                        run.clear();
                    }
                    since.clear();
                    run.push(*rank);
                }
            }
        }
        if run.is_empty() || !since.is_empty() {
            Vec::new()
        } else {
            run
        }
    }
}
