//! LT505 growth.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        trend::{self, Growth},
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
    sink::human,
};

/// LT505.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT505",
    name: "growth",
    group: Group::Time,
    level: Level::Note,
    title: "The number of open fds grows steadily and will reach the limit.",
    why: "A number that only rises is a leak that has not failed yet. At RLIMIT_NOFILE it does, at an hour nobody chose.",
    fix: "Look at what is open longest (`leaktrace top`, Enter), and who acquired it; close it when its use is over.",
    allow: "LT505:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    case.judged(Group::Time)
        .filter(|process| growth(case, process).is_some())
        .map(|process| Observation {
            process: process.key,
            resource: crate::audit::resource::process(process),
            ..Observation::default()
        })
        .collect()
}

fn growth(case: &Case<'_>, process: &ProcessFacts) -> Option<Growth> {
    let trigger = case.triggers.get(&process.key).map(|trigger| trigger.at);
    let thresholds = case.settings(process).thresholds;
    trend::growth(&process.conduct, trigger, &thresholds)
}

fn message(case: &Case<'_>, _: &Observation, process: &ProcessFacts) -> String {
    let comm = crate::audit::resource::text(&process.comm);
    let Some(growth) = growth(case, process) else {
        return format!(
            "process {} ({comm}) holds more and more fds",
            process.key.pid
        );
    };
    format!(
        "process {} ({comm}) held {:.1} fds more each second for {}, {} at the end: {} until {}",
        process.key.pid,
        growth.per_second,
        human::duration(growth.over),
        human::count(u64::from(growth.open)),
        human::duration(growth.left),
        human::count(growth.limit),
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "close it when its use is over".to_owned(),
        now: None,
    }
}
