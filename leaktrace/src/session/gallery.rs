//! Pictures of a run for the terminal: the model's, and what judging and counting add to them.
//!
//! Pure, as the pipeline is: answers and times come as values. Each ended process is judged by
//! itself, once nothing that it made is still in flight. There is no tree whose end could be
//! waited for, and a view of the whole system must not call a temp file left that its maker's
//! parent removes a moment later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::verdicts::Verdicts;
use crate::{
    audit::{self, Scope},
    census::{Answer, Question},
    hist::{Series, buckets::Buckets},
    id::{KtimeNs, ProcessKey},
    model::{
        Mode, Model, ModelConfig, Samples,
        facts::{Class, Created, EndFacts, Facts, Kind, ProcessFacts, SampleKind},
        snapshot::{Snapshot, TimingRow},
    },
    policy::Policy,
    report::{Events, Finding, Level, Resource},
    source::{End, Item, Start},
};

/// An ended process that made something is judged this long after its end, others at once.
const SETTLE_NS: u64 = 2_000_000_000;
/// Findings that are remembered, so that they are not told again.
const TOLD: usize = 1 << 16;
/// Findings that wait to be taken.
const FRESH: usize = 10_000;
/// At most so many processes are judged at a time, so that judging never holds up reading, and
/// takes little memory: some 10 KiB for each.
const AT_A_TIME: usize = 100;

