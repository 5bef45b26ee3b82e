//! Which releases may be the teardown (docs/verdict.md, "When teardown begins").
//!
//! Ranks number acquisitions, so that older and younger are comparisons. What is kept is what
//! audit may need once the end is known: the releases of every run that may turn out to be the
//! final one ([`super::run`]), and those since a signal that may have been the trigger.

use leaktrace_common::record::signal::SignalGenerate;

use super::{
    names::Names,
    open_ranks::OpenRanks,
    run::{Run, Runs},
    signal::Signals,
    thing::Thing,
};

/// So many releases in a row look like teardown.
const ROW: u64 = 8;

/// Releases kept per process. A teardown of more is judged by the first ones.
const LOGGED: usize = 100_000;

/// Releases that nobody wants any more are looked for when there are this many at least.
const SPARE: usize = 64;

/// One explicit release.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logged {
    pub(super) thing: Thing,
    pub(super) rank: u64,
    pub(super) released: u64,
    pub(super) by: u32,
    pub(super) duration: u64,
    /// Place in the row of all releases of the process; set here.
    pub(super) place: u64,
}

/// The releases of one process that may be its teardown.
#[derive(Debug, Default)]
pub(super) struct Phase {
    log: Vec<Logged>,
    /// Length of the log at which it is looked through again.
    look_at: usize,
    /// Place of the next release.
    place: u64,
    open: OpenRanks,
    runs: Runs,
    signals: Signals,
}

impl Phase {
    /// Something that takes part in teardown was acquired.
    #[inline]
    pub(super) fn acquired(&mut self, rank: u64) {
        self.open.push(rank);
    }

    /// Something that takes part was released explicitly. `next_rank` is that of the next
    /// acquisition of anything.
    pub(super) fn released(&mut self, mut release: Logged, next_rank: u64, names: &mut Names) {
        self.open.remove(release.rank);
        let outlives = self.open.newest().filter(|newest| *newest > release.rank);
        self.signals.released(outlives);
        release.place = self.place;
        self.place += 1;
        let began = release.released.saturating_sub(release.duration);
        self.runs
            .released(release.rank, outlives, next_rank, release.place, began);
        // A row of scratch: of each the run was as good as the next one's.
        if let Some(last) = self.log.last()
            && !self.wants(last)
        {
            last.thing.release(names);
            self.log.pop();
        }
        if self.log.len() >= self.look_at.max(SPARE) {
            self.forget(names);
        }
        if self.log.len() < LOGGED {
            release.thing.keep(names);
            self.log.push(release);
        }
    }

    /// Something that took part is gone, by no release of this process.
    pub(super) fn gone(&mut self, rank: u64) {
        self.open.remove(rank);
    }

    /// A signal was generated for the process. `next_rank` as above.
    pub(super) fn signalled(&mut self, signal: &SignalGenerate, at: u64, next_rank: u64) {
        self.signals.keep(signal, at, next_rank, self.place);
    }

    /// Another program runs: what was done before is not its teardown.
    pub(super) fn restart(&mut self, names: &mut Names) {
        for release in self.log.drain(..) {
            release.thing.release(names);
        }
        *self = Phase::default();
    }

    /// Start of the final run, were this the end.
    pub(super) fn final_run(&self) -> Option<u64> {
        self.run().map(|run| run.began)
    }

    fn run(&self) -> Option<&Run> {
        self.runs.last(self.open.newest())
    }

    /// Whether teardown has begun, as far as one can tell while the process lives: a signal
    /// came, or one release after another and nothing new but scratch. A few releases are no
    /// sign of an end.
    pub(super) fn is_teardown(&self) -> bool {
        let row = self.run().is_some_and(|run| self.runs.len_of(run) >= ROW);
        row || self.signals.any_counts()
    }

    /// The releases of the final run, and those since a signal of what was there when it came,
    /// in order.
    pub(super) fn teardown(&self) -> impl Iterator<Item = &Logged> {
        let run = self.run().copied();
        let in_run = move |release: &Logged| {
            run.is_some_and(|run| release.place >= run.place && release.rank < run.rank)
        };
        let told = move |release: &&Logged| {
            in_run(release) || self.signals.wants(release.rank, release.place)
        };
        self.log.iter().filter(told)
    }

    /// Signals, as audit reads them.
    pub(super) fn signals(&self, fatal: Option<i32>) -> Vec<super::facts::SignalFacts> {
        self.signals.facts(fatal, self.open.newest())
    }

    /// When the last signal of this number was generated.
    pub(super) fn last_signal(&self, signal: u32) -> Option<crate::id::KtimeNs> {
        self.signals.last_at(signal)
    }

