//! Rules: one file each, with the text that `explain` shows and the check.

pub mod acquire_failed;
pub mod bad_close;
pub mod bpf_pin_left;
pub mod buffers_unmapped_before_ring;
pub mod cgroup_left;
pub mod descendant_running;
pub mod description_kept;
pub mod double_release;
pub mod epoll_stale;
pub mod fifo_left;
pub mod flock_kept;
pub mod growth;
pub mod held_fd;
pub mod held_ipc;
pub mod held_mapping;
pub mod held_memory;
pub mod held_ring;
pub mod held_signal;
pub mod held_socket;
pub mod held_task;
pub mod listener_kept;
pub mod mount_left;
pub mod namespace_left;
pub mod near_limit;
pub mod no_msync;
pub mod order_class;
pub mod order_global;
pub mod order_instance;
pub mod order_rank;
pub mod over_budget;
pub mod posix_mq_left;
pub mod posix_sem_left;
pub mod posix_shm_left;
pub mod release_failed;
pub mod ring_closed_in_flight;
pub mod ring_pending;
pub mod slow_teardown;
pub mod stale_lock_left;
pub mod stale_operation;
pub mod sysv_msg_left;
pub mod sysv_sem_left;
pub mod sysv_shm_left;
pub mod temp_dir_left;
pub mod temp_file_left;
pub mod term_ignored;
pub mod unix_socket_left;
pub mod zombie_left;

use super::{
    case::{Case, Observation},
    kept::Survives,
    residue::Thing,
};
use crate::{
    model::{
        conduct::Hazard,
        facts::{Class, EndFacts, ProcessFacts},
    },
    policy::OrderMode,
    report::{Level, Resource},
    sink::human,
};

/// A group of rules: what `--fail-on` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// LT1xx: something is still there.
    Residue,
    /// LT2xx: the kernel had to give it back.
    Held,
    /// LT3xx: given back in the wrong order.
    Order,
    /// LT4xx: a release that could not work.
    Misuse,
    /// LT5xx: took too long, or too much.
    Time,
    /// LT6xx: works by luck.
    Hazard,
}

impl Group {
    /// Every group, in the order of the rules.
    pub const ALL: [Group; 6] = [
        Group::Residue,
        Group::Held,
        Group::Order,
        Group::Misuse,
        Group::Time,
        Group::Hazard,
    ];

    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Group::Residue => "residue",
            Group::Held => "held",
            Group::Order => "order",
            Group::Misuse => "misuse",
            Group::Time => "time",
            Group::Hazard => "hazard",
        }
    }
}

/// Whether a rule has a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// This version judges it.
    Judged,
    /// Known by name only.
    Planned,
}

/// What to do about a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// In the program.
    pub fix: String,
    /// On this machine, as a command; `None` if there is none that is safe to paste.
    pub now: Option<String>,
}