/// A run to look at.
#[derive(Debug)]
pub struct Gallery {
    start: Start,
    model: Model,
    policy: Policy,
    timing: BTreeMap<(SampleKind, Option<Class>), (Series, Buckets)>,
    /// `None`: nobody wants them.
    found: Option<Found>,
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
            found: None,
            verdicts: Verdicts::default(),
            asked: None,
            recorded: Vec::new(),
            events: None,
        }
    }

    /// Findings are kept as they are found, by this policy: also those about what goes on.
    pub fn judging(policy: Policy) -> Gallery {
        let mut gallery = Gallery::new();
        gallery.model.set_budgets(policy.all_budgets());
        gallery.policy = policy;
        gallery.found = Some(Found::default());
        gallery
    }

    /// By what is judged.
    pub fn set_policy(&mut self, policy: Policy) {
        self.model.set_budgets(policy.all_budgets());
        self.policy = policy;
    }

    /// Takes the next item.
    pub fn feed(&mut self, item: Item) {
        match item {
            Item::Start(start) => {
                if start.loss_is_marked {
                    self.model.attribute_loss();
                }
                self.model.set_page(start.page_bytes);
                self.start = *start;
            }
            Item::Records(records) => {
                self.model.feed(&records);
                for sample in self.model.take_samples() {
                    let entry = self.timing.entry((sample.kind, sample.class));
                    let (series, buckets) = entry.or_default();
                    series.add(sample.ns);
                    buckets.add(sample.ns);
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

    /// What a process calls itself and whose it is now.
    pub fn is_now(&mut self, key: ProcessKey, comm: &[u8], uid: u32) {
        self.model.is_now(key, comm, uid);
    }

    /// The counts of the programs, which know more than the records that came.
    pub fn count(&mut self, events: Events) {
        self.events = Some(events);
    }

    /// What must be asked so that processes that have ended can be judged; those about whom
    /// nothing has to be asked are judged now. `None` while answers are awaited or nobody waits
    /// for a verdict.
    pub fn questions(&mut self, now: KtimeNs) -> Option<Vec<Question>> {
        if self.asked.is_some() {
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
        if let Some(found) = &mut self.found {
            found.take(report.findings);
        }
    }

    /// Judges what processes that live have done so far, if findings are wanted: limits, waits,
    /// refusals, growth, budgets. What they hold is theirs as long as they live.
    pub fn judge_living(&mut self, now: KtimeNs) {
        if self.found.is_none() {
            return;
        }
        let mut facts = self.model.facts_of_living();
        for process in facts.processes.values_mut() {
            // Also those that leaktrace did not see begin.
            process.target = true;
        }
        let end = End {
            judged_ns: now.0,
            ..End::default()
        };
        let report = audit::judge(&facts, &[], &self.start, &end, &self.policy);
        let mut findings = report.findings;
        findings.retain(|finding| ["time", "hazard"].contains(&&*finding.group));
        if let Some(found) = &mut self.found {
            found.take(findings);
        }
    }

    /// Whether anybody wants to know what is found.
    pub(super) fn wants_findings(&self) -> bool {
        self.found.is_some()
    }

    /// The findings since they were last taken.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        let found = self.found.as_mut();
        found.map_or_else(Vec::new, |found| std::mem::take(&mut found.fresh))
    }

    /// Judges everyone who has ended, by the answers of the capture: nothing more will come.
    pub fn judge_all(&mut self) {
        let picture = self.picture(None);
        self.asked = Some(self.due(picture.at, usize::MAX, Haste::Now));
        let answers = std::mem::take(&mut self.recorded);
        self.judge_by(&answers, picture.at);
    }

    /// Whether there are more to be judged than can be at a time.
    pub fn is_behind(&self, now: KtimeNs) -> bool {
        self.asked.is_none() && self.verdicts.wanted_count(now) >= AT_A_TIME
    }

    /// The facts of the processes to be judged now, and of nothing else.
    fn due(&mut self, now: KtimeNs, most: usize, haste: Haste) -> Facts {
        let wanted = self.verdicts.take_wanted(now, most);
        if wanted.is_empty() {
            return Facts::default();
        }
        let mut facts = self.model.facts_of(&wanted.into_iter().collect());
        let in_flight = match haste {
            Haste::Settle => in_flight(&facts, &self.start, now),
            Haste::Now => BTreeSet::new(),
        };
        facts.root = None;
        facts.processes.retain(|key, _| !in_flight.contains(key));
        facts.processes.values_mut().for_each(settle);
        let processes = &facts.processes;
        let is_judged = |created: &Created| processes.contains_key(&created.creator);
        facts.created.retain(is_judged);
        facts
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
        if let Some(found) = &self.found {
            picture.found.clone_from(&found.counts);
        }
        picture
    }
}

/// Findings, each once: the same processes are judged again and again.
#[derive(Debug, Default)]
struct Found {
    counts: BTreeMap<(String, Level), u64>,
    fresh: Vec<Finding>,
    known: BTreeSet<Told>,
    /// The same in their order, so that the oldest can be forgotten.
    order: VecDeque<Told>,
}

/// Rule, process, and what it is about.
type Told = (String, ProcessKey, Option<u64>, Option<i32>, Option<String>);

impl Found {
    fn take(&mut self, findings: Vec<Finding>) {
        for mut finding in findings {
            if finding.suppressed_by.is_some() {
                continue;
            }
            let rule = finding.rule.clone();
            finding.instances.retain(|it| {
                let told = told(&rule, it.process, &it.resource);
                let is_new = self.known.insert(told.clone());
                if is_new {
                    self.order.push_back(told);
                }
                is_new
            });
            while self.order.len() > TOLD {
                if let Some(oldest) = self.order.pop_front() {
                    self.known.remove(&oldest);
                }
            }
            let Some(first) = finding.instances.first() else {
                continue;
            };
            finding.count = finding.instances.len() as u64;
            finding.process = first.process;
            finding.pid = first.pid;
            finding.comm.clone_from(&first.comm);
            finding.resource = first.resource.clone();
            *self.counts.entry((rule, finding.level)).or_default() += finding.count;
            if self.fresh.len() < FRESH {
                self.fresh.push(finding);
            }
        }
    }
}

/// By what a finding is known again.
fn told(rule: &str, process: ProcessKey, what: &Resource) -> Told {
    let rule = rule.to_owned();
    match &*rule {
        // What goes on has no beginning of its own: it is told once for a process.
        "LT503" | "LT505" => (rule, process, None, None, None),
        // Who is refused tries again, and again.
        "LT504" => (rule, process, None, None, what.syscall.clone()),
        // Requests have no names: one of a context is told.
        "LT507" if what.kind == Kind::Aio.name() => (rule, process, what.address, None, None),
        _ => (rule, process, what.acquired_ns, what.fd, what.path.clone()),
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

/// For audit the end is over: that a process is still a zombie is shown where it lives, and is
/// not asked about.
fn settle(process: &mut ProcessFacts) {
    let finished = process.end.as_ref().map(EndFacts::finished);
    process.reaped = process.reaped.or(finished);
}

fn timing_row(
    ((kind, class), (series, buckets)): (&(SampleKind, Option<Class>), &(Series, Buckets)),
) -> TimingRow {
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
        buckets: *buckets,
    }
}

#[cfg(test)]
#[path = "gallery_tests.rs"]
mod tests;
