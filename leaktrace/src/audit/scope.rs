//! Scopes: which of them a thing is of, and what outlives its own.
//!
//! A thing is of the scope that was open in its process when it was acquired: the innermost
//! one, and the acquiring thread's where several threads have scopes. A process that has none
//! is of the scope that its environment names, else of the one in which it was made.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    audit::{case::Observation, residue::Left, resource},
    id::{KtimeNs, ProcessKey, Tid},
    model::facts::{Class, Facts, Kind, ProcessFacts, ResourceFacts, ScopeFacts, ScopeJudged},
    report::{Finding, Scope},
};

/// Ancestors that are looked at.
const GENERATIONS: usize = 256;

/// Something that outlives the scope that it was acquired in.
#[derive(Clone, Debug)]
pub(crate) struct Leak {
    /// What.
    pub(crate) resource: ResourceFacts,
    /// The scope's name.
    pub(crate) scope: String,
}

/// The scopes of a run, by process.
pub(crate) struct Scopes<'a> {
    facts: &'a Facts,
    /// Those that threads began, in the order of their beginnings.
    marked: BTreeMap<ProcessKey, Vec<&'a ScopeFacts>>,
    /// Those from the environment.
    programs: BTreeMap<ProcessKey, &'a ScopeFacts>,
}

impl<'a> Scopes<'a> {
    /// Sorts them.
    pub(crate) fn new(facts: &'a Facts) -> Self {
        let mut scopes = Scopes {
            facts,
            marked: BTreeMap::new(),
            programs: BTreeMap::new(),
        };
        for scope in &facts.scopes {
            match scope.tid {
                Some(_) => scopes.marked.entry(scope.process).or_default().push(scope),
                None => {
                    scopes.programs.insert(scope.process, scope);
                }
            }
        }
        scopes
    }

    /// Whether what is held past a scope's end is judged anywhere.
    pub(crate) fn judges(&self) -> bool {
        let judged = |scope: &ScopeFacts| scope.judged != ScopeJudged::Nothing;
        self.facts.scopes.iter().any(judged)
    }

    /// The name of the scope that an observation is of.
    pub(crate) fn of(&self, seen: &Observation) -> Option<String> {
        if self.facts.scopes.is_empty() {
            return None;
        }
        let is_process = seen.resource.kind == Kind::Process.name();
        let scope = match (is_process, seen.resource.acquired_ns) {
            (false, Some(at)) => self.at(seen.process, seen.resource.tid.map(Tid), KtimeNs(at)),
            (true, _) | (false, None) => self.of_process(seen.process),
        };
        scope.and_then(named)
    }

    /// The scope in which a thread of a process acquires something then.
    fn at(&self, process: ProcessKey, tid: Option<Tid>, at: KtimeNs) -> Option<&'a ScopeFacts> {
        self.marked_at(process, tid, at)
            .or_else(|| self.of_process(process))
    }

    /// The scope that a process is in as a whole.
    fn of_process(&self, process: ProcessKey) -> Option<&'a ScopeFacts> {
        let mut process = process;
        for _ in 0..GENERATIONS {
            let (maker, tid) = self.facts.processes.get(&process)?.maker.unzip();
            let handed_on = maker.and_then(|maker| self.program(maker));
            let own = self.programs.get(&process).copied();
            match (own, handed_on) {
                (Some(own), None) => return Some(own),
                (Some(own), Some(other)) if own.name != other.name => return Some(own),
                (Some(_) | None, _) => {}
            }
            let maker = maker?;
            let born = self.facts.processes.get(&process)?.born;
            if let Some(scope) = self.marked_at(maker, tid, born) {
                return Some(scope);
            }
            process = maker;
        }
        None
    }

    /// The scope that the environment of a process, or of one that it stems from, names.
    fn program(&self, process: ProcessKey) -> Option<&'a ScopeFacts> {
        let mut process = process;
        for _ in 0..GENERATIONS {
            if let Some(scope) = self.programs.get(&process) {
                return Some(scope);
            }
            process = self.facts.processes.get(&process)?.maker?.0;
        }
        None
    }

    /// The innermost open scope of a process. Where several tests run at once it is the thread's
    /// own; tests of runtimes that move their tasks between threads are not told apart then.
    fn marked_at(
        &self,
        process: ProcessKey,
        tid: Option<Tid>,
        at: KtimeNs,
    ) -> Option<&'a ScopeFacts> {
        let marked = self.marked.get(&process)?;
        let begun = marked.partition_point(|scope| scope.begin <= at);
        let is_open = |scope: &&ScopeFacts| scope.end.is_none_or(|end| end > at);
        let mut open = marked[..begun].iter().rev().copied().filter(is_open);
        let last = open.next()?;
        let mut tests: Vec<_> = std::iter::once(last).chain(open).collect();
        tests.retain(|scope| scope.judged != ScopeJudged::Nothing);
        match tests.windows(2).all(|pair| is_within(pair[0], pair[1])) {
            true => Some(last),
            false => {
                let mut own = tests.into_iter().filter(|scope| scope.tid == tid);
                own.next().filter(|own| own.judged == ScopeJudged::All)
            }
        }
    }

    /// What outlives the scope that it was acquired in, by process. What is left in the system
    /// is a finding already: the fd through which it was made is none beside it.
    pub(crate) fn leaks(&self, left: &[Left]) -> BTreeMap<ProcessKey, Vec<Leak>> {
        let mut leaks: BTreeMap<ProcessKey, Vec<Leak>> = BTreeMap::new();
        if !self.judges() {
            return leaks;
        }
        let mut seen = BTreeSet::new();
        let at_exit = self.facts.processes.values().flat_map(held_at_exit);
        let at_end = self.facts.scope_held.iter();
        let at_end = at_end.map(|held| (held.process, &held.resource));
        for (process, resource) in at_end.chain(at_exit) {
            let Some(scope) = self.outlived(process, resource) else {
                continue;
            };
            let identity = (process, resource.kind, number(resource), resource.acquired);
            if seen.insert(identity) && !is_left(process, resource, left) {
                leaks.entry(process).or_default().push(Leak {
                    resource: resource.clone(),
                    scope,
                });
            }
        }
        leaks
    }

    /// The name of the ended scope that judges a thing which is still there.
    fn outlived(&self, process: ProcessKey, resource: &ResourceFacts) -> Option<String> {
        let scope = self.marked_at(process, resource.tid, resource.acquired?)?;
        let judged = match scope.judged {
            ScopeJudged::All => true,
            ScopeJudged::Plain => is_plain(resource),
            ScopeJudged::Nothing => false,
        };
        let ended = scope.end.is_some();
        (judged && ended).then(|| named(scope)).flatten()
    }

    /// Scopes as the report tells them. One that is only there to keep things is told if a
    /// finding names it.
    pub(crate) fn report(&self, findings: &[Finding]) -> Vec<Scope> {
        let named_by: BTreeSet<_> = findings
            .iter()
            .filter_map(|finding| finding.scope.as_deref())
            .collect();
        let mut scopes: Vec<_> = self.facts.scopes.iter().collect();
        scopes.sort_by_key(|scope| scope.begin);
        let mut told = Vec::new();
        for scope in scopes {
            let Some(name) = named(scope) else { continue };
            let own = match (scope.tid, scope.judged) {
                (Some(_), ScopeJudged::All | ScopeJudged::Plain) => true,
                (Some(_), ScopeJudged::Nothing) => named_by.contains(name.as_str()),
                (None, _) => {
                    self.of_process(scope.process).map(|own| own.begin) == Some(scope.begin)
                }
            };
            if own {
                told.push(told_of(scope, name));
            }
        }
        told
    }
}

