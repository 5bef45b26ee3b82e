//! Timing histograms: how long releases, holds and ends of processes take, by process or group.
//!
//! In: the model's samples while they arrive, and at the end what is known of the processes.
//! Out: [`HistReport`], the JSON contract `leaktrace.hist/1`, and a table for people. Below 20
//! samples there is no percentile: only n, min and max.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::ProcessKey,
    model::facts::{Class, ProcessFacts, Sample, SampleKind},
};

pub mod buckets;
mod series;
mod text;

pub use series::Series;
pub use text::render;

/// What a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// One process.
    #[default]
    Pid,
    /// All processes that ended with the same comm.
    Comm,
    /// All processes of the same executable.
    Exe,
    /// All processes of the same cgroup.
    Cgroup,
    /// All resources of one class; what is measured once per process is the group `process`.
    Class,
}

impl By {
    /// Every way to group.
    pub const ALL: [By; 5] = [By::Pid, By::Comm, By::Exe, By::Cgroup, By::Class];

    /// The word used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            By::Pid => "pid",
            By::Comm => "comm",
            By::Exe => "exe",
            By::Cgroup => "cgroup",
            By::Class => "class",
        }
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(word: &str) -> Result<By, String> {
        By::ALL
            .into_iter()
            .find(|by| by.name() == word)
            .ok_or_else(|| "expected pid, comm, exe, cgroup or class".to_owned())
    }
}

/// The whole of `hist`'s JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistReport {
    /// `leaktrace.hist/1`.
    pub schema: String,
    /// How samples are grouped.
    pub by: By,
    /// In the order of their first process; by class: in the order of the classes.
    pub groups: Vec<Group>,
}

/// The samples that belong together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// `pid:start_ns`, comm, path, cgroup id or class.
    pub key: String,
    /// By pid: the pid; else null.
    pub pid: Option<u32>,
    /// By pid and comm: the comm; else null.
    pub comm: Option<String>,
    /// By class: the class; null for what is measured once per process.
    pub class: Option<String>,
    /// Processes in it.
    pub processes: u64,
    /// By sample kind, over all classes; kinds without a sample are absent.
    pub samples: BTreeMap<String, Quantiles>,
    /// Releases and holds by class; empty if that is the grouping.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_class: BTreeMap<String, BTreeMap<String, Quantiles>>,
}

/// What is told of some samples, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Number of samples.
    pub n: u64,
    /// Shortest.
    pub min_ns: u64,
    /// Longest.
    pub max_ns: u64,
    /// Median; null below 20 samples, like the others.
    pub p50_ns: Option<u64>,
    /// 90th percentile.
    pub p90_ns: Option<u64>,
    /// 99th percentile.
    pub p99_ns: Option<u64>,
}

/// Collects samples. They are kept by process until the end: which group a process belongs to
/// is only known when it has ended, since exec changes its name.
#[derive(Clone, Debug, Default)]
pub struct Histograms {
    processes: BTreeMap<ProcessKey, Measured>,
}

/// One process's, or one group's, samples.
#[derive(Clone, Debug, Default)]
struct Measured {
    processes: u64,
    by_class: BTreeMap<(Class, SampleKind), Series>,
    once: BTreeMap<SampleKind, Series>,
}

impl Histograms {
    /// Nothing yet.
    pub fn new() -> Histograms {
        Histograms::default()
    }

    /// Drops the samples of processes that nobody asked about.
    pub fn retain(&mut self, keep: impl Fn(&ProcessKey) -> bool) {
        self.processes.retain(|key, _| keep(key));
    }

    /// Takes one sample. A second once-per-process sample of a kind replaces the first: it
    /// is the later knowledge about the same end.
    pub fn record(&mut self, sample: &Sample) {
        let measured = self.processes.entry(sample.process).or_default();
        match sample.class {
            Some(class) => measured
                .by_class
                .entry((class, sample.kind))
                .or_default()
                .add(sample.ns),
            None => {
                measured.once.insert(sample.kind, Series::one(sample.ns));
            }
        }
    }

