//! LT205 task.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::{Class, Kind, ProcessFacts},
    report::{Level, Resource},
};

/// LT205.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT205",
    name: "task",
    group: Group::Held,
    level: Level::Off,
    title: "Threads or children were still running at exit.",
    why: "exit ends threads wherever they are: in the middle of a write, with a lock taken in shared memory. A child goes on alone, and nobody waits for it or sees how it ends.",
    fix: "Ask threads to stop and join them; wait for children, after ending those that serve nobody else.",
    allow: "LT205:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = super::scope_leaks(case, Class::Task);
    for process in case.judged(Group::Held) {
        let by_signal = process
            .end
            .as_ref()
            .is_none_or(|end| end.signal().is_some());
        if by_signal {
            continue;
        }
        seen.extend(threads(process));
        // A child that outlives the run is told as LT101.
        let children = process.conduct.children_left.iter();
        let children = children.filter(|child| !case.survivors.contains_key(child));
        seen.extend(children.filter_map(|child| {
            Some(Observation {
                process: process.key,
                resource: crate::audit::resource::process(case.process(*child)?),
                ..Observation::default()
            })
        }));
    }
    seen
}

fn threads(process: &ProcessFacts) -> Option<Observation> {
    let count = process.conduct.threads_left;
    let mut resource = Resource {
        users: Some(u64::from(count)),
        ..Resource::default()
    };
    crate::audit::resource::set_kind(&mut resource, Kind::Thread);
    (count > 0).then(|| Observation {
        process: process.key,
        resource,
        ..Observation::default()
    })
}

fn message(case: &Case<'_>, seen: &Observation, process: &ProcessFacts) -> String {
    if seen.scope.is_some() {
        return super::held_message(case, seen, process);
    }
    match seen.resource.users {
        Some(1) => "a thread was still running at exit_group".to_owned(),
        Some(count) => format!("{count} threads were still running at exit_group"),
        None => format!(
            "child {} was still running at exit",
            seen.resource.id.unwrap_or(0)
        ),
    }
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "join threads and wait for children before leaving".to_owned(),
        now: None,
    }
}