/// A rule.
pub struct RuleInfo {
    /// `LT103`; frozen.
    pub id: &'static str,
    /// `sysv-shm-left`; frozen.
    pub name: &'static str,
    /// Its group.
    pub group: Group,
    /// Without a policy.
    pub level: Level,
    /// What it sees, one sentence.
    pub title: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to change in the program.
    pub fix: &'static str,
    /// An argument of `--allow` as an example.
    pub allow: &'static str,
    /// Finds its observations; `None`: planned.
    pub(crate) check: Option<fn(&Case<'_>) -> Vec<Observation>>,
    /// One sentence about an observation.
    pub(crate) message: fn(&Case<'_>, &Observation, &ProcessFacts) -> String,
    /// What to do about one.
    pub(crate) remedy: fn(&Resource) -> Remedy,
}

impl RuleInfo {
    /// Whether this version judges it.
    pub fn status(&self) -> Status {
        match self.check {
            Some(_) => Status::Judged,
            None => Status::Planned,
        }
    }

    /// What to do about a resource that it was seen with.
    pub fn remedy(&self, resource: &Resource) -> Remedy {
        (self.remedy)(resource)
    }

    /// Whether each of its observations is a thing left by its process: residue, but neither a
    /// survivor nor a zombie, which are not things that they made themselves.
    pub(crate) fn counts_residue(&self) -> bool {
        self.group == Group::Residue && !matches!(self.id, "LT101" | "LT102")
    }
}

/// Every rule, by id.
pub const ALL: &[&RuleInfo] = &[
    &descendant_running::RULE,
    &zombie_left::RULE,
    &sysv_shm_left::RULE,
    &sysv_sem_left::RULE,
    &sysv_msg_left::RULE,
    &posix_shm_left::RULE,
    &posix_sem_left::RULE,
    &posix_mq_left::RULE,
    &temp_file_left::RULE,
    &temp_dir_left::RULE,
    &unix_socket_left::RULE,
    &fifo_left::RULE,
    &stale_lock_left::RULE,
    &description_kept::RULE,
    &listener_kept::RULE,
    &flock_kept::RULE,
    &ring_pending::RULE,
    &mount_left::RULE,
    &namespace_left::RULE,
    &cgroup_left::RULE,
    &bpf_pin_left::RULE,
    &held_fd::RULE,
    &held_socket::RULE,
    &held_signal::RULE,
    &held_ring::RULE,
    &held_task::RULE,
    &held_ipc::RULE,
    &held_mapping::RULE,
    &held_memory::RULE,
    &order_instance::RULE,
    &order_class::RULE,
    &order_global::RULE,
    &order_rank::RULE,
    &bad_close::RULE,
    &release_failed::RULE,
    &double_release::RULE,
    &slow_teardown::RULE,
    &term_ignored::RULE,
    &near_limit::RULE,
    &acquire_failed::RULE,
    &growth::RULE,
    &over_budget::RULE,
    &stale_operation::RULE,
    &ring_closed_in_flight::RULE,
    &buffers_unmapped_before_ring::RULE,
    &epoll_stale::RULE,
    &no_msync::RULE,
];

/// The rule for a kind of residue.
pub(crate) fn of_thing(thing: Thing) -> &'static RuleInfo {
    match thing {
        Thing::SysvShm => &sysv_shm_left::RULE,
        Thing::SysvSem => &sysv_sem_left::RULE,
        Thing::SysvMsg => &sysv_msg_left::RULE,
        Thing::PosixShm => &posix_shm_left::RULE,
        Thing::PosixSem => &posix_sem_left::RULE,
        Thing::PosixMq => &posix_mq_left::RULE,
        Thing::TempFile => &temp_file_left::RULE,
        Thing::TempDir => &temp_dir_left::RULE,
        Thing::UnixSocket => &unix_socket_left::RULE,
        Thing::Fifo => &fifo_left::RULE,
        Thing::StaleLock => &stale_lock_left::RULE,
        Thing::Mount => &mount_left::RULE,
        Thing::Namespace => &namespace_left::RULE,
        Thing::Cgroup => &cgroup_left::RULE,
        Thing::BpfPin => &bpf_pin_left::RULE,
    }
}

/// Observations of one kind of residue.
fn left(case: &Case<'_>, thing: Thing) -> Vec<Observation> {
    case.left
        .iter()
        .filter(|left| left.thing == thing)
        .map(|left| Observation {
            process: left.creator,
            resource: left.resource.clone(),
            confirmed_ns: Some(left.confirmed_ns),
            kept_by: left.kept_by.clone(),
            ..Observation::default()
        })
        .collect()
}

/// Rules about what somebody outside the run has.
pub(crate) const KEPT: [&RuleInfo; 3] = [
    &description_kept::RULE,
    &listener_kept::RULE,
    &flock_kept::RULE,
];

/// Observations of what somebody outside the run has, of one sort.
fn kept(case: &Case<'_>, level: Option<Level>, is: impl Fn(&Survives) -> bool) -> Vec<Observation> {
    case.kept
        .iter()
        .filter(|kept| is(kept))
        .map(|kept| Observation {
            process: kept.process,
            resource: kept.resource.clone(),
            confirmed_ns: Some(kept.at_ns),
            kept_by: kept.by.clone(),
            level,
            ..Observation::default()
        })
        .collect()
}

/// `4126 (nginx)`, or how many.
fn keepers(seen: &Observation) -> String {
    match &seen.kept_by[..] {
        [one] => format!("{} ({})", one.pid, one.comm),
        more => human::counted(more.len() as u64, "process", "processes"),
    }
}

/// Observations of what was held at exit, of one class. After a death by signal nobody ran, so
/// nothing is judged; a table that lives on in another process is not released either.
fn held(case: &Case<'_>, class: Class) -> Vec<Observation> {
    let mut seen = scope_leaks(case, class);
    for process in case.judged(Group::Held) {
        let Some(end) = &process.end else { continue };
        if end.signal().is_some() {
            continue;
        }
        let own = end
            .held
            .iter()
            .filter(|held| !held.inherited && held.resource.kind.class() == class)
            .filter(|held| !(end.files_shared && held.resource.fd.is_some()))
            .filter(|held| !case.is_scope_leak(process.key, &held.resource));
        seen.extend(own.map(|held| Observation {
            process: process.key,
            resource: super::resource::held(held),
            ..Observation::default()
        }));
    }
    seen
}

/// Observations of what outlives the scope that it was acquired in, of one class. The scope
/// asked for it, so these are errors where the rule is off.
fn scope_leaks(case: &Case<'_>, class: Class) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Held) {
        let leaks = case.leaks.get(&process.key).into_iter().flatten();
        let leaks = leaks.filter(|leak| leak.resource.kind.class() == class);
        seen.extend(leaks.map(|leak| Observation {
            process: process.key,
            resource: Resource {
                inherited: Some(false),
                ..super::resource::report(&leak.resource)
            },
            level: Some(Level::Error),
            scope: Some(leak.scope.clone()),
            ..Observation::default()
        }));
    }
    seen
}

