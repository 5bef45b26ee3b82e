//! In which order a process gave its resources back.
//!
//! Judged over what was live at the trigger and explicitly released after it. What is held at
//! exit takes no part: a leak is not also a breach. Each release costs O(log n).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    audit::teardown::Trigger,
    id::{KtimeNs, Tid},
    model::facts::{Class, Kind, ProcessFacts, ReleaseFacts},
    policy::{
        OrderMode,
        settings::{self, Rank},
    },
    report::Resource,
    sink::human,
};

/// The outcome for one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// By which mode.
    pub mode: OrderMode,
    /// Releases judged.
    pub checked: u64,
    /// One per release at most, in the order of the releases.
    pub breaches: Vec<Breach>,
    /// Threads that made the judged releases.
    pub threads: u64,
    /// Why nothing was judged, if something could have been.
    pub not_judged: Option<String>,
}

/// A release while something that had to go first was still open. Indices into
/// [`ProcessFacts::releases`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// What was released.
    pub released: usize,
    /// The oldest later resource still open.
    pub open: usize,
}

impl Judged {
    /// 1 - breaches / releases judged.
    pub fn score(&self) -> Option<f64> {
        (self.checked > 0).then(|| 1.0 - self.breaches.len() as f64 / self.checked as f64)
    }

    fn not_judged(why: String) -> Self {
        Judged {
            not_judged: Some(why),
            ..Judged::default()
        }
    }
}

/// What says which of two has to go first.
#[derive(Clone, Copy, Debug)]
enum By<'a> {
    Mode(OrderMode),
    /// By place in the process's releases; those without one take no part.
    Ranks(&'a [Option<i64>]),
}

/// Judges an ended process by the ranks of its policy.
pub fn judge_ranks(process: &ProcessFacts, trigger: Option<&Trigger>, ranks: &[Rank]) -> Judged {
    if ranks.is_empty() {
        return Judged::default();
    }
    let of: Vec<Option<i64>> = process
        .releases
        .iter()
        .map(|release| settings::rank(ranks, &in_short(release)))
        .collect();
    judge_by(process, trigger, By::Ranks(&of))
}

/// What a rank looks at.
fn in_short(release: &ReleaseFacts) -> Resource {
    let resource = &release.resource;
    let path = resource.path.as_deref();
    Resource {
        kind: resource.kind.name().to_owned(),
        class: resource.kind.class().name().to_owned(),
        path: path.map(crate::audit::resource::text),
        local: resource.local.clone(),
        peer: resource.peer.clone(),
        ..Resource::default()
    }
}

/// Judges an ended process.
pub fn judge(process: &ProcessFacts, trigger: Option<&Trigger>, mode: OrderMode) -> Judged {
    Judged {
        mode,
        ..judge_by(process, trigger, By::Mode(mode))
    }
}

fn judge_by(process: &ProcessFacts, trigger: Option<&Trigger>, by: By<'_>) -> Judged {
    let (Some(end), Some(trigger)) = (&process.end, trigger) else {
        return Judged::default();
    };
    if let Some(signal) = end.signal() {
        return Judged::not_judged(format!("ended by {}", human::signal(signal)));
    }
    let parts: Vec<usize> = (0..process.releases.len())
        .filter(|&i| takes_part(&process.releases[i], trigger.at))
        .filter(|&i| match by {
            By::Mode(_) => true,
            By::Ranks(ranks) => ranks[i].is_some(),
        })
        .collect();
    if parts.is_empty() {
        return Judged::default();
    }
    let groups = groups(&process.releases, parts);
    if groups.is_empty() {
        return Judged::not_judged("concurrent".to_owned());
    }
    let mut judged = Judged::default();
    let mut threads = BTreeSet::new();
    for group in groups {
        judged.checked += group.len() as u64;
        threads.extend(group.iter().map(|&i| process.releases[i].released_by));
        judged
            .breaches
            .extend(breaches(&process.releases, group, by));
    }
    judged.threads = threads.len() as u64;
    judged.breaches.sort_by_key(|breach| {
        (
            process.releases[breach.released].resource.released,
            breach.released,
        )
    });
    judged
}

fn takes_part(release: &ReleaseFacts, trigger: KtimeNs) -> bool {
    let resource = &release.resource;
    let kind_takes_part = match resource.kind.class() {
        Class::Fd | Class::Socket | Class::Ring | Class::Ipc => true,
        Class::Mapping => resource.kind != Kind::PrivateMapping,
        Class::Signal => resource.kind != Kind::Handler,
        Class::Task => resource.kind != Kind::Thread,
        Class::Memory => false,
    };
    kind_takes_part
        && resource.acquired.is_some_and(|at| at < trigger)
        && resource.released.is_some_and(|at| at >= trigger)
}

