//! Signals that may have been the trigger of teardown, or what ended the process.

use bytes::Bytes;
use leaktrace_common::record::signal::SignalGenerate;

use super::facts::SignalFacts;
use crate::id::{KtimeNs, Pid};

/// Signals kept per process.
const KEPT: usize = 16;

const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGPIPE: u32 = 13;
const SIGALRM: u32 = 14;
const SIGTERM: u32 = 15;
const SIGVTALRM: u32 = 26;
const SIGPROF: u32 = 27;
const SIGIO: u32 = 29;
const SIGRTMIN: u32 = 32;

/// How much a signal says about the beginning of teardown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// TERM, INT, QUIT: somebody wants the process to end.
    Sure,
    /// HUP and others: only if nothing but scratch is acquired after it.
    Maybe,
    /// Timers, SIGPIPE, SIGIO and real-time signals are ticks of a running program; they are
    /// kept only because one may have ended it.
    No,
}

/// The weight of a signal by its number.
pub(super) fn weight(signal: u32) -> Weight {
    match signal {
        SIGTERM | SIGINT | SIGQUIT => Weight::Sure,
        SIGPIPE | SIGALRM | SIGVTALRM | SIGPROF | SIGIO | SIGRTMIN.. => Weight::No,
        _ => Weight::Maybe,
    }
}

#[derive(Clone, Debug)]
struct Kept {
    signal: u32,
    code: i32,
    at: u64,
    sender: u32,
    sender_comm: [u8; 16],
    weight: Weight,
    /// Rank of the next acquisition when it came.
    rank: u64,
    /// Something other than scratch was acquired after it.
    acquired_after: bool,
    /// Place in the log of releases when it came.
    place: u64,
}

impl Kept {
    /// Whether teardown may have begun with it.
    fn counts(&self) -> bool {
        match self.weight {
            Weight::Sure => true,
            Weight::Maybe => !self.acquired_after,
            Weight::No => false,
        }
    }
}

/// The last signals of a process.
#[derive(Debug, Default)]
pub(super) struct Signals {
    kept: Vec<Kept>,
}

impl Signals {
    /// Keeps a signal; `rank` and `place` tell where it stands among acquisitions and in the
    /// log of releases.
    pub(super) fn keep(&mut self, signal: &SignalGenerate, at: u64, rank: u64, place: u64) {
        let weight = match weight(signal.signal) {
            // One for a thread of its own (pthread_kill) is how a runtime wakes a helper, and
            // asks nobody to end.
            Weight::Maybe if signal.group == 0 => Weight::No,
            weight => weight,
        };
        self.make_room(signal.signal, weight);
        self.kept.push(Kept {
            signal: signal.signal,
            code: signal.code,
            at,
            sender: signal.sender_pid,
            sender_comm: signal.sender_comm,
            weight,
            rank,
            acquired_after: false,
            place,
        });
    }

    /// One tick of a kind is enough, and the last sure one is never pushed out.
    fn make_room(&mut self, signal: u32, weight: Weight) {
        if weight == Weight::No {
            self.kept.retain(|kept| kept.signal != signal);
        }
        if self.kept.len() < KEPT {
            return;
        }
        let sure = self
            .kept
            .iter()
            .rposition(|kept| kept.weight == Weight::Sure);
        let oldest = if sure == Some(0) { 1 } else { 0 };
        self.kept.remove(oldest);
    }

    /// Something was released; `outlives`: the youngest thing that is still open, if that is
    /// younger.
    #[inline]
    pub(super) fn released(&mut self, outlives: Option<u64>) {
        let Some(younger) = outlives else {
            return;
        };
        for kept in &mut self.kept {
            kept.acquired_after |= younger >= kept.rank;
        }
    }

    /// Whether what had this rank was there when a signal came that may have been the trigger,
    /// and was released after it.
    pub(super) fn wants(&self, rank: u64, place: u64) -> bool {
        let wants = |kept: &Kept| kept.counts() && rank < kept.rank && place >= kept.place;
        self.kept.iter().any(wants)
    }

    /// Whether a signal came that may have begun teardown.
    pub(super) fn any_counts(&self) -> bool {
        self.kept.iter().any(Kept::counts)
    }

    /// When the last signal of this number was generated.
    pub(super) fn last_at(&self, signal: u32) -> Option<KtimeNs> {
        let last = self.kept.iter().rev().find(|kept| kept.signal == signal)?;
        Some(KtimeNs(last.at))
    }

    /// As audit reads them, oldest first: those that may have begun teardown, and what ended
    /// the process. What is open at the end, the youngest of it being `newest`, was not scratch.
    pub(super) fn facts(&self, fatal: Option<i32>, newest: Option<u64>) -> Vec<SignalFacts> {
        let told =
            |kept: &&Kept| kept.weight != Weight::No || i32::try_from(kept.signal).ok() == fatal;
        let facts = self.kept.iter().filter(told).map(|kept| SignalFacts {
            signal: kept.signal,
            at: KtimeNs(kept.at),
            code: kept.code,
            sender: Pid(kept.sender),
            sender_comm: text(&kept.sender_comm),
            acquired_after: kept.acquired_after || newest.is_some_and(|rank| rank >= kept.rank),
        });
        facts.collect()
    }
}

/// A comm as bytes, without its padding.
pub(super) fn text(comm: &[u8; 16]) -> Bytes {
    let len = comm.iter().position(|byte| *byte == 0);
    Bytes::copy_from_slice(&comm[..len.unwrap_or(comm.len())])
}

#[cfg(test)]
mod tests {
    use super::{KEPT, SignalGenerate, Signals};

    fn signal(signal: u32) -> SignalGenerate {
        SignalGenerate {
            signal,
            group: 1,
            ..SignalGenerate::default()
        }
    }

    #[test]
    fn what_a_thread_is_told_begins_no_teardown() {
        let mut signals = Signals::default();
        signals.keep(
            &SignalGenerate {
                group: 0,
                ..signal(10)
            },
            1,
            0,
            0,
        );
        assert!(!signals.any_counts());
        signals.keep(&signal(10), 2, 0, 0);
        assert!(signals.any_counts());
    }

    #[test]
    fn many_signals_keep_the_last_sure_one_and_one_tick_of_a_kind() {
        let mut signals = Signals::default();
        signals.keep(&signal(15), 1, 0, 0);
        for at in 2..100 {
            signals.keep(&signal(14), at, 0, 0);
            signals.keep(&signal(10), at, 0, 0);
        }
        let facts = signals.facts(Some(14), None);
        assert_eq!(facts.len(), KEPT);
        assert!(
            signals
                .facts(None, None)
                .iter()
                .all(|fact| fact.signal != 14)
        );
        assert_eq!(facts.iter().filter(|fact| fact.signal == 15).count(), 1);
        assert_eq!(facts.iter().filter(|fact| fact.signal == 14).count(), 1);
        assert_eq!(signals.last_at(14).map(|at| at.0), Some(99));
    }

    #[test]
    fn what_is_acquired_after_a_signal_and_kept_shows() {
        let mut signals = Signals::default();
        signals.keep(&signal(1), 1, 10, 0);
        signals.released(None);
        assert!(!signals.facts(None, None)[0].acquired_after, "scratch");
        assert!(
            signals.facts(None, Some(11))[0].acquired_after,
            "still open"
        );
        assert!(signals.wants(4, 0));
        signals.released(Some(11));
        assert!(
            signals.facts(None, None)[0].acquired_after,
            "outlived a release"
        );
        assert!(!signals.wants(4, 0), "a reload");
    }
}
