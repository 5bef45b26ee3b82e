//! LT506 over-budget.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::ProcessFacts,
    report::{Level, Resource},
    sink::human,
};

/// LT506.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT506",
    name: "over-budget",
    group: Group::Time,
    level: Level::Note,
    title: "An acquisition passed a budget of the policy.",
    why: "The budget is what somebody found enough for this program. What passes it is a leak, or a reason to set another budget.",
    fix: "Look at the acquisition that passed it; release earlier, or raise [max] in leaktrace.toml.",
    allow: "LT506:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Time) {
        let budgets = &case.settings(process).budgets.max;
        let passed = process.conduct.passed.iter();
        let passed = passed.filter(|passed| budgets.get(passed.of) == Some(&passed.most));
        seen.extend(passed.map(|passed| Observation {
            process: process.key,
            resource: crate::audit::resource::report(&passed.resource),
            ..Observation::default()
        }));
    }
    seen
}

fn message(case: &Case<'_>, seen: &Observation, process: &ProcessFacts) -> String {
    let budgets = &case.settings(process).budgets.max;
    let at = seen.resource.acquired_ns;
    let of_this = process.conduct.passed.iter().find(|passed| {
        passed.resource.acquired.map(|at| at.0) == at
            && budgets.get(passed.of) == Some(&passed.most)
    });
    let budget = of_this.map(|passed| {
        let most = human::count(passed.most);
        format!(" passes the budget of {most} for {}", passed.of)
    });
    let what = super::name(&seen.resource);
    format!(
        "{what}{}",
        budget.unwrap_or_else(|| " passes a budget".to_owned())
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "release earlier, or set another budget".to_owned(),
        now: None,
    }
}