    /// Everything so far, in groups. `processes` tells who they were: those that have ended or
    /// have samples are in the report.
    pub fn report(&self, by: By, processes: &BTreeMap<ProcessKey, ProcessFacts>) -> HistReport {
        let mut groups: Vec<(Group, Measured)> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for (key, measured) in self.in_order(processes) {
            for (group, part) in split(by, key, processes.get(&key), measured) {
                let place = *places.entry(group.key.clone()).or_insert_with(|| {
                    groups.push((group, Measured::default()));
                    groups.len() - 1
                });
                groups[place].1.merge(part);
            }
        }
        if by == By::Class {
            groups.sort_by_key(|(group, _)| class_rank(group.class.as_deref()));
        }
        HistReport {
            schema: "leaktrace.hist/1".to_owned(),
            by,
            groups: groups
                .into_iter()
                .map(|(group, all)| all.into_group(by, group))
                .collect(),
        }
    }

    /// Processes by start.
    fn in_order(
        &self,
        processes: &BTreeMap<ProcessKey, ProcessFacts>,
    ) -> Vec<(ProcessKey, Measured)> {
        let ended = processes
            .values()
            .filter(|process| process.end.is_some())
            .map(|p| p.key);
        let mut keys: Vec<ProcessKey> = self.processes.keys().copied().chain(ended).collect();
        keys.sort_by_key(|key| (key.start, key.pid));
        keys.dedup();
        keys.into_iter()
            .map(|key| (key, self.processes.get(&key).cloned().unwrap_or_default()))
            .collect()
    }
}

/// The groups that a process's samples go to, with its share in each.
fn split(
    by: By,
    key: ProcessKey,
    facts: Option<&ProcessFacts>,
    mut measured: Measured,
) -> Vec<(Group, Measured)> {
    measured.processes = 1;
    let text = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) if !bytes.is_empty() => String::from_utf8_lossy(bytes).into_owned(),
        _ => "?".to_owned(),
    };
    let comm = text(facts.map(|facts| &facts.comm[..]));
    let name = match by {
        By::Pid => key.to_string(),
        By::Comm => comm.clone(),
        By::Exe => text(facts.and_then(|facts| facts.exe.as_deref())),
        By::Cgroup => facts.map_or_else(|| "?".to_owned(), |facts| facts.cgroup.to_string()),
        By::Class => return measured.split_by_class(),
    };
    let group = Group {
        key: name,
        pid: (by == By::Pid).then_some(key.pid.0),
        comm: matches!(by, By::Pid | By::Comm).then_some(comm),
        ..Group::default()
    };
    vec![(group, measured)]
}

impl Measured {
    fn split_by_class(self) -> Vec<(Group, Measured)> {
        let named = |class: Option<Class>| {
            let class = class.map(|class| class.name().to_owned());
            let key = class.clone().unwrap_or_else(|| "process".to_owned());
            Group {
                key,
                class,
                ..Group::default()
            }
        };
        let mut parts: BTreeMap<Class, Measured> = BTreeMap::new();
        for ((class, kind), series) in self.by_class {
            let part = parts.entry(class).or_insert_with(|| Measured {
                processes: 1,
                ..Measured::default()
            });
            part.by_class.insert((class, kind), series);
        }
        let once = Measured {
            processes: 1,
            once: self.once,
            ..Measured::default()
        };
        let classes = parts
            .into_iter()
            .map(|(class, part)| (named(Some(class)), part));
        classes.chain([(named(None), once)]).collect()
    }

    fn merge(&mut self, other: Measured) {
        self.processes += other.processes;
        for (key, series) in other.by_class {
            self.by_class.entry(key).or_default().merge(&series);
        }
        for (key, series) in other.once {
            self.once.entry(key).or_default().merge(&series);
        }
    }

    fn into_group(self, by: By, group: Group) -> Group {
        let mut total = self.once;
        let mut by_class: BTreeMap<String, BTreeMap<String, Quantiles>> = BTreeMap::new();
        for ((class, kind), series) in self.by_class {
            total.entry(kind).or_default().merge(&series);
            if by != By::Class {
                let class = by_class.entry(class.name().to_owned()).or_default();
                class.insert(kind.name().to_owned(), series.quantiles());
            }
        }
        let samples = total
            .iter()
            .map(|(kind, series)| (kind.name().to_owned(), series.quantiles()));
        Group {
            processes: self.processes,
            samples: samples.collect(),
            by_class,
            ..group
        }
    }
}

fn class_rank(class: Option<&str>) -> usize {
    Class::ALL
        .iter()
        .position(|known| Some(known.name()) == class)
        .unwrap_or(Class::ALL.len())
}

#[cfg(test)]
#[path = "hist_tests.rs"]
mod tests;
