//! What a run knows: fed by a live kernel or a capture, judged once at the end.

use std::{cell::OnceCell, time::Duration};

use crate::{
    audit::{self, Scope, Settling},
    census::{Answer, Question},
    hist::Histograms,
    id::{KtimeNs, ProcessKey},
    model::{Mode, Model, ModelConfig, Samples, facts::Facts},
    policy::Policy,
    report::Report,
    source::{End, Item, Start},
};

/// What a pipeline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A verdict about CMD's tree.
    Verdict,
    /// Durations of CMD's tree.
    Durations,
    /// Durations of every process.
    SystemDurations,
    /// Pictures of every process.
    Pictures,
}

impl Purpose {
    fn config(self) -> ModelConfig {
        let (mode, samples) = match self {
            Purpose::Verdict => (Mode::Tree, Samples::Dropped),
            // Groups are named after processes, also after those that ended long ago.
            Purpose::Durations | Purpose::SystemDurations => (Mode::Tree, Samples::Kept),
            Purpose::Pictures => (Mode::System, Samples::Dropped),
        };
        ModelConfig { mode, samples }
    }
}

/// Model and answers of one run.
#[derive(Debug)]
pub struct Pipeline {
    start: Start,
    model: Model,
    /// Empty once something has happened since they were gathered.
    facts: OnceCell<Facts>,
    histograms: Histograms,
    answers: Vec<Answer>,
    end: End,
    capture_failure: Option<String>,
}

impl Pipeline {
    /// Nothing has happened yet.
    pub fn new(purpose: Purpose) -> Pipeline {
        Pipeline {
            start: Start::default(),
            model: Model::new(purpose.config()),
            facts: OnceCell::new(),
            histograms: Histograms::new(),
            answers: Vec::new(),
            end: End::default(),
            capture_failure: None,
        }
    }

    /// Notes the acquisitions that pass a budget of this policy, of whatever program. Before the
    /// first record: what was fed before is not looked at again.
    pub fn set_budgets(&mut self, policy: &Policy) {
        self.model.set_budgets(policy.all_budgets());
    }

    /// The capture could not be written any further; the run goes on and is reported without.
    pub(super) fn capture_failed(&mut self, why: String) {
        self.capture_failure.get_or_insert(why);
    }

    /// Why the capture is not whole, if it is not.
    pub fn capture_failure(&self) -> Option<&str> {
        self.capture_failure.as_deref()
    }

    /// Takes the next item.
    pub fn feed(&mut self, item: Item) {
        if !matches!(item, Item::Answer(_)) {
            self.facts.take();
        }
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
                self.take_samples();
            }
            Item::Answer(answer) => self.answers.push(*answer),
            Item::Tick(time) => self.model.advance(KtimeNs(time)),
            Item::End(end) => self.close(*end),
        }
    }

    fn close(&mut self, end: End) {
        if let (Some(root), 1..) = (self.model.root_key(), end.child_reaped_ns) {
            self.model.reaped(root, KtimeNs(end.child_reaped_ns));
        }
        self.model.flush();
        self.take_samples();
        self.end = end;
    }

    fn take_samples(&mut self) {
        for sample in self.model.take_samples() {
            self.histograms.record(&sample);
        }
    }

    /// Until when to wait for what can still go, if judging takes so long.
    pub fn deadline(&self, reaped: KtimeNs, judging: Duration) -> KtimeNs {
        let judging = u64::try_from(judging.as_nanos()).unwrap_or(u64::MAX);
        audit::deadline(&self.start, reaped, judging)
    }

    /// Whether what can still go by itself has gone.
    pub fn settle(&self, deadline: KtimeNs, now: KtimeNs) -> Settling {
        let facts = self.model.unsettled();
        audit::settle(&facts, &self.answers, &self.start, Some(deadline), now)
    }

    /// Whether those that are waited for are still there.
    pub fn settle_questions(&self) -> Vec<Question> {
        audit::settle_questions(&self.model.unsettled())
    }

    /// What judging needs to know of the kernel now.
    pub fn questions(&self, policy: &Policy, scope: Scope) -> Vec<Question> {
        audit::questions(self.facts(), &self.start, policy, scope)
    }

    /// What putting the findings into files needs to know: to be asked when everything else has
    /// been answered.
    pub fn sources(&self, policy: &Policy, scope: Scope) -> Vec<Question> {
        audit::sources(self.facts(), &self.answers, &self.start, policy, scope)
    }

    /// Which stacks must be known: to be asked when everything else has been answered.
    pub fn stack_questions(&self, policy: &Policy, scope: Scope) -> Vec<Question> {
        if !self.model.has_stacks() {
            return Vec::new();
        }
        audit::stack_questions(self.facts(), &self.answers, &self.start, policy, scope)
    }

    /// What else judging needs to know once it is known what is left.
    pub fn holder_questions(&self, policy: &Policy, scope: Scope) -> Vec<Question> {
        audit::holder_questions(self.facts(), &self.answers, &self.start, policy, scope)
    }

    /// The verdict and what it stands on. The exit is that of `check`.
    pub fn judge(&self, policy: &Policy) -> Report {
        audit::judge(self.facts(), &self.answers, &self.start, &self.end, policy)
    }

    /// What the model knows, gathered once: answers do not change it.
    fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| self.model.facts())
    }

    /// How the run began.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// How it ended.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What a process calls itself and whose it is now.
    pub fn is_now(&mut self, key: ProcessKey, comm: &[u8], uid: u32) {
        self.model.is_now(key, comm, uid);
    }

    /// The durations so far; none unless the purpose wants them.
    pub fn histograms(&self) -> &Histograms {
        &self.histograms
    }
}
