//! LT103 sysv-shm-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

/// LT103.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT103",
    name: "sysv-shm-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A SysV shared memory segment outlives the process that made it.",
    why: "Segments live until somebody removes them or the machine restarts. They count against the system-wide limits kernel.shmmni and kernel.shmall and hold memory that no process is charged for; when the ids run out, shmget(2) fails with ENOSPC for everybody.",
    fix: "Mark the segment for removal as soon as everybody is attached: shmctl(id, IPC_RMID, NULL). It goes away with the last detach, also after a crash. POSIX shm_open(3) with shm_unlink(3), or memfd_create(2), avoid global ids altogether.",
    allow: "LT103:comm=postgres",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::SysvShm)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    format!("{} outlives its creator", super::name(&seen.resource))
}

fn remedy(resource: &Resource) -> Remedy {
    let id = resource.id.unwrap_or_default();
    Remedy {
        fix: format!("shmctl({id}, IPC_RMID, 0) before exit"),
        now: Some(format!("ipcrm -m {id}")),
    }
}
