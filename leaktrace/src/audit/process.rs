//! A process as the report tells it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    audit::{case::Case, quality, resource, teardown},
    id::ProcessKey,
    model::facts::ProcessFacts,
    report::{
        ClassCounts, Io, KindCounts, Order, Process, ProcessExit, Resource, Summary, Timing,
        Trigger, Verdict,
    },
    sink::human,
};

/// What processes that were told before had, for those that have the same: most of thousands are
/// of a few sorts.
#[derive(Debug, Default)]
pub(crate) struct Alike {
    argv: Recent<Vec<String>>,
    by_kind: Recent<BTreeMap<String, KindCounts>>,
    held: Recent<Vec<Resource>>,
}

/// The last different ones.
#[derive(Debug, Default)]
struct Recent<T>(VecDeque<Arc<T>>);

/// How many are remembered.
const RECENT: usize = 32;

impl<T: PartialEq> Recent<T> {
    fn same(&mut self, new: T) -> Arc<T> {
        if let Some(known) = self.0.iter().find(|known| ***known == new) {
            return Arc::clone(known);
        }
        let new = Arc::new(new);
        if self.0.len() >= RECENT {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(&new));
        new
    }
}

/// Builds the report's process. `residue` counts things that it made and that are left.
pub(crate) fn report(
    case: &Case<'_>,
    facts: &ProcessFacts,
    residue: u64,
    verdict: Verdict,
    alike: &mut Alike,
) -> Process {
    let trigger = case.triggers.get(&facts.key);
    Process {
        key: facts.key,
        pid: facts.key.pid.0,
        ns_pid: facts.ns_pid.0,
        ppid: facts.parent.pid.0,
        parent: parent(case, facts),
        start_ns: facts.key.start.0,
        end_ns: facts.end.as_ref().map(|end| end.finished().0),
        comm: resource::text(&facts.comm),
        exe: facts.exe.as_deref().map(resource::text),
        argv: alike
            .argv
            .same(facts.argv.iter().map(|arg| resource::text(arg)).collect()),
        uid: facts.uid,
        cgroup: (facts.cgroup != 0).then(|| facts.cgroup.to_string()),
        container: None,
        verdict,
        exit: exit(facts),
        summary: summary(facts, residue),
        by_kind: alike.by_kind.same(by_kind(facts)),
        by_class: by_class(facts),
        held: alike.held.same(
            facts
                .end
                .iter()
                .flat_map(|end| end.held.iter().map(resource::held))
                .collect(),
        ),
        io: facts.end.as_ref().map(|end| Io {
            read_bytes: end.read_bytes,
            written_bytes: end.written_bytes,
        }),
        trigger: trigger.map(|trigger| Trigger {
            at_ns: trigger.at.0,
            cause: trigger.cause.clone(),
        }),
        teardown: quality::teardown(case.facts, facts, trigger),
        order: order(case, facts),
        timing_ns: timing(facts, trigger),
    }
}

fn timing(facts: &ProcessFacts, trigger: Option<&teardown::Trigger>) -> Timing {
    teardown::timing(facts, trigger)
}

fn parent(case: &Case<'_>, facts: &ProcessFacts) -> Option<ProcessKey> {
    case.process(facts.parent).map(|parent| parent.key)
}

fn exit(facts: &ProcessFacts) -> ProcessExit {
    match &facts.end {
        None => ProcessExit::default(),
        Some(end) => ProcessExit {
            code: end.code(),
            signal: end.signal(),
            // The core bit of the wait status (wait(2), WCOREDUMP).
            core_dumped: end.status & 0x80 != 0,
        },
    }
}

fn summary(facts: &ProcessFacts, residue: u64) -> Summary {
    let counted = || facts.by_kind.iter().filter(|(kind, _)| kind.counted());
    let held = match &facts.end {
        Some(end) => end.held.iter().filter(|held| !held.inherited).count() as u64,
        None => counted().map(|(_, counts)| counts.held).sum(),
    };
    Summary {
        acquired: counted().map(|(_, counts)| counts.acquired).sum(),
        released: counted().map(|(_, counts)| counts.released).sum(),
        held,
        residue,
        bytes_released: facts.bytes_released,
        errors: facts.errors,
    }
}

fn by_kind(facts: &ProcessFacts) -> BTreeMap<String, KindCounts> {
    facts
        .by_kind
        .iter()
        .map(|(kind, counts)| {
            let counts = KindCounts {
                acquired: counts.acquired,
                released: counts.released,
                held: counts.held,
                peak: counts.peak,
            };
            (kind.name().to_owned(), counts)
        })
        .collect()
}

fn by_class(facts: &ProcessFacts) -> BTreeMap<String, ClassCounts> {
    let counts = facts.given_back.iter().map(|(class, it)| {
        let counts = ClassCounts {
            released: it.released,
            bytes_released: it.bytes,
            errors: it.errors,
            release_ns: it.ns,
        };
        (class.name().to_owned(), counts)
    });
    counts.collect()
}

fn order(case: &Case<'_>, facts: &ProcessFacts) -> Order {
    let judged = case.orders.get(&facts.key);
    Order {
        mode: case.settings(facts).order.name().to_owned(),
        checked: judged.map_or(0, |judged| judged.checked),
        breaches: judged.map_or(0, |judged| judged.breaches.len() as u64),
        score: judged.and_then(|judged| judged.score()),
        threads: judged.map_or(0, |judged| judged.threads),
        not_judged: judged.and_then(|judged| judged.not_judged.clone()),
    }
}

/// What one line says of a process behind its name, in the same words everywhere:
/// `17 released, 3 held, 1 residue, 4.0 KiB, 0 errors, 1.2 ms, order 98 %`.
pub fn cleanup_line(summary: &Summary, teardown_ns: Option<u64>, score: Option<f64>) -> String {
    let Summary {
        acquired: _,
        released,
        held,
        residue,
        bytes_released,
        errors,
    } = *summary;
    format!(
        "{} released, {} held, {} residue, {}, {} errors, {}, order {}",
        human::count(released),
        human::count(held),
        human::count(residue),
        human::size(bytes_released),
        human::count(errors),
        teardown_ns.map_or_else(|| "-".to_owned(), human::nanos),
        score.map_or_else(|| "-".to_owned(), human::percent),
    )
}
