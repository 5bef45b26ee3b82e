//! LT101 descendant-running.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        resource,
    },
    id::ProcessKey,
    model::facts::{Class, Held, Kind, ProcessFacts},
    report::{Level, Resource},
    sink::human,
};

/// LT101.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT101",
    name: "descendant-running",
    group: Group::Residue,
    level: Level::Error,
    title: "A process that the command started still runs after the command has ended and the \
            settle time has passed.",
    why: "It keeps ports, locks, files and pipes: the next run finds the port taken, and a CI job \
          whose output pipe it holds never ends. What it holds is listed under it, not as \
          findings of their own.",
    fix: "End what you start and wait for it: kill and wait(2) in the program, trap 'kill %1' EXIT \
          in a shell, PR_SET_PDEATHSIG or a pid namespace where children start children. If it \
          ends by itself a little later, --settle 5s waits longer.",
    allow: "LT101:comm=my-daemon",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    case.survivors
        .iter()
        .filter(|(key, _)| !case.daemons.contains(key) && !case.end.stopped)
        .filter_map(|(key, at_ns)| {
            let process = case.process(*key).filter(|process| !process.target)?;
            Some(Observation {
                process: *key,
                resource: resource::process(process),
                caused: caused(case, *key),
                confirmed_ns: Some(*at_ns),
                ..Observation::default()
            })
        })
        .collect()
}

/// What it made and has not removed, its children that ended and that it has not reaped, and its
/// fds: sockets and pipes first, for somebody may wait for their end.
fn caused(case: &Case<'_>, key: ProcessKey) -> Vec<Resource> {
    let made = case
        .left_by_survivors
        .iter()
        .filter(|left| left.creator == key)
        .map(|left| left.resource.clone());
    let zombies = case
        .facts
        .processes
        .values()
        .filter(|child| child.parent == key && child.reaped_by().is_none())
        .filter(|child| child.end.as_ref().is_some_and(|end| !end.autoreap))
        .map(resource::process);
    let mut open: Vec<&Held> = case
        .process(key)
        .into_iter()
        .flat_map(|process| &process.open)
        .filter(|held| held.resource.kind != Kind::Device)
        .collect();
    open.sort_by_key(|held| match held.resource.kind.class() {
        Class::Socket => 0,
        _ if matches!(held.resource.kind, Kind::Pipe | Kind::Fifo) => 0,
        _ => 1,
    });
    made.chain(zombies)
        .chain(open.into_iter().map(resource::held))
        .collect()
}

fn message(case: &Case<'_>, seen: &Observation, process: &ProcessFacts) -> String {
    let comm = resource::text(case.comm(process));
    let name = format!("process {} ({comm}) still runs", process.key.pid);
    let ended = case.end.child_reaped_ns;
    let keeping = case.keeping.get(&process.key);
    let keeping = keeping
        .map(|what| format!(" and {what}"))
        .unwrap_or_default();
    match seen.confirmed_ns.and_then(|at| at.checked_sub(ended)) {
        Some(after) if ended > 0 => {
            format!(
                "{name} {} after the command ended{keeping}",
                human::nanos(after)
            )
        }
        _ => format!("{name}{keeping}"),
    }
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "end it and wait for it before the command ends".to_owned(),
        now: resource.id.map(|pid| format!("kill {pid}")),
    }
}