/// The sets within which order means something: everything, if one thread released it all;
/// else what each thread acquired, where it also released all of that.
fn groups(releases: &[ReleaseFacts], parts: Vec<usize>) -> Vec<Vec<usize>> {
    let first = releases[parts[0]].released_by;
    if parts.iter().all(|&i| releases[i].released_by == first) {
        return vec![parts];
    }
    let mut by_thread: BTreeMap<Option<Tid>, Vec<usize>> = BTreeMap::new();
    for i in parts {
        by_thread
            .entry(releases[i].resource.tid)
            .or_default()
            .push(i);
    }
    let own = |tid: Tid, group: &[usize]| group.iter().all(|&i| releases[i].released_by == tid);
    by_thread
        .into_iter()
        .filter_map(|(tid, group)| tid.filter(|&tid| own(tid, &group)).map(|_| group))
        .collect()
}

/// Breaches within one set.
fn breaches(releases: &[ReleaseFacts], mut group: Vec<usize>, by: By<'_>) -> Vec<Breach> {
    group.sort_by_key(|&i| (releases[i].resource.released, i));
    let mut open = Open::new(by);
    for &i in &group {
        open.insert(releases, i);
    }
    let mut found = Vec::new();
    // What one call released together (close_range) has no order within itself.
    for together in
        group.chunk_by(|&a, &b| releases[a].resource.released == releases[b].resource.released)
    {
        for &i in together {
            open.remove(releases, i);
        }
        for &i in together {
            if let Some(later) = open.had_to_go_first(releases, i) {
                found.push(Breach {
                    released: i,
                    open: later,
                });
            }
        }
    }
    found
}

/// What is looked at together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shelf {
    Class(Class),
    Rank(i64),
}

/// What is still open, by class or rank, then by age.
struct Open<'a> {
    by: By<'a>,
    shelves: BTreeMap<Shelf, BTreeSet<(u64, usize)>>,
}

impl<'a> Open<'a> {
    fn new(by: By<'a>) -> Self {
        Open {
            by,
            shelves: BTreeMap::new(),
        }
    }

    fn shelf(&self, releases: &[ReleaseFacts], i: usize) -> Shelf {
        match self.by {
            By::Mode(_) => Shelf::Class(releases[i].resource.kind.class()),
            By::Ranks(ranks) => Shelf::Rank(ranks[i].unwrap_or(0)),
        }
    }

    fn insert(&mut self, releases: &[ReleaseFacts], i: usize) {
        let shelf = self.shelf(releases, i);
        let open = self.shelves.entry(shelf).or_default();
        open.insert((releases[i].rank, i));
    }

    fn remove(&mut self, releases: &[ReleaseFacts], i: usize) {
        let shelf = self.shelf(releases, i);
        if let Some(open) = self.shelves.get_mut(&shelf) {
            open.remove(&(releases[i].rank, i));
            if open.is_empty() {
                self.shelves.remove(&shelf);
            }
        }
    }

    /// The oldest of those that had to be released before `i`. At most eight sets, or one for
    /// each rank of the policy, are looked into, each in O(log n).
    fn had_to_go_first(&self, releases: &[ReleaseFacts], i: usize) -> Option<usize> {
        let shelf = self.shelf(releases, i);
        let later = (releases[i].rank.saturating_add(1), 0);
        let after = |open: &BTreeSet<(u64, usize)>| open.range(later..).next().copied();
        let oldest = |open: &BTreeSet<(u64, usize)>| open.first().copied();
        let found = match self.by {
            By::Mode(OrderMode::Instance) => self.shelves.get(&shelf).and_then(after),
            By::Mode(OrderMode::Global) => self.shelves.values().filter_map(after).min(),
            By::Mode(mode @ (OrderMode::FdsFirst | OrderMode::MappingsFirst)) => {
                let before = |other: &Shelf| match (other, shelf) {
                    (Shelf::Class(other), Shelf::Class(class)) => {
                        position(mode, *other) < position(mode, class)
                    }
                    _ => false,
                };
                let open = self.shelves.iter().filter(|(other, _)| before(other));
                open.filter_map(|(_, open)| oldest(open)).min()
            }
            By::Ranks(_) => {
                let before = self.shelves.range(..shelf);
                before.filter_map(|(_, open)| oldest(open)).min()
            }
        };
        found.map(|(_, i)| i)
    }
}

/// Place of a class in the order in which a class mode wants them released.
fn position(mode: OrderMode, class: Class) -> usize {
    let place = Class::ALL.iter().position(|c| *c == class).unwrap_or(0);
    match mode {
        OrderMode::FdsFirst | OrderMode::Instance | OrderMode::Global => place,
        // mapping, memory, task, ring, signal, ipc, socket, fd
        OrderMode::MappingsFirst => match class {
            Class::Mapping => 0,
            Class::Memory => 1,
            Class::Task => 2,
            Class::Ring => 3,
            Class::Signal => 4,
            Class::Ipc => 5,
            Class::Socket => 6,
            Class::Fd => 7,
        },
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
