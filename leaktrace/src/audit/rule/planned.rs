//! Rules that have their id and name, and no check yet. They are here so that `explain` can say
//! so, and so that `--fail-on` refuses a gate that could never close.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::ProcessFacts,
    report::{Level, Resource},
};

const fn planned(
    id: &'static str,
    name: &'static str,
    group: Group,
    level: Level,
    title: &'static str,
) -> RuleInfo {
    RuleInfo {
        id,
        name,
        group,
        level,
        title,
        why: "",
        fix: "",
        allow: id,
        check: None,
        message,
        remedy,
    }
}

fn message(_: &Case<'_>, _: &Observation, _: &ProcessFacts) -> String {
    String::new()
}

fn remedy(_: &Resource) -> Remedy {
    Remedy::default()
}

/// LT117.
pub static RING_PENDING: RuleInfo = planned(
    "LT117",
    "ring-pending",
    Group::Residue,
    Level::Error,
    "Requests of a ring are still going on after its process is gone.",
);
