//! LT105 sysv-msg-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT105.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT105",
    name: "sysv-msg-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A SysV message queue outlives the process that made it.",
    why: "Queues, and the messages in them, live until somebody removes them or the machine restarts, and count against kernel.msgmni.",
    fix: "msgctl(id, IPC_RMID, NULL) when the last user is done, also on the error paths. A unix socket pair or a pipe leaves nothing behind.",
    allow: "LT105:comm=broker*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::SysvMsg)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    format!("{} outlives its creator", super::name(&seen.resource))
}

fn remedy(resource: &Resource) -> Remedy {
    let id = resource.id.unwrap_or_default();
    Remedy {
        fix: format!("msgctl({id}, IPC_RMID, 0) before exit"),
        now: Some(format!("ipcrm -q {id}")),
    }
}