fn held_message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    if let Some(scope) = &seen.scope {
        return format!("{} outlives {scope}", name(&seen.resource));
    }
    format!("{} was still open at exit", name(&seen.resource))
}

/// Breaches of the order, where the policy asks for one of these modes.
fn breaches(case: &Case<'_>, modes: &[OrderMode]) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Order) {
        let judged = case.orders.get(&process.key);
        let Some(judged) = judged.filter(|judged| modes.contains(&judged.mode)) else {
            continue;
        };
        seen.extend(breach_observations(process, judged));
    }
    seen
}

fn breach_observations(
    process: &ProcessFacts,
    judged: &super::order::Judged,
) -> impl Iterator<Item = Observation> {
    judged.breaches.iter().map(|breach| Observation {
        process: process.key,
        resource: super::resource::report(&process.releases[breach.released].resource),
        other: Some(super::resource::report(
            &process.releases[breach.open].resource,
        )),
        ..Observation::default()
    })
}

/// Observations of what is no fd and no mapping and was there at exit, of one class. As with
/// [`held`], after a death by signal nothing is judged.
fn left_at_exit(case: &Case<'_>, class: Class) -> Vec<Observation> {
    let mut seen = scope_leaks(case, class);
    for process in case.judged(Group::Held) {
        let by_signal = |end: &EndFacts| end.signal().is_some();
        if process.end.as_ref().is_none_or(by_signal) {
            continue;
        }
        let left = process.conduct.left.iter();
        let left = left.filter(|resource| resource.kind.class() == class);
        seen.extend(left.map(|resource| Observation {
            process: process.key,
            resource: super::resource::report(resource),
            ..Observation::default()
        }));
    }
    seen
}

/// Observations of hazards.
fn hazards(case: &Case<'_>, wanted: impl Fn(&ProcessFacts, &Hazard) -> bool) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Hazard) {
        let hazards = process.conduct.hazards.iter();
        let hazards = hazards.filter(|hazard| wanted(process, hazard));
        seen.extend(hazards.map(|hazard| Observation {
            process: process.key,
            resource: Resource {
                released_ns: Some(hazard.at.0),
                ..super::resource::report(&hazard.resource)
            },
            other: hazard.other.as_ref().map(super::resource::report),
            ..Observation::default()
        }));
    }
    seen
}

