//! The case: everything that rules look at, prepared once.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    audit::{
        daemon,
        evidence::{Alive, Evidence},
        kept::{self, Survives},
        order,
        residue::{self, Left},
        resource,
        rule::{Group, RuleInfo},
        scope::{Leak, Scopes},
        settle, stack,
        teardown::{self, Trigger},
        trust,
    },
    census::Answer,
    id::ProcessKey,
    model::facts::{Facts, ProcessFacts, ResourceFacts},
    policy::{Policy, date::Date, program::Program, settings::Settings},
    report::{Keeper, Level, Resource},
    source::{End, Start},
};

/// What rules see.
pub struct Case<'a> {
    /// The model's facts.
    pub facts: &'a Facts,
    /// How the run began.
    pub start: &'a Start,
    /// How it ended.
    pub end: &'a End,
    /// What the user tolerates.
    pub policy: &'a Policy,
    /// What the census said.
    evidence: Evidence<'a>,
    /// Scopes, and what is of which.
    pub(crate) scopes: Scopes<'a>,
    /// What outlives the scope that it was acquired in, by process.
    pub(crate) leaks: BTreeMap<ProcessKey, Vec<Leak>>,
    /// Members that still run, with the time at which that was seen.
    pub survivors: BTreeMap<ProcessKey, u64>,
    /// The names of survivors now.
    names: BTreeMap<ProcessKey, &'a [u8]>,
    /// Survivors that may stay: known daemons, and what the policy expects.
    pub daemons: Vec<ProcessKey>,
    /// Known daemons that keep something of the run: what, a clause.
    pub keeping: BTreeMap<ProcessKey, String>,
    /// How often each expectation of the policy fitted.
    pub expected: Vec<u64>,
    /// Created things that are still there and are findings of their own.
    pub left: Vec<Left>,
    /// Created things that are still there and whose creator survives.
    pub left_by_survivors: Vec<Left>,
    /// Descriptions and namespaces of the run that somebody outside of it has.
    pub(crate) kept: Vec<Survives>,
    /// How many left things belong to known caches.
    pub caches: u64,
    /// What the census could not tell, a clause each.
    pub unknown: Vec<String>,
    /// What began the teardown of each ended process.
    pub triggers: BTreeMap<ProcessKey, Trigger>,
    /// Order of releases, by process.
    pub orders: BTreeMap<ProcessKey, order::Judged>,
    /// Order of releases by the ranks of the policy, by process; empty without ranks.
    pub ranked: BTreeMap<ProcessKey, order::Judged>,
}

/// Something that a rule saw, before policy.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The survivor or zombie, or who acquired the thing.
    pub process: ProcessKey,
    /// What.
    pub resource: Resource,
    /// The other one of an order breach.
    pub other: Option<Resource>,
    /// What a survivor holds.
    pub caused: Vec<Resource>,
    /// Who keeps it alive.
    pub kept_by: Vec<Keeper>,
    /// When the census saw it, ns of CLOCK_BOOTTIME.
    pub confirmed_ns: Option<u64>,
    /// Positive errno, for refused releases.
    pub errno: Option<i32>,
    /// A level that replaces the rule's default.
    pub level: Option<Level>,
    /// The scope that it outlives; `None`: that of its acquisition, if any.
    pub scope: Option<String>,
}

impl<'a> Case<'a> {
    /// Prepares a case.
    pub fn new(
        facts: &'a Facts,
        answers: &'a [Answer],
        start: &'a Start,
        end: &'a End,
        policy: &'a Policy,
    ) -> Self {
        let evidence = Evidence::new(answers);
        let (living, mut unknown) = survivors(facts, &evidence);
        let survivors = living.iter().map(|(key, (at_ns, _))| (*key, *at_ns));
        let survivors = survivors.collect();
        let names = living.into_iter().map(|(key, (_, comm))| (key, comm));
        let (mut left, not_found_out) = residue::left(facts, start, &evidence);
        for left in &mut left {
            left.kept_by = kept::of(facts, left, &evidence);
        }
        let mut kept = kept::descriptions(facts, &evidence);
        kept.extend(kept::namespaces(facts, &left, &evidence));
        unknown.extend(not_found_out);
        let triggers: BTreeMap<_, _> = facts
            .processes
            .values()
            .filter_map(|process| Some((process.key, teardown::trigger(process)?)))
            .collect();
        let orders = facts
            .processes
            .values()
            .map(|process| (process.key, judge_order(process, &triggers, policy)))
            .collect();
        let mut case = Case {
            facts,
            start,
            end,
            policy,
            evidence,
            scopes: Scopes::new(facts),
            leaks: BTreeMap::new(),
            survivors,
            names: names.filter(|(_, comm)| !comm.is_empty()).collect(),
            daemons: Vec::new(),
            keeping: BTreeMap::new(),
            expected: Vec::new(),
            left: Vec::new(),
            left_by_survivors: Vec::new(),
            kept,
            caches: 0,
            unknown,
            triggers,
            orders,
            ranked: BTreeMap::new(),
        };
        let daemons = daemon::sort(&case, &left);
        case.daemons = daemons.may_stay;
        case.keeping = daemons.keeping;
        case.expected = daemons.expected;
        case.sort_left(left);
        case.ranked = case.judge_ranks();
        case.leaks = case.scopes.leaks(&case.left);
        case
    }

