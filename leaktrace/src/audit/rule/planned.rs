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

/// LT113.
pub static STALE_LOCK_LEFT: RuleInfo = planned(
    "LT113",
    "stale-lock-left",
    Group::Residue,
    Level::Error,
    "A lock file that nobody holds is left.",
);

/// LT114.
pub static DESCRIPTION_KEPT: RuleInfo = planned(
    "LT114",
    "description-kept",
    Group::Residue,
    Level::Error,
    "An open file description outlives the process that opened it.",
);

/// LT115.
pub static LISTENER_KEPT: RuleInfo = planned(
    "LT115",
    "listener-kept",
    Group::Residue,
    Level::Error,
    "A listening socket outlives the process that opened it.",
);

/// LT116.
pub static FLOCK_KEPT: RuleInfo = planned(
    "LT116",
    "flock-kept",
    Group::Residue,
    Level::Error,
    "A file lock outlives the process that took it.",
);

/// LT117.
pub static RING_PENDING: RuleInfo = planned(
    "LT117",
    "ring-pending",
    Group::Residue,
    Level::Error,
    "Requests of a ring are still going on after its process is gone.",
);

/// LT118.
pub static MOUNT_LEFT: RuleInfo = planned(
    "LT118",
    "mount-left",
    Group::Residue,
    Level::Error,
    "A mount is left.",
);

/// LT119.
pub static NAMESPACE_LEFT: RuleInfo = planned(
    "LT119",
    "namespace-left",
    Group::Residue,
    Level::Error,
    "A namespace is left.",
);

/// LT120.
pub static CGROUP_LEFT: RuleInfo = planned(
    "LT120",
    "cgroup-left",
    Group::Residue,
    Level::Error,
    "A cgroup is left.",
);

/// LT121.
pub static BPF_PIN_LEFT: RuleInfo = planned(
    "LT121",
    "bpf-pin-left",
    Group::Residue,
    Level::Error,
    "A pinned BPF object is left.",
);

/// LT203.
pub static HELD_SIGNAL: RuleInfo = planned(
    "LT203",
    "signal",
    Group::Held,
    Level::Off,
    "Signals were pending, or timers armed, at exit.",
);

/// LT208.
pub static HELD_MEMORY: RuleInfo = planned(
    "LT208",
    "memory",
    Group::Held,
    Level::Off,
    "Memory was still locked or mapped at exit.",
);

/// LT304.
pub static ORDER_RANK: RuleInfo = planned(
    "LT304",
    "order-rank",
    Group::Order,
    Level::Off,
    "A resource was released before one with a higher priority in the policy.",
);

/// LT403.
pub static DOUBLE_RELEASE: RuleInfo = planned(
    "LT403",
    "double-release",
    Group::Misuse,
    Level::Note,
    "Something was released twice.",
);

/// LT501.
pub static SLOW_TEARDOWN: RuleInfo = planned(
    "LT501",
    "slow-teardown",
    Group::Time,
    Level::Note,
    "Teardown took longer than usual or allowed.",
);

/// LT503.
pub static NEAR_LIMIT: RuleInfo = planned(
    "LT503",
    "near-limit",
    Group::Time,
    Level::Note,
    "The process came near a resource limit.",
);

/// LT504.
pub static ACQUIRE_FAILED: RuleInfo = planned(
    "LT504",
    "acquire-failed",
    Group::Time,
    Level::Note,
    "An acquisition failed for want of room: EMFILE, ENFILE, ENOMEM or ENOSPC.",
);

/// LT505.
pub static GROWTH: RuleInfo = planned(
    "LT505",
    "growth",
    Group::Time,
    Level::Note,
    "A number of resources grows steadily.",
);

/// LT506.
pub static OVER_BUDGET: RuleInfo = planned(
    "LT506",
    "over-budget",
    Group::Time,
    Level::Note,
    "More was used than the policy allows.",
);

/// LT507.
pub static STALE_OPERATION: RuleInfo = planned(
    "LT507",
    "stale-operation",
    Group::Time,
    Level::Note,
    "An operation is in flight for too long.",
);

/// LT601.
pub static RING_CLOSED_IN_FLIGHT: RuleInfo = planned(
    "LT601",
    "ring-closed-in-flight",
    Group::Hazard,
    Level::Note,
    "A ring was closed while requests were in flight.",
);

/// LT602.
pub static BUFFERS_UNMAPPED_BEFORE_RING: RuleInfo = planned(
    "LT602",
    "buffers-unmapped-before-ring",
    Group::Hazard,
    Level::Note,
    "Buffers were unmapped while a ring could still write into them.",
);

/// LT603.
pub static EPOLL_STALE: RuleInfo = planned(
    "LT603",
    "epoll-stale",
    Group::Hazard,
    Level::Note,
    "A description was closed while an epoll set still watched it.",
);

/// LT604.
pub static NO_MSYNC: RuleInfo = planned(
    "LT604",
    "no-msync",
    Group::Hazard,
    Level::Off,
    "A shared file mapping was unmapped without msync.",
);
