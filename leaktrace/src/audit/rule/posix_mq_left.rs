//! LT108 posix-mq-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT108.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT108",
    name: "posix-mq-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A POSIX message queue is left.",
    why: "Queues, and the messages in them, live until they are unlinked or the machine restarts, and count against fs.mqueue.queues_max. The next run opens the old one and gets old messages.",
    fix: "mq_unlink(3) as soon as everybody has opened it.",
    allow: "LT108:path=/worker-*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::PosixMq)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    format!("message queue {path} is left")
}

fn remedy(resource: &Resource) -> Remedy {
    let name = resource.path.as_deref().unwrap_or("?");
    Remedy {
        fix: format!(
            "mq_unlink(\"/{}\") before exit",
            name.trim_start_matches('/')
        ),
        now: None,
    }
}
