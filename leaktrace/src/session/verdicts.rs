//! The verdicts of ended processes, for as long as pictures tell of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{KtimeNs, ProcessKey},
    model::snapshot::{ExitRow, Snapshot},
    report::{Finding, Level, Process, Report, Summary, Verdict},
};

/// Something left is looked for again after this time, until its maker has been gone for that
/// long: what is removed later was not left.
const AGAIN_NS: u64 = 5_000_000_000;
const AGAIN_UNTIL_NS: u64 = 60_000_000_000;

/// Who could not be judged is looked at again after this time.
const PUT_OFF_NS: u64 = 400_000_000;

/// What was judged.
#[derive(Clone, Debug)]
struct Judged {
    verdict: Verdict,
    summary: Summary,
    teardown_ns: Option<u64>,
    kernel_ns: Option<u64>,
    first: Option<(String, Level, String)>,
    at: KtimeNs,
    ended: KtimeNs,
}

/// All verdicts.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// In boxes: those between go, and the map's nodes have room for eleven each.
    known: BTreeMap<ProcessKey, Box<Judged>>,
    /// Who waits, and from when on it is worth a look.
    waiting: BTreeMap<ProcessKey, KtimeNs>,
    clean: u64,
    findings: u64,
    inconclusive: u64,
    /// Processes that were forgotten before they could be judged.
    unjudged: u64,
}

impl Verdicts {
    /// How many processes can be judged, for the first time or again.
    pub(super) fn wanted_count(&self, now: KtimeNs) -> usize {
        self.due(now).count()
    }

    /// Processes that can be judged, the newest first: those are the ones that can be seen. At most
    /// so many, and each not again for a while.
    pub(super) fn take_wanted(&mut self, now: KtimeNs, most: usize) -> Vec<ProcessKey> {
        let mut wanted: Vec<ProcessKey> = self.due(now).collect();
        wanted.sort_by_key(|key| std::cmp::Reverse(key.start));
        wanted.truncate(most);
        for key in &wanted {
            if let Some(from) = self.waiting.get_mut(key) {
                *from = KtimeNs(now.0 + PUT_OFF_NS);
            }
        }
        wanted
    }

    fn due(&self, now: KtimeNs) -> impl Iterator<Item = ProcessKey> {
        let waiting = self.waiting.iter().filter(move |(_, from)| **from <= now);
        let again = self.known.iter();
        let again = again.filter(move |(_, judged)| judged.is_due_again(now));
        waiting
            .map(|(key, _)| *key)
            .chain(again.map(|(key, _)| *key))
    }

    /// Takes over what a report says.
    pub(super) fn take(&mut self, report: &Report, now: KtimeNs) {
        let firsts = firsts(&report.findings);
        let why = report.inconclusive_because.first();
        for process in &report.processes {
            self.waiting.remove(&process.key);
            let first = firsts.get(&process.key).copied();
            self.put(process.key, judged(process, first, why, now));
        }
    }

    fn put(&mut self, key: ProcessKey, judged: Judged) {
        let verdict = judged.verdict;
        if let Some(before) = self.known.insert(key, Box::new(judged)) {
            *self.count(before.verdict) -= 1;
        }
        *self.count(verdict) += 1;
    }

    fn count(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::Clean => &mut self.clean,
            Verdict::Findings => &mut self.findings,
            Verdict::Inconclusive => &mut self.inconclusive,
        }
    }

    /// Completes the picture's ended processes, notes which of them are to be judged, and
    /// forgets those that it does not tell of.
    pub(super) fn put_into(&mut self, picture: &mut Snapshot) {
        let told: BTreeSet<ProcessKey> = picture.exits.iter().map(|row| row.key).collect();
        self.known.retain(|key, _| told.contains(key));
        let before = std::mem::take(&mut self.waiting);
        self.waiting = told
            .into_iter()
            .filter(|key| !self.known.contains_key(key))
            .map(|key| (key, before.get(&key).copied().unwrap_or_default()))
            .collect();
        for row in &mut picture.exits {
            if let Some(judged) = self.known.get(&row.key) {
                judged.put_into(row);
            }
        }
        let (all, ..) = picture.ended;
        picture.ended = (all, self.clean, self.findings, self.inconclusive);
        let seen = self.clean + self.findings + self.inconclusive + self.waiting.len() as u64;
        self.unjudged = self.unjudged.max(all.saturating_sub(seen));
        picture.unjudged = self.unjudged;
    }
}

impl Judged {
    fn is_due_again(&self, now: KtimeNs) -> bool {
        self.summary.residue > 0
            && self.at.0.saturating_sub(self.ended.0) < AGAIN_UNTIL_NS
            && now.0.saturating_sub(self.at.0) >= AGAIN_NS
    }

    fn put_into(&self, row: &mut ExitRow) {
        row.verdict = Some(self.verdict);
        row.summary = self.summary;
        row.teardown_ns = self.teardown_ns;
        row.kernel_ns = self.kernel_ns;
        row.first.clone_from(&self.first);
    }
}

fn judged(
    process: &Process,
    first: Option<&Finding>,
    why: Option<&String>,
    now: KtimeNs,
) -> Judged {
    let first = match (first, process.verdict, why) {
        (Some(finding), _, _) => {
            let what = format!("{}: {}", finding.name, finding.message);
            Some((finding.rule.clone(), finding.level, what))
        }
        (None, Verdict::Inconclusive, Some(why)) => Some((String::new(), Level::Note, why.clone())),
        (None, Verdict::Clean | Verdict::Findings | Verdict::Inconclusive, _) => None,
    };
    Judged {
        verdict: process.verdict,
        summary: process.summary,
        teardown_ns: process.timing_ns.teardown,
        kernel_ns: process.timing_ns.kernel,
        first,
        at: now,
        ended: KtimeNs(process.end_ns.unwrap_or(0)),
    }
}

/// The gravest finding of each process that is not suppressed; the first of several.
fn firsts(findings: &[Finding]) -> BTreeMap<ProcessKey, &Finding> {
    let mut firsts: BTreeMap<ProcessKey, &Finding> = BTreeMap::new();
    let counted = findings.iter().filter(|it| it.suppressed_by.is_none());
    for finding in counted {
        for instance in &finding.instances {
            let first = firsts.entry(instance.process).or_insert(finding);
            if finding.level > first.level {
                *first = finding;
            }
        }
    }
    firsts
}
