//! LT301 order-instance.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    policy::OrderMode,
    report::{Level, Resource},
};

/// LT301.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT301",
    name: "order-instance",
    group: Group::Order,
    level: Level::Off,
    title: "A resource was released while a later one of its class was still open.",
    why: "Last in, first out is what scopes, guard objects and defer give. Where the later thing was built on the earlier one, it is used after its ground is gone; often it is just a sign of clean-up written by hand.",
    fix: "Release in the reverse order of acquisition; let scopes do it.",
    allow: "LT301:comm=gcc*",
    check: Some(check),
    message: super::breach_message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::breaches(case, &[OrderMode::Instance])
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "release in the reverse order of acquisition".to_owned(),
        now: None,
    }
}
