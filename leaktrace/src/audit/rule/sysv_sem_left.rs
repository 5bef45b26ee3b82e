//! LT104 sysv-sem-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT104.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT104",
    name: "sysv-sem-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A SysV semaphore set outlives the process that made it.",
    why: "Sets live until somebody removes them or the machine restarts, and count against kernel.sem (SEMMNI sets). When these run out, semget(2) fails with ENOSPC for everybody.",
    fix: "semctl(id, 0, IPC_RMID) when the last user is done, also on the error paths and in a signal handler's clean-up. A process-shared POSIX semaphore in shared memory (sem_init(3)) leaves nothing behind.",
    allow: "LT104:comm=httpd",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::SysvSem)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    format!("{} outlives its creator", super::name(&seen.resource))
}

fn remedy(resource: &Resource) -> Remedy {
    let id = resource.id.unwrap_or_default();
    Remedy {
        fix: format!("semctl({id}, 0, IPC_RMID) before exit"),
        now: Some(format!("ipcrm -s {id}")),
    }
}
