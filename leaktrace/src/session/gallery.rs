//! Pictures of a run for the terminal: the model's, and what judging and counting add to them.

use std::collections::BTreeMap;

use crate::{
    audit::{self, Scope},
    census::{Answer, Question},
    hist::Series,
    id::{KtimeNs, ProcessKey},
    model::{
        Mode, Model, ModelConfig, Samples,
        facts::{Class, SampleKind},
        snapshot::{ExitRow, Snapshot, TimingRow},
    },
    policy::Policy,
    report::{Finding, Level, Report, Verdict},
    source::{End, Item, Start},
};

/// A run to look at.
#[derive(Debug)]
pub struct Gallery {
    start: Start,
    model: Model,
    policy: Policy,
    answers: Vec<Answer>,
    timing: BTreeMap<(SampleKind, Option<Class>), Series>,
    judged: BTreeMap<ProcessKey, Judged>,
    /// Clean, with findings, inconclusive: of those that the picture no longer has.
    left_behind: [u64; 3],
    not_run: Option<u64>,
}

/// What is known of an ended process.
#[derive(Clone, Debug)]
struct Judged {
    verdict: Verdict,
    first: Option<(String, Level, String)>,
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
            answers: Vec::new(),
            timing: BTreeMap::new(),
            judged: BTreeMap::new(),
            left_behind: [0; 3],
            not_run: None,
        }
    }

    /// Takes the next item.
    pub fn feed(&mut self, item: Item) {
        match item {
            Item::Start(start) => self.start = *start,
            Item::Records(records) => {
                self.model.feed(&records);
                for sample in self.model.take_samples() {
                    let series = self.timing.entry((sample.kind, sample.class)).or_default();
                    series.add(sample.ns);
                }
            }
            Item::Answer(answer) => self.answers.push(*answer),
            Item::Tick(time) => self.model.advance(KtimeNs(time)),
            Item::End(end) => {
                self.not_run = end.events.not_run;
                if let (Some(root), 1..) = (self.model.root_key(), end.child_reaped_ns) {
                    self.model.reaped(root, KtimeNs(end.child_reaped_ns));
                }
            }
        }
    }

    /// Handlers that did not run so far; `None`: not counted here.
    pub fn set_not_run(&mut self, not_run: Option<u64>) {
        self.not_run = not_run;
    }

    /// What must be asked to judge those that have ended. What lives is not a survivor of
    /// anything here: the system goes on.
    pub fn questions(&self) -> Vec<Question> {
        let facts = self.model.facts();
        let mut questions = audit::questions(&facts, &self.start, &self.policy, Scope::Judged);
        questions.retain(|question| !matches!(question, Question::Process { .. }));
        questions
    }

    /// Judges those that have ended, by these answers instead of all earlier ones.
    pub fn judge_by(&mut self, answers: Vec<Answer>) {
        self.answers = answers;
        self.judge();
    }

    /// Judges those that have ended.
    pub fn judge(&mut self) {
        let facts = self.model.facts();
        let end = End::default();
        let report = audit::judge(&facts, &self.answers, &self.start, &end, &self.policy);
        let ended = |key: &ProcessKey| facts.processes.get(key).is_some_and(|p| p.end.is_some());
        let mut judged = outcomes(&report);
        judged.retain(|key, _| ended(key));
        let before = std::mem::replace(&mut self.judged, judged);
        for (key, old) in before {
            if !self.judged.contains_key(&key) {
                self.left_behind[slot(old.verdict)] += 1;
            }
        }
    }

    /// The picture now, with the detail of the selected process.
    pub fn picture(&mut self, selected: Option<ProcessKey>) -> Snapshot {
        let mut picture = self.model.snapshot(selected);
        for row in &mut picture.exits {
            self.fill(row);
        }
        let mut counts = self.left_behind;
        for judged in self.judged.values() {
            counts[slot(judged.verdict)] += 1;
        }
        let (all, ..) = picture.ended;
        picture.ended = (all, counts[0], counts[1], counts[2]);
        picture.coverage = self.start.coverage.clone();
        picture.probes = self.start.probes;
        picture.not_run = self.not_run;
        picture.timing = self.timing.iter().map(timing_row).collect();
        picture
    }

    fn fill(&self, row: &mut ExitRow) {
        if let Some(judged) = self.judged.get(&row.key) {
            row.verdict = Some(judged.verdict);
            row.first = judged.first.clone();
        }
    }
}

impl Default for Gallery {
    fn default() -> Self {
        Gallery::new()
    }
}

fn slot(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Clean => 0,
        Verdict::Findings => 1,
        Verdict::Inconclusive => 2,
    }
}

fn outcomes(report: &Report) -> BTreeMap<ProcessKey, Judged> {
    let mut firsts: BTreeMap<ProcessKey, &Finding> = BTreeMap::new();
    for finding in &report.findings {
        for instance in &finding.instances {
            let first = firsts.entry(instance.process).or_insert(finding);
            if first.level < finding.level {
                *first = finding;
            }
        }
    }
    let outcome = |process: &crate::report::Process| {
        let first = firsts.get(&process.key).map(|finding| {
            let what = format!("{} {}", finding.name, finding.message);
            (finding.rule.clone(), finding.level, what)
        });
        let verdict = process.verdict;
        (process.key, Judged { verdict, first })
    };
    report.processes.iter().map(outcome).collect()
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
