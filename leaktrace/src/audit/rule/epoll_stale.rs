//! LT603 epoll-stale.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::{
        conduct::{Hazard, HazardKind},
        facts::{Kind, ProcessFacts},
    },
    report::{Level, Resource},
};

/// LT603.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT603",
    name: "epoll-stale",
    group: Group::Hazard,
    level: Level::Note,
    title: "An fd was closed while an epoll set watched it, and its description lives on.",
    why: "epoll watches the description, not the number (epoll(7), questions and answers): as long as a dup or another process keeps it, its events go on to come, for a number that is closed or is something else by now, and nothing can take it out of the set any more.",
    fix: "EPOLL_CTL_DEL before close(2); open with O_CLOEXEC, so that children do not keep it.",
    allow: "LT603:comm=server",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::hazards(case, |process, hazard| {
        let trigger = case.triggers.get(&process.key);
        let ending = trigger.is_some_and(|trigger| hazard.at >= trigger.at);
        hazard.what == HazardKind::EpollStale && !(ending && set_closed(process, hazard))
    })
}

/// Runtimes close in their teardown what they watch and then the set, without a word to it:
/// nobody waits on it any more.
fn set_closed(process: &ProcessFacts, hazard: &Hazard) -> bool {
    process.releases.iter().any(|release| {
        release.resource.kind == Kind::Epoll
            && release.resource.released.is_some_and(|at| at >= hazard.at)
    })
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let epoll = seen.other.as_ref().and_then(|epoll| epoll.fd).unwrap_or(-1);
    format!(
        "{} was closed, lives on elsewhere, and is still in the epoll set of fd {epoll}",
        super::name(&seen.resource)
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "EPOLL_CTL_DEL before close".to_owned(),
        now: None,
    }
}
