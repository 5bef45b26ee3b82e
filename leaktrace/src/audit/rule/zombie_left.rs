//! LT102 zombie-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        resource,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
    sink::human,
};

/// A zombie younger than this at its parent's exit is nothing: the parent may have been about
/// to wait for it.
const YOUNG_NS: u64 = 1_000_000_000;

/// LT102.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT102",
    name: "zombie-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A process ended without having waited for a child that had been dead for a second or \
            more.",
    why: "A zombie keeps its pid and its entry in the process table until its parent waits for \
          it. In a server that lives longer the same code uses up all pids; in a container whose \
          pid 1 does not reap, they stay for good.",
    fix: "wait(2) for every child, or ignore SIGCHLD so that the kernel reaps (SA_NOCLDWAIT). In \
          containers run an init that reaps (docker run --init).",
    allow: "LT102:comm=worker",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    case.judged(Group::Residue)
        .filter(|child| was_left(case, child).is_some())
        .map(|child| Observation {
            process: child.key,
            resource: resource::process(child),
            ..Observation::default()
        })
        .collect()
}

/// How long it had been a zombie when its parent, a member of the tree, ended.
fn was_left(case: &Case<'_>, child: &ProcessFacts) -> Option<u64> {
    let end = child.end.as_ref().filter(|end| !end.autoreap)?;
    let parent = case.process(child.parent)?;
    let parent_ended = parent.end.as_ref()?.at;
    if child.reaped_by().is_some_and(|by| by <= parent_ended) {
        return None;
    }
    parent_ended
        .since(end.finished())
        .filter(|age| *age >= YOUNG_NS)
}

fn message(case: &Case<'_>, _: &Observation, child: &ProcessFacts) -> String {
    let comm = resource::text(&child.comm);
    let parent = case.process(child.parent).map_or_else(
        || child.parent.pid.to_string(),
        |parent| format!("{} ({})", parent.key.pid, resource::text(&parent.comm)),
    );
    let age = was_left(case, child).map_or_else(String::new, human::nanos);
    format!(
        "{parent} ended without waiting for its child {} ({comm}), a zombie for {age}",
        child.key.pid
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "wait(2) for every child, or ignore SIGCHLD so that the kernel reaps".to_owned(),
        now: None,
    }
}