fn breach_message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let other = seen.other.as_ref().map(name).unwrap_or_default();
    format!(
        "{} was {} while the later {other} was {}",
        name(&seen.resource),
        released(&seen.resource),
        seen.other.as_ref().map_or("open", held_word),
    )
}

/// What releasing a thing is called.
pub(crate) fn released(resource: &Resource) -> &'static str {
    match resource.kind.as_str() {
        _ if resource.fd.is_some() => "closed",
        "shm-attach" => "detached",
        "shared-mapping" => "unmapped",
        _ => "released",
    }
}

fn held_word(resource: &Resource) -> &'static str {
    match resource.kind.as_str() {
        _ if resource.fd.is_some() => "open",
        "shm-attach" => "attached",
        "shared-mapping" => "mapped",
        _ => "held",
    }
}

/// A resource in a sentence: `fd 3 (/etc/hosts)`, `shared memory 32769 (4.0 KiB)`.
pub(crate) fn name(resource: &Resource) -> String {
    if let Some(fd) = resource.fd {
        return match what(resource) {
            Some(what) => format!("fd {fd} ({what})"),
            None => format!("fd {fd} ({})", resource.kind),
        };
    }
    let size = |bytes: u64| format!(" ({})", human::size(bytes));
    let id = resource.id.map(|id| format!(" {id}")).unwrap_or_default();
    let sized = resource.bytes.map(size).unwrap_or_default();
    let address = resource
        .address
        .map(|address| format!(" at {address:#x}"))
        .unwrap_or_default();
    match (resource.kind.as_str(), &resource.path) {
        ("sysv-shm", _) => format!("shared memory {}{sized}", id.trim_start()),
        ("sysv-sem", _) => format!("semaphore set{id}"),
        ("sysv-msg", _) => format!("message queue{id}"),
        ("shm-attach", _) => format!("shared memory{id}{address}"),
        ("process", _) => format!("process{id}"),
        ("aio", _) => format!("aio context{address}"),
        (kind, Some(path)) => format!("{kind} {path}{address}"),
        (kind, None) => format!("{kind}{id}{address}{sized}"),
    }
}

fn what(resource: &Resource) -> Option<String> {
    match (&resource.path, &resource.local, &resource.peer) {
        (_, Some(local), Some(peer)) => Some(format!("{} {local} -> {peer}", resource.kind)),
        (_, Some(local), None) => Some(format!("{} {local}", resource.kind)),
        (Some(path), None, _) => Some(path.clone()),
        (None, None, _) => None,
    }
}

/// `rm PATH`, if the path shows as itself.
fn remove(command: &str, resource: &Resource) -> Option<String> {
    let path = crate::sink::escape::shell_word(resource.path.as_deref()?)?;
    Some(format!("{command} {path}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_names_are_unique_and_in_order() {
        let ids: Vec<_> = ALL.iter().map(|info| info.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        assert_eq!(ids, sorted);
        let names: BTreeSet<_> = ALL.iter().map(|info| info.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(ALL.len(), 21 + 8 + 4 + 3 + 7 + 4);
    }

    #[test]
    fn a_rule_s_number_tells_its_group() {
        for info in ALL {
            let digit = usize::from(info.id.as_bytes()[2] - b'1');
            assert_eq!(Group::ALL[digit], info.group, "{}", info.id);
        }
    }

    #[test]
    fn default_levels_are_those_of_the_groups() {
        for info in ALL {
            let expected = match info.group {
                Group::Residue => Level::Error,
                Group::Held | Group::Order => Level::Off,
                Group::Misuse | Group::Time | Group::Hazard => Level::Note,
            };
            match info.id {
                "LT604" => assert_eq!(info.level, Level::Off),
                _ => assert_eq!(info.level, expected, "{}", info.id),
            }
        }
    }

    #[test]
    fn every_example_of_allow_parses_and_is_of_its_rule() {
        for info in ALL {
            let allow = crate::policy::allow::Allow::parse(info.allow);
            assert_eq!(allow.map(|allow| allow.rule), Ok(info.id.to_owned()));
        }
    }
}
