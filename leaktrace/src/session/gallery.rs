//! Pictures of a run for the terminal: the model's, and what judging and counting add to them.
//!
//! Pure, as the pipeline is: answers and times come as values. Each ended process is judged by
//! itself, once nothing that it made is still in flight. There is no tree whose end could be
//! waited for, and a view of the whole system must not call a temp file left that its maker's
//! parent removes a moment later.

use std::collections::{BTreeMap, BTreeSet};

use super::verdicts::Verdicts;
use crate::{
    audit::{self, Scope},
    census::{Answer, Question},
    hist::Series,
    id::{KtimeNs, ProcessKey},
    model::{
        Mode, Model, ModelConfig, Samples,
        facts::{Class, EndFacts, Facts, ProcessFacts, SampleKind},
        snapshot::{Snapshot, TimingRow},
    },
    policy::Policy,
    report::Events,
    source::{End, Item, Start},
};

/// An ended process that made something is judged this long after its end, others at once.
const SETTLE_NS: u64 = 2_000_000_000;
/// At most so many processes are judged at a time, so that judging never holds up reading.
const AT_A_TIME: usize = 256;

/// A run to look at.
#[derive(Debug)]
pub struct Gallery {
    start: Start,
    model: Model,
    policy: Policy,
    timing: BTreeMap<(SampleKind, Option<Class>), Series>,
    verdicts: Verdicts,
    /// The facts of those about whom was asked, until the answers come.
    asked: Option<Facts>,
    /// Answers of a capture.
    recorded: Vec<Answer>,
    events: Option<Events>,
}

impl Gallery {
    /// Nothing has happened yet.
    pub fn new() -> Gallery {
        Gallery {
            start: Start::default(),
            model: Model::new(ModelConfig {
                mode: Mode::System,
                samples: Samples::Kept,
            }),
            policy: Policy::default(),
            timing: BTreeMap::new(),
            verdicts: Verdicts::default(),
            asked: None,
            recorded: Vec::new(),
            events: None,
        }
    }

    /// Takes the next item.
    pub fn feed(&mut self, item: Item) {
        match item {
            Item::Start(start) => {
                if start.loss_is_marked {
                    self.model.attribute_loss();
                }
                self.start = *start;
            }
            Item::Records(records) => {
                self.model.feed(&records);
                for sample in self.model.take_samples() {
                    let series = self.timing.entry((sample.kind, sample.class)).or_default();
                    series.add(sample.ns);
                }
            }
            Item::Answer(answer) => self.recorded.push(*answer),
            Item::Tick(time) => self.model.advance(KtimeNs(time)),
            Item::End(end) => {
                if end.child_reaped_ns > 0 {
                    self.root_reaped(KtimeNs(end.child_reaped_ns));
                }
                self.events = Some(end.events);
            }
        }
    }

    /// The run's own wait took the root process; no record tells of it.
    pub fn root_reaped(&mut self, at: KtimeNs) {
        if let Some(root) = self.model.root_key() {
            self.model.reaped(root, at);
        }
    }

    /// The counts of the programs, which know more than the records that came.
    pub fn count(&mut self, events: Events) {
        self.events = Some(events);
    }

    /// What must be asked so that processes that have ended can be judged; those about whom
    /// nothing has to be asked are judged now. `None` while answers are awaited or nobody waits
    /// for a verdict.
    pub fn questions(&mut self, now: KtimeNs) -> Option<Vec<Question>> {
        if self.asked.is_some() || !self.verdicts.are_wanted(now) {
            return None;
        }
        let facts = self.due(now, AT_A_TIME, Haste::Settle);
        if facts.processes.is_empty() {
            return None;
        }
        let questions = audit::questions(&facts, &self.start, &self.policy, Scope::Judged);
        self.asked = Some(facts);
        if questions.is_empty() {
            self.judge_by(&[], now);
            return None;
        }
        Some(questions)
    }