    /// A process of the facts.
    pub fn process(&self, key: ProcessKey) -> Option<&'a ProcessFacts> {
        self.facts.processes.get(&key)
    }

    /// Members of the tree.
    fn members(&self) -> impl Iterator<Item = &'a ProcessFacts> {
        let all = self.facts.processes.values();
        all.filter(|process| residue::ours(self.facts, process.key, None))
    }

    /// Ended members of the tree that a rule of this group may judge: what it rests on was seen.
    pub fn judged(&self, group: Group) -> impl Iterator<Item = &'a ProcessFacts> {
        self.members()
            .filter(move |process| trust::doubt(process, group).is_none())
    }

    /// Those of which a rule of this group may say only what a record by itself proves.
    pub fn doubted(&self, group: Group) -> impl Iterator<Item = &'a ProcessFacts> {
        self.members()
            .filter(move |process| trust::doubt(process, group).is_some())
    }

    /// Order by rank of every process for which the policy has ranks.
    fn judge_ranks(&self) -> BTreeMap<ProcessKey, order::Judged> {
        let judged = self.judged(Group::Order).filter_map(|process| {
            let settings = self.settings(process);
            if settings.ranks.is_empty() {
                return None;
            }
            let trigger = self.triggers.get(&process.key);
            let judged = order::judge_ranks(process, trigger, &settings.ranks);
            Some((process.key, judged))
        });
        judged.collect()
    }

    /// Whether this is told as a leak of a scope.
    pub(crate) fn is_scope_leak(&self, process: ProcessKey, resource: &ResourceFacts) -> bool {
        let mut leaks = self.leaks.get(&process).into_iter().flatten();
        leaks.any(|leak| leak.resource == *resource)
    }

    /// The name of a process: as it is now if it survives, else the last one known.
    pub fn comm<'b>(&'b self, process: &'b ProcessFacts) -> &'b [u8] {
        match self.names.get(&process.key) {
            Some(comm) => comm,
            None => &process.comm,
        }
    }

    /// The day on which the run began.
    pub fn today(&self) -> Date {
        Date::of_realtime(self.start.clock.realtime_ns)
    }

    /// What holds for a process by policy.
    pub fn settings(&self, process: &ProcessFacts) -> Cow<'a, Settings> {
        settings(self.policy, process)
    }

    /// Gives what an observation is about the stacks of its acquisition.
    pub(crate) fn put_stacks(&self, seen: &mut Observation) {
        stack::put(self.facts, &self.evidence, &mut seen.resource);
        if let Some(other) = &mut seen.other {
            stack::put(self.facts, &self.evidence, other);
        }
    }

    /// Level of a rule for a process by policy, and by what cut the run short.
    pub fn level(&self, rule: &RuleInfo, process: &ProcessFacts, own: Option<Level>) -> Level {
        let settings = self.settings(process);
        let level = self
            .policy
            .level(&settings, rule, own.unwrap_or(rule.level));
        self.unless_cut_short(rule, level)
    }

    /// The highest level that a rule has for any process.
    pub fn highest_level(&self, rule: &RuleInfo) -> Level {
        self.unless_cut_short(rule, self.policy.highest_level(rule))
    }

    fn unless_cut_short(&self, rule: &RuleInfo, level: Level) -> Level {
        // What still ran might have removed it, and might have ended.
        let over = !self.end.cut_short && !self.end.stopped;
        let unsettled = rule.group == Group::Residue && !over;
        if unsettled {
            level.min(Level::Note)
        } else {
            level
        }
    }

    /// Splits what is left: known caches, things of survivors, findings.
    fn sort_left(&mut self, left: Vec<Left>) {
        let roots = super::roots::Roots::new(self.start);
        for left in left {
            let directory = left.thing == residue::Thing::TempDir;
            let cached = match roots.place(&left.path) {
                super::roots::Place::Temp { inside, .. } => {
                    self.policy.known.cache(inside, directory).is_some()
                }
                super::roots::Place::Output | super::roots::Place::Elsewhere => false,
            };
            if cached {
                self.caches += 1;
            } else if self.survivors.contains_key(&left.creator) {
                self.left_by_survivors.push(left);
            } else {
                self.left.push(left);
            }
        }
    }
}

/// When somebody was seen to run, and under which name.
type Seen<'a> = (u64, &'a [u8]);

/// Who still runs, and of whom it is not known, a clause each.
fn survivors<'a>(
    facts: &Facts,
    evidence: &Evidence<'a>,
) -> (BTreeMap<ProcessKey, Seen<'a>>, Vec<String>) {
    let mut survivors = BTreeMap::new();
    let mut unknown = Vec::new();
    let living = settle::unsettled(facts).filter(|process| settle::is_living(process));
    for process in living {
        match evidence.process(process.key) {
            Alive::Yes { at_ns, comm } => {
                survivors.insert(process.key, (at_ns, comm));
            }
            Alive::Ended => {}
            Alive::NotAsked | Alive::Unknown => unknown.push(format!(
                "process {} ({}): not known whether it lives",
                process.key.pid,
                resource::text(&process.comm)
            )),
        }
    }
    (survivors, unknown)
}

fn judge_order(
    process: &ProcessFacts,
    triggers: &BTreeMap<ProcessKey, Trigger>,
    policy: &Policy,
) -> order::Judged {
    match trust::doubt(process, Group::Order) {
        Some(why) => order::Judged {
            not_judged: Some(why.to_owned()),
            ..order::Judged::default()
        },
        None => {
            let mode = settings(policy, process).order;
            order::judge(process, triggers.get(&process.key), mode)
        }
    }
}

/// What a policy says of a process. Costs nothing where it has no sections.
fn settings<'a>(policy: &'a Policy, process: &ProcessFacts) -> Cow<'a, Settings> {
    if policy.programs.is_empty() {
        return Cow::Borrowed(&policy.settings);
    }
    policy.settings(&Program {
        comm: &process.comm,
        exe: process.exe.as_deref(),
        argv: &process.argv.join(&b' '),
    })
}
