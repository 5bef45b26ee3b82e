//! In which order a process gave its resources back.
//!
//! Judged over what was live at the trigger and explicitly released after it. What is held at
//! exit takes no part: a leak is not also a breach. Each release costs O(log n).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    audit::teardown::Trigger,
    id::{KtimeNs, Tid},
    model::facts::{Class, Kind, ProcessFacts, ReleaseFacts},
    policy::OrderMode,
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

/// Judges an ended process.
pub fn judge(process: &ProcessFacts, trigger: Option<&Trigger>, mode: OrderMode) -> Judged {
    let (Some(end), Some(trigger)) = (&process.end, trigger) else {
        return Judged::default();
    };
    if let Some(signal) = end.signal() {
        return Judged::not_judged(format!("ended by {}", human::signal(signal)));
    }
    let parts: Vec<usize> = (0..process.releases.len())
        .filter(|&i| takes_part(&process.releases[i], trigger.at))
        .collect();
    if parts.is_empty() {
        return Judged::default();
    }
    let groups = groups(&process.releases, parts);
    if groups.is_empty() {
        return Judged::not_judged("concurrent".to_owned());
    }
    let mut judged = Judged {
        mode,
        ..Judged::default()
    };
    let mut threads = BTreeSet::new();
    for group in groups {
        judged.checked += group.len() as u64;
        threads.extend(group.iter().map(|&i| process.releases[i].released_by));
        judged
            .breaches
            .extend(breaches(&process.releases, group, mode));
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
fn breaches(releases: &[ReleaseFacts], mut group: Vec<usize>, mode: OrderMode) -> Vec<Breach> {
    group.sort_by_key(|&i| (releases[i].resource.released, i));
    let mut open = Open::new(mode);
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

/// What is still open, by class, then by age.
struct Open {
    mode: OrderMode,
    by_class: BTreeMap<Class, BTreeSet<(u64, usize)>>,
}

impl Open {
    fn new(mode: OrderMode) -> Self {
        Open {
            mode,
            by_class: BTreeMap::new(),
        }
    }

    fn insert(&mut self, releases: &[ReleaseFacts], i: usize) {
        let class = releases[i].resource.kind.class();
        self.by_class
            .entry(class)
            .or_default()
            .insert((releases[i].rank, i));
    }

    fn remove(&mut self, releases: &[ReleaseFacts], i: usize) {
        let class = releases[i].resource.kind.class();
        if let Some(open) = self.by_class.get_mut(&class) {
            open.remove(&(releases[i].rank, i));
        }
    }

    /// The oldest of those that had to be released before `i`. At most eight sets are looked
    /// into, each in O(log n).
    fn had_to_go_first(&self, releases: &[ReleaseFacts], i: usize) -> Option<usize> {
        let class = releases[i].resource.kind.class();
        let later = (releases[i].rank.saturating_add(1), 0);
        let after = |open: &BTreeSet<(u64, usize)>| open.range(later..).next().copied();
        let oldest = |open: &BTreeSet<(u64, usize)>| open.first().copied();
        let found = match self.mode {
            OrderMode::Instance => self.by_class.get(&class).and_then(after),
            OrderMode::Global => self.by_class.values().filter_map(after).min(),
            OrderMode::FdsFirst | OrderMode::MappingsFirst => {
                let place = |class: Class| position(self.mode, class);
                self.by_class
                    .iter()
                    .filter(|(other, _)| place(**other) < place(class))
                    .filter_map(|(_, open)| oldest(open))
                    .min()
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