    /// Judges those about whom was asked last.
    pub fn judge_by(&mut self, answers: &[Answer], now: KtimeNs) {
        let Some(facts) = self.asked.take() else {
            return;
        };
        let end = End {
            judged_ns: now.0,
            ..End::default()
        };
        let report = audit::judge(&facts, answers, &self.start, &end, &self.policy);
        self.verdicts.take(&report, now);
    }

    /// Judges everyone who has ended, by the answers of the capture: nothing more will come.
    pub fn judge_all(&mut self) {
        let picture = self.picture(None);
        self.asked = Some(self.due(picture.at, usize::MAX, Haste::Now));
        let answers = std::mem::take(&mut self.recorded);
        self.judge_by(&answers, picture.at);
    }

    /// The facts of the processes to be judged now, and of nothing else.
    fn due(&self, now: KtimeNs, most: usize, haste: Haste) -> Facts {
        let all = self.model.facts();
        let in_flight = match haste {
            Haste::Settle => in_flight(&all, &self.start, now),
            Haste::Now => BTreeSet::new(),
        };
        let wanted = self.verdicts.wanted(now);
        let processes: BTreeMap<ProcessKey, ProcessFacts> = wanted
            .into_iter()
            .filter(|key| !in_flight.contains(key))
            .filter_map(|key| Some((key, settled(all.processes.get(&key)?))))
            .take(most)
            .collect();
        let created = all
            .created
            .into_iter()
            .filter(|created| processes.contains_key(&created.creator));
        Facts {
            created: created.collect(),
            processes,
            root: None,
            ..all
        }
    }

    /// How the run began.
    pub(super) fn start(&self) -> &Start {
        &self.start
    }

    /// What is known.
    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// Processes that have not ended.
    pub fn living(&self) -> Vec<ProcessKey> {
        self.model.living().collect()
    }

    /// The picture now, with the detail of the selected process.
    pub fn picture(&mut self, selected: Option<ProcessKey>) -> Snapshot {
        let mut picture = self.model.snapshot(selected);
        self.verdicts.put_into(&mut picture);
        if let Some(events) = &self.events {
            picture.lost = picture.lost.max(events.lost);
            picture.not_run = events.not_run;
        }
        picture.coverage = self.start.coverage.clone();
        picture.probes = self.start.probes;
        picture.timing = self.timing.iter().map(timing_row).collect();
        picture
    }
}

impl Default for Gallery {
    fn default() -> Self {
        Gallery::new()
    }
}

/// Whether to give what was made time to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    Settle,
    Now,
}

/// Ended processes that must be given time: what they made may go yet, or their end is not
/// told to its end.
fn in_flight(all: &Facts, start: &Start, now: KtimeNs) -> BTreeSet<ProcessKey> {
    let end = |key: &ProcessKey| all.processes.get(key)?.end.as_ref();
    let is_young =
        |key: &ProcessKey| end(key).is_some_and(|end| now.0.saturating_sub(end.at.0) < SETTLE_NS);
    let made = audit::residue::suspects(all, start);
    let makers = made.iter().map(|suspect| suspect.created.creator);
    let ending = all.processes.keys().copied();
    let ending = ending.filter(|key| end(key).is_some_and(|end| end.notified.is_none()));
    makers.chain(ending).filter(is_young).collect()
}

/// A copy whose end is over for audit: that it is still a zombie is shown where it lives, and
/// is not asked about.
fn settled(process: &ProcessFacts) -> ProcessFacts {
    let finished = process.end.as_ref().map(EndFacts::finished);
    ProcessFacts {
        reaped: process.reaped.or(finished),
        ..process.clone()
    }
}

fn timing_row(((kind, class), series): (&(SampleKind, Option<Class>), &Series)) -> TimingRow {
    let quantiles = series.quantiles();
    TimingRow {
        sample: kind.name(),
        class: class.map_or("", Class::name),
        n: quantiles.n,
        min_ns: quantiles.min_ns,
        max_ns: quantiles.max_ns,
        p50_ns: quantiles.p50_ns,
        p90_ns: quantiles.p90_ns,
        p99_ns: quantiles.p99_ns,
    }
}

#[cfg(test)]
#[path = "gallery_tests.rs"]
mod tests;
