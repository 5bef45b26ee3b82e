//! Scopes: the parts of a process's life that it marks, a test each as a rule.
//!
//! Which scope a resource is of follows from who acquired it and when, so nothing is kept with
//! resources. Kept are the scopes, and what is still there when the outermost scope around
//! judged ones ends: what a language's runtime gives back later on its way out was not given
//! back by the test.

use std::collections::BTreeMap;

use bytes::Bytes;
use leaktrace_common::record::{
    Header,
    scope::{Scope, verb},
};

use super::{
    Model,
    facts::{Kind, ResourceFacts, ScopeFacts, ScopeHeld, ScopeJudged},
    process::{Process, Processes},
};
use crate::{
    decode::Text,
    id::{KtimeNs, ProcessKey, Tid},
};

/// Scopes kept in one run; later ones are not told.
const SCOPES: usize = 200_000;
/// Things kept that were there at the end of an outermost scope.
const HELD: usize = 10_000;
/// Scopes open at once in one process.
const DEPTH: usize = 4_096;

/// All scopes of a run.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    all: Vec<ScopeFacts>,
    /// Places in `all`, in the order of their beginnings.
    open: BTreeMap<ProcessKey, Vec<usize>>,
    /// What was there at the end of outermost scopes.
    pub(super) held: Vec<ScopeHeld>,
}

/// A thread that was made within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopedThread {
    pub(super) tid: Tid,
    pub(super) maker: Tid,
    pub(super) born: KtimeNs,
}

impl Scopes {
    /// Every scope; those of ended processes that had no end of their own end with them if they
    /// span the program.
    pub(super) fn all(&self, processes: &Processes) -> Vec<ScopeFacts> {
        let mut all = self.all.clone();
        for scope in all
            .iter_mut()
            .filter(|scope| scope.end.is_none() && scope.tid.is_none())
        {
            let process = processes
                .find_key(scope.process)
                .and_then(|id| processes.get(id));
            scope.end = process
                .and_then(|process| process.end.as_ref())
                .map(|end| end.at);
        }
        all
    }

    /// Whether a process is in a scope.
    pub(super) fn is_open(&self, process: ProcessKey) -> bool {
        !self.open.is_empty() && self.open.contains_key(&process)
    }

    fn begin(&mut self, scope: ScopeFacts) {
        if self.all.len() >= SCOPES {
            return;
        }
        let open = self.open.entry(scope.process).or_default();
        if open.len() < DEPTH {
            open.push(self.all.len());
        }
        self.all.push(scope);
    }

    /// Ends the thread's, else the process's, last open scope of that name, and what the thread
    /// has opened within it. Gives back the scope if it was the outermost.
    fn end(&mut self, process: ProcessKey, tid: Tid, name: &[u8], at: KtimeNs) -> Option<usize> {
        let open = self.open.get_mut(&process)?;
        let named = |place: &&usize| self.all[**place].name == name;
        let own = |place: &&usize| self.all[**place].tid == Some(tid);
        let ended = open
            .iter()
            .rev()
            .find(|place| named(place) && own(place))
            .or_else(|| open.iter().rev().find(|place| named(place)))
            .copied()?;
        let opener = self.all[ended].tid;
        open.retain(|place| {
            let goes = *place == ended || (*place > ended && self.all[*place].tid == opener);
            if goes {
                self.all[*place].end = Some(at);
            }
            !goes
        });
        let outermost = open.is_empty();
        if outermost {
            self.open.remove(&process);
        }
        outermost.then_some(ended)
    }

    fn keep(&mut self, held: impl Iterator<Item = ScopeHeld>) {
        let room = HELD.saturating_sub(self.held.len());
        self.held.extend(held.take(room));
    }
}

impl Model {
    /// A process began or ended a scope.
    pub(super) fn scope(&mut self, header: &Header, scope: &Scope, text: &Text<'_>) {
        let (Some(id), Some(name)) = (self.live_of(header), text.path()) else {
            return;
        };
        let Some(key) = self.processes.get(id).map(|process| process.key) else {
            return;
        };
        let at = KtimeNs(header.time_ns);
        if scope.verb == verb::PROGRAM {
            self.program_scope(key, Bytes::copy_from_slice(&name), at);
            return;
        }
        let mut parts = name.splitn(2, |byte| *byte == b'/');
        let (verb, name) = (parts.next(), parts.next().unwrap_or_default());
        let judged = match verb {
            Some(b"begin") => ScopeJudged::All,
            Some(b"plain") => ScopeJudged::Plain,
            Some(b"keep") => ScopeJudged::Nothing,
            Some(b"end") => {
                self.scope_end(key, Tid(header.tid), name, at);
                return;
            }
            Some(_) | None => return,
        };
        let tid = Some(Tid(header.tid));
        self.scopes.begin(ScopeFacts {
            name: Bytes::copy_from_slice(name),
            process: key,
            tid,
            judged,
            begin: at,
            end: None,
        });
    }

    /// A program was started with a scope in its environment.
    fn program_scope(&mut self, process: ProcessKey, name: Bytes, at: KtimeNs) {
        let again = |scope: &ScopeFacts| scope.process == process && scope.name == name;
        let last = self.scopes.all.iter().rev();
        if last.take_while(|scope| scope.process == process).any(again) {
            return;
        }
        self.scopes.all.push(ScopeFacts {
            name,
            process,
            tid: None,
            judged: ScopeJudged::Nothing,
            begin: at,
            end: None,
        });
    }

    /// Another program runs in the process: what the last one marked is over.
    pub(super) fn scopes_over(&mut self, process: ProcessKey, at: KtimeNs) {
        for place in self.scopes.open.remove(&process).unwrap_or_default() {
            self.scopes.all[place].end = Some(at);
        }
    }

    fn scope_end(&mut self, process: ProcessKey, tid: Tid, name: &[u8], at: KtimeNs) {
        let Some(outermost) = self.scopes.end(process, tid, name, at) else {
            return;
        };
        let outermost = &self.scopes.all[outermost];
        if outermost.judged != ScopeJudged::Nothing {
            return;
        }
        let held = self.held_since(process, outermost.begin, at);
        self.scopes.keep(held.into_iter());
    }

    /// What a process has acquired since then and still holds: fds and threads.
    fn held_since(&self, key: ProcessKey, since: KtimeNs, at: KtimeNs) -> Vec<ScopeHeld> {
        let Some(process) = self
            .processes
            .find_key(key)
            .and_then(|id| self.processes.get(id))
        else {
            return Vec::new();
        };
        let threads = threads(process).filter(|thread| thread.acquired >= Some(since));
        let resources = self.fds_since(process, since).into_iter().chain(threads);
        resources
            .map(|resource| ScopeHeld {
                process: key,
                at,
                resource,
            })
            .collect()
    }

    fn fds_since(&self, process: &Process, since: KtimeNs) -> Vec<ResourceFacts> {
        let held = self.held_by_table(process.table.0).into_iter();
        held.filter(|held| !held.inherited && held.resource.acquired >= Some(since))
            .map(|held| held.resource)
            .collect()
    }
}

/// The threads of a process that were made within a scope and run.
pub(super) fn threads(process: &Process) -> impl Iterator<Item = ResourceFacts> {
    process.scoped_threads.iter().map(|thread| ResourceFacts {
        kind: Kind::Thread,
        ipc_id: Some(thread.tid.0 as i32),
        acquired: Some(thread.born),
        tid: Some(thread.maker),
        ..ResourceFacts::default()
    })
}