/// Whether a scope was begun within an older one that is open too, not beside it.
fn is_within(inner: &ScopeFacts, outer: &ScopeFacts) -> bool {
    match inner.judged {
        ScopeJudged::Plain => inner.name.starts_with(&outer.name),
        ScopeJudged::All | ScopeJudged::Nothing => inner.tid == outer.tid,
    }
}

fn told_of(scope: &ScopeFacts, name: String) -> Scope {
    Scope {
        file: file_of(&name).map(str::to_owned),
        name,
        process: scope.process,
        pid: scope.process.pid.0,
        begin_ns: scope.begin.0,
        end_ns: scope.end.map(|end| end.0),
    }
}

/// The scope's name; one without is there for its extent alone.
fn named(scope: &ScopeFacts) -> Option<String> {
    (!scope.name.is_empty()).then(|| resource::text(&scope.name))
}

/// The file that the name of a test begins with: `tests/test_a.py::test_b`, but not the module
/// of `store::tests::opens`.
pub(super) fn file_of(name: &str) -> Option<&str> {
    let (file, _) = name.split_once("::")?;
    file.contains(['.', '/']).then_some(file)
}

/// What a process held on its way out. After a death by signal nobody ran.
fn held_at_exit(process: &ProcessFacts) -> impl Iterator<Item = (ProcessKey, &ResourceFacts)> {
    let end = process.end.iter().filter(|end| end.signal().is_none());
    let resources = end.flat_map(|end| {
        let own = end.held.iter().filter(|held| !held.inherited);
        let own = own.map(|held| &held.resource).filter(|resource| {
            let goes_on = end.files_shared && resource.fd.is_some();
            is_judged(resource) && !goes_on
        });
        own.chain(&end.threads)
    });
    resources.map(|resource| (process.key, resource))
}

/// Mappings come and go with allocators and libraries; of them only SysV attaches are judged.
fn is_judged(resource: &ResourceFacts) -> bool {
    match resource.kind.class() {
        Class::Fd | Class::Socket | Class::Ring | Class::Task | Class::Ipc => true,
        Class::Mapping => resource.kind == Kind::ShmAttach,
        Class::Signal | Class::Memory => false,
    }
}

/// What runtimes of languages do not open for themselves.
fn is_plain(resource: &ResourceFacts) -> bool {
    match resource.kind {
        Kind::File | Kind::Directory | Kind::Fifo => true,
        // Clients of HTTP and databases keep connections for the next request.
        kind if kind.class() == Class::Socket => resource.peer.is_none(),
        kind => kind.class() == Class::Ipc,
    }
}

fn number(resource: &ResourceFacts) -> i64 {
    let fd = resource.fd.map(|fd| i64::from(fd.0));
    fd.or(resource.ipc_id.map(i64::from)).unwrap_or(-1)
}

/// Whether a thing is the way to something that is left in the system.
fn is_left(process: ProcessKey, thing: &ResourceFacts, left: &[Left]) -> bool {
    let as_told = resource::report(thing);
    left.iter().any(|left| {
        let file = left.resource.ino.is_some()
            && left.resource.ino == as_told.ino
            && left.resource.dev == as_told.dev;
        let attach = thing.kind == Kind::ShmAttach
            && left.resource.kind == Kind::SysvShm.name()
            && left.resource.id == as_told.id;
        left.creator == process && (file || attach)
    })
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
