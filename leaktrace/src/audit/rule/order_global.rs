//! LT303 order-global.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    policy::OrderMode,
    report::{Level, Resource},
};

/// LT303.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT303",
    name: "order-global",
    group: Group::Order,
    level: Level::Off,
    title: "A resource was released while a later one of any kind was still open.",
    why: "As for LT301, over all kinds: the strictest form of last in, first out.",
    fix: "Release in the reverse order of acquisition; let scopes do it.",
    allow: "LT303:comm=server",
    check: Some(check),
    message: super::breach_message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::breaches(case, &[OrderMode::Global])
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "release in the reverse order of acquisition".to_owned(),
        now: None,
    }
}
