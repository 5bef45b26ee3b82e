//! Survivors that may stay: known daemons, and what the policy expects.
//!
//! A known daemon that keeps something of the run is none: a pipe that it holds open hangs
//! whoever reads the run's output, a jobserver's makes `make` wait, and a file or directory of
//! the run in use cannot go.

use std::collections::BTreeMap;

use crate::{
    audit::{
        case::Case,
        residue::{self, Left},
        resource,
        roots::{Place, Roots, inside},
    },
    id::{KtimeNs, ProcessKey},
    model::facts::{Held, Kind, ProcessFacts},
    policy::{
        defaults::{Made, Survivor},
        program::Program,
    },
};

/// Who may stay.
#[derive(Debug, Default)]
pub(crate) struct Daemons {
    /// Known daemons, and what the policy expects.
    pub(crate) may_stay: Vec<ProcessKey>,
    /// Known daemons that keep something of the run: what, a clause.
    pub(crate) keeping: BTreeMap<ProcessKey, String>,
    /// How often each expectation of the policy fitted.
    pub(crate) expected: Vec<u64>,
}

/// Sorts the survivors.
pub(crate) fn sort(case: &Case<'_>, left: &[Left]) -> Daemons {
    let mut daemons = Daemons {
        expected: vec![0; case.policy.expect.len()],
        ..Daemons::default()
    };
    let survivors = case.survivors.keys().filter_map(|key| case.process(*key));
    for process in survivors {
        let argv = process.argv.join(&b' ');
        let program = Program {
            comm: case.comm(process),
            exe: process.exe.as_deref(),
            argv: &argv,
        };
        let mut expect = case.policy.expect.iter();
        if let Some(i) = expect.position(|expect| expect.select.fits(&program)) {
            daemons.expected[i] += 1;
            daemons.may_stay.push(process.key);
            continue;
        }
        let made = made_socket(case, process, left);
        let survivor = Survivor {
            comm: case.comm(process),
            exe: process.exe.as_deref(),
            argv: &argv,
            made: made.then_some(Made::Socket),
        };
        if case.policy.known.daemon(survivor).is_none() {
            continue;
        }
        match kept(case, process) {
            Some(what) => drop(daemons.keeping.insert(process.key, what)),
            None => daemons.may_stay.push(process.key),
        }
    }
    daemons
}

/// What of the run a process keeps open or works in.
fn kept(case: &Case<'_>, process: &ProcessFacts) -> Option<String> {
    let pipe = process
        .open
        .iter()
        .find(|held| is_pipe_of_run(case, process, held));
    if let Some(held) = pipe {
        let name = crate::audit::rule::name(&resource::report(&held.resource));
        return Some(format!("keeps {name} of the run open"));
    }
    let roots = Roots::new(case.start);
    let open = process
        .open
        .iter()
        .filter_map(|held| held.resource.path.as_deref());
    open.chain(process.cwd.as_deref())
        .filter(|path| matches!(roots.place(path), Place::Temp { .. }))
        .find(|path| is_made_by_run(case, process, path))
        .map(|path| format!("uses {} of the run", resource::text(path)))
}

/// A pipe or fifo that came to it from the run: one that another program of the run made, or that
/// is the run's own output. What else leaktrace was started with is not the run's.
fn is_pipe_of_run(case: &Case<'_>, process: &ProcessFacts, held: &Held) -> bool {
    if !matches!(held.resource.kind, Kind::Pipe | Kind::Fifo) || !held.inherited {
        return false;
    }
    let maker = held.resource.tid.and_then(|tid| {
        let mut all = case.facts.processes.values();
        all.find(|other| other.key.pid.0 == tid.0)
    });
    match maker {
        Some(maker) => !is_by(maker, process, held.resource.acquired),
        None => is_output(held) || is_output_of_root(case, held),
    }
}

/// The reading end of a pipe at 0 keeps nobody waiting.
fn is_output(held: &Held) -> bool {
    held.resource.fd.is_some_and(|fd| matches!(fd.0, 1 | 2))
}

fn is_output_of_root(case: &Case<'_>, held: &Held) -> bool {
    let root = case.facts.root.and_then(|root| case.process(root));
    let Some(root) = root else { return false };
    let at_exit = root.end.iter().flat_map(|end| end.held.iter());
    let mut output = root.open.iter().chain(at_exit).filter(|it| is_output(it));
    output.any(|it| it.description != 0 && it.description == held.description)
}

/// Whether what `maker` acquired then is of the program of `process`. Before its exec a maker was
/// another program: a shell that redirects.
fn is_by(maker: &ProcessFacts, process: &ProcessFacts, acquired: Option<KtimeNs>) -> bool {
    maker.exe == process.exe && acquired >= maker.exec
}

/// Whether a path is, or is below, something that another program of the run has made.
fn is_made_by_run(case: &Case<'_>, process: &ProcessFacts, path: &[u8]) -> bool {
    case.facts.created.iter().any(|created| {
        let made = created.resource.path.as_deref();
        let is_it = made.is_some_and(|made| made == path || inside(made, path).is_some());
        is_it
            && residue::ours(case.facts, created.creator, created.resource.acquired)
            && case
                .process(created.creator)
                .is_some_and(|maker| !is_by(maker, process, created.resource.acquired))
    })
}

/// Whether a process, or its parent of the same program (a daemon's foreground half), has
/// bound a unix socket that is there.
fn made_socket(case: &Case<'_>, process: &ProcessFacts, left: &[Left]) -> bool {
    let parent = case
        .process(process.parent)
        .filter(|parent| parent.exe == process.exe)
        .map(|parent| parent.key);
    let by = |key: ProcessKey| key == process.key || Some(key) == parent;
    let mut sockets = case
        .facts
        .created
        .iter()
        .filter(|created| created.resource.kind == Kind::Unix);
    left.iter()
        .any(|left| left.thing == residue::Thing::UnixSocket && by(left.creator))
        || sockets.any(|created| by(created.creator))
}