    /// Bytes taken for what is open.
    pub(super) fn bytes(&self) -> usize {
        self.open.bytes()
    }

    fn wants(&self, release: &Logged) -> bool {
        let (rank, place) = (release.rank, release.place);
        self.runs.want(rank, place) || self.signals.wants(rank, place)
    }

    /// Drops the releases that no run and no signal makes worth keeping.
    fn forget(&mut self, names: &mut Names) {
        let log = std::mem::take(&mut self.log);
        let mut kept = Vec::with_capacity(log.len());
        for release in log {
            match self.wants(&release) {
                true => kept.push(release),
                false => release.thing.release(names),
            }
        }
        self.look_at = kept.len() * 2;
        self.log = kept;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::facts::Kind, Logged, Names, Phase, SPARE, SignalGenerate, Thing};

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
                place: 0,
            };
            self.phase.released(release, self.next, &mut self.names);
        }

        fn signal(&mut self, signal: u32) {
            let signal = SignalGenerate {
                signal,
                ..SignalGenerate::default()
            };
            self.phase.signalled(&signal, self.now, self.next);
        }

        fn ranks(&self) -> Vec<u64> {
            self.phase.teardown().map(|release| release.rank).collect()
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
        let kept = play.acquire();
        play.release(b);
        assert_eq!(play.ranks(), [b]);
        play.release(kept);
        play.release(c);
        assert_eq!(play.ranks(), [b, kept, c]);
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

    #[test]
    fn a_life_of_scratch_does_not_begin_its_end_with_its_first_release() {
        let mut play = Play::default();
        for _ in 0..10 {
            let one = play.acquire();
            play.release(one);
        }
        assert_eq!((play.ranks(), play.phase.final_run()), (vec![9], Some(96)));
        let (a, b, c) = (play.acquire(), play.acquire(), play.acquire());
        for rank in [c, b, a] {
            play.release(rank);
        }
        assert_eq!(play.ranks(), [c, b, a]);
    }

    #[test]
    fn a_server_of_many_connections_keeps_little() {
        let mut play = Play::default();
        let early: Vec<u64> = (0..5).map(|_| play.acquire()).collect();
        let listener = play.acquire();
        for rank in early {
            play.release(rank);
        }
        for _ in 0..10_000 {
            let (connection, file) = (play.acquire(), play.acquire());
            play.release(file);
            play.release(connection);
        }
        assert!(
            play.phase.log.len() <= 2 * SPARE,
            "{}",
            play.phase.log.len()
        );
        play.release(listener);
        assert_eq!(play.ranks().last(), Some(&listener));
    }

    proptest! {
        /// Against the definition, tried for every release of the whole history.
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
                    let rank = open.remove(step * 7 % open.len());
                    play.release(rank);
                    history.push((rank, false));
                }
                prop_assert_eq!(play.ranks(), define(&history));
            }
        }
    }

    /// The runs that begin at each release, by the letter; the one that gives most back.
    fn define(history: &[(u64, bool)]) -> Vec<u64> {
        let mut best = (0, Vec::new());
        for begin in 0..history.len() {
            if let Some((counts, run)) = run_from(history, begin)
                && counts >= best.0
            {
                best = (counts, run);
            }
        }
        best.1
    }

    fn run_from(history: &[(u64, bool)], begin: usize) -> Option<(u64, Vec<u64>)> {
        if history[begin].1 {
            return None;
        }
        let (mut run, mut counts, mut since, mut whole) = (Vec::new(), 0, Vec::new(), false);
        for (place, (rank, acquired)) in history.iter().enumerate().skip(begin) {
            if *acquired {
                since.push(*rank);
                whole = false;
                continue;
            }
            let scratch = since.contains(rank);
            since.retain(|other| other != rank);
            if since.iter().any(|other| other > rank) {
                return None;
            }
            if !scratch {
                run.push(*rank);
                counts += counted(history, place);
            }
            whole = !scratch;
        }
        (whole && since.is_empty()).then_some((counts, run))
    }

    /// Little, if the youngest thing is released and was acquired since the release before.
    fn counted(history: &[(u64, bool)], place: usize) -> u64 {
        let rank = history[place].0;
        let mut open: Vec<u64> = Vec::new();
        for (rank, acquired) in &history[..place] {
            match acquired {
                true => open.push(*rank),
                false => open.retain(|other| other != rank),
            }
        }
        let fresh = history[..place]
            .iter()
            .rev()
            .take_while(|(_, acquired)| *acquired);
        let youngest = open.iter().all(|other| *other <= rank);
        match youngest && fresh.map(|(rank, _)| *rank).any(|other| other == rank) {
            true => 1,
            false => 1_000,
        }
    }
}
