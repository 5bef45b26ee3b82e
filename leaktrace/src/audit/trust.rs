//! What rests on evidence that was lost.
//!
//! Inconclusive is per process and group. It reaches the run's verdict only when a group that
//! has a rule at level error rests on the gap.

use leaktrace_common::record::Family;

use crate::{
    audit::{
        case::Case,
        resource,
        rule::{self, Group, Status},
    },
    model::facts::{Families, MayKeep, ProcessFacts, Trust},
    report::{CoverageStatus, Level},
};

/// Sentences of one sort in a report; the rest is counted.
const AT_MOST: usize = 5;

/// Why claims of this group cannot be made about a process; `None` if they can.
///
/// What is held is known again once the tables have been read again; what rests on when and in
/// which order its calls came is not, and a name that was made unseen is not looked for.
pub fn doubt(process: &ProcessFacts, group: Group) -> Option<&str> {
    let (now, why) = match &process.trust {
        Trust::Tainted { families, why, .. } => (*families, why.as_str()),
        Trust::Sure | Trust::Reread { .. } => (Families::NONE, process.lost_why.as_str()),
    };
    let lost = match group {
        Group::Held => now,
        Group::Residue | Group::Order | Group::Misuse | Group::Time | Group::Hazard => {
            now.and(process.lost)
        }
    };
    // Who keeps a listener or a lock is asked of those that were seen to be given away, which the
    // counts of references in the records of closing tell.
    let rests = match (group, process.may_keep) {
        (Group::Residue, MayKeep::Yes) => evidence(group).and(Families::FDS),
        _ => evidence(group),
    };
    (!lost.both(rests).is_empty()).then_some(why)
}

/// The families on whose records claims of a group rest, where it is known whose were lost.
const fn evidence(group: Group) -> Families {
    match group {
        // Of a file or a socket that may have been given a name, the family of names is lost.
        Group::Residue => Families::of(&[Family::Task, Family::Name, Family::Ipc]),
        Group::Held => Families::of(&[
            Family::File,
            Family::Socket,
            Family::Ring,
            Family::Mapping,
            Family::Ipc,
            Family::Task,
            Family::Exit,
        ]),
        Group::Order => Families::of(&[
            Family::File,
            Family::Socket,
            Family::Ring,
            Family::Mapping,
            Family::Ipc,
            Family::Signal,
            Family::Exit,
        ]),
        Group::Misuse => {
            Families::of(&[Family::File, Family::Socket, Family::Mapping, Family::Ipc])
        }
        Group::Time => Families::of(&[Family::Signal, Family::Exit, Family::Task]),
        Group::Hazard => Families::of(&[Family::Ring, Family::Mapping, Family::File]),
    }
}

/// Whether claims of a group rest on records of a family; `None` is any family. For runs of
/// which only the number of lost records is known.
fn rests_on(group: Group, family: Option<Family>) -> bool {
    let Some(family) = family else {
        return true;
    };
    // A lost record of one of these may be a creation that nobody will look up. bind(2) of a
    // unix path is in the socket family.
    let may_name = matches!(family, Family::File | Family::Socket);
    (group == Group::Residue && may_name)
        || !evidence(group).both(Families::of(&[family])).is_empty()
}

/// Groups with a judged rule at level error.
fn failing_groups(case: &Case<'_>) -> Vec<Group> {
    let fails = |group: &Group| {
        rule::ALL
            .iter()
            .filter(|info| info.group == *group && info.status() == Status::Judged)
            .any(|info| case.highest_level(info) == Level::Error)
    };
    // An interrupted settling lowers residue to notes; the claim still counts as failing.
    Group::ALL
        .into_iter()
        .filter(|group| {
            fails(group)
                || (*group == Group::Residue && case.end.cut_short)
                || (*group == Group::Held && case.scopes.judges())
                // A close that lost data (EIO) is an error whatever the level of its rule. Where
                // it is known whose records were lost, such a close is among those that cannot
                // be replaced.
                || (*group == Group::Misuse
                    && !case.start.loss_is_marked
                    && !case.policy.fail_on_none)
        })
        .collect()
}

/// Why the run's verdict is not a claim, a sentence each; empty when it is.
pub fn inconclusive(case: &Case<'_>) -> Vec<String> {
    let mut because = Vec::new();
    if case.end.cut_short {
        because.push("residue: settling cut short".to_owned());
    }
    let unknown = case.unknown.iter().map(|what| format!("residue: {what}"));
    because.extend(at_most(unknown.collect(), "things"));
    because.extend(missing_families(case));
    if !case.policy.allow_loss {
        let groups = failing_groups(case);
        because.extend(match case.start.loss_is_marked {
            true => vital_records(case, &groups),
            false => lost_records(case, &groups),
        });
        because.extend(not_run(case, &groups));
        if !groups.is_empty() {
            because.extend(at_most(case.end.faults.clone(), "faults"));
        }
        because.extend(at_most(tainted(case, &groups), "processes"));
    }
    because
}

/// Why nothing is claimed about one process, given the groups that can fail the run.
pub fn is_doubtful(case: &Case<'_>, process: &ProcessFacts) -> bool {
    !case.policy.allow_loss
        && failing_groups(case)
            .into_iter()
            .any(|group| doubt(process, group).is_some())
}

fn lost_records(case: &Case<'_>, groups: &[Group]) -> Vec<String> {
    let events = &case.end.events;
    let lost: Vec<(Option<Family>, u64)> = match events.by_family.values().any(|f| f.lost > 0) {
        true => events
            .by_family
            .iter()
            .filter(|(_, counts)| counts.lost > 0)
            .map(|(name, counts)| (family(name), counts.lost))
            .collect(),
        false if events.lost > 0 => vec![(None, events.lost)],
        false => Vec::new(),
    };
    groups
        .iter()
        .filter_map(|group| {
            let of_it: Vec<_> = lost.iter().filter(|(f, _)| rests_on(*group, *f)).collect();
            let total: u64 = of_it.iter().map(|(_, n)| n).sum();
            let names: Vec<_> = of_it
                .iter()
                .map(|(f, n)| format!("{} {n}", f.map_or("any", Family::name)))
                .collect();
            (total > 0).then(|| {
                format!(
                    "{}: {total} records lost ({})",
                    group.name(),
                    names.join(", ")
                )
            })
        })
        .collect()
}

/// Where each loss is known to be of some process, that process is told of; but whose record of
/// a birth or an end was lost may not be known at all.
fn vital_records(case: &Case<'_>, groups: &[Group]) -> Vec<String> {
    let count = case.end.events.vital_lost;
    let names: Vec<_> = groups.iter().map(|group| group.name()).collect();
    if count == 0 || names.is_empty() {
        return Vec::new();
    }
    let names = names.join(", ");
    vec![format!(
        "{names}: {count} records of births, ends, names, locks, listeners and ipc objects lost"
    )]
}

fn family(name: &str) -> Option<Family> {
    Family::ALL.into_iter().find(|family| family.name() == name)
}

fn not_run(case: &Case<'_>, groups: &[Group]) -> Option<String> {
    let count = case.end.events.not_run.filter(|count| *count > 0)?;
    let names: Vec<_> = groups.iter().map(|group| group.name()).collect();
    (!names.is_empty()).then(|| format!("{}: {count} handlers did not run", names.join(", ")))
}

fn tainted(case: &Case<'_>, groups: &[Group]) -> Vec<String> {
    let mut sentences = Vec::new();
    for process in case.facts.processes.values() {
        let doubts = groups
            .iter()
            .filter_map(|group| Some((group, doubt(process, *group)?)));
        let (names, whys): (Vec<_>, Vec<_>) =
            doubts.map(|(group, why)| (group.name(), why)).unzip();
        if let Some(why) = whys.first() {
            sentences.push(format!(
                "{} of {} ({}): {why}",
                names.join(", "),
                process.key.pid,
                resource::text(&process.comm)
            ));
        }
    }
    sentences
}

/// Families that `--require` names and that this kernel does not show.
fn missing_families(case: &Case<'_>) -> Vec<String> {
    let required = |family: &str| {
        case.policy
            .require
            .iter()
            .any(|word| word == "all" || word == family)
    };
    case.start
        .coverage
        .iter()
        .filter(|coverage| coverage.status == CoverageStatus::None && required(&coverage.family))
        .map(|coverage| match &coverage.reason {
            Some(reason) => format!("{} is required and not watched: {reason}", coverage.family),
            None => format!("{} is required and not watched", coverage.family),
        })
        .collect()
}

fn at_most(mut sentences: Vec<String>, what: &str) -> Vec<String> {
    let more = sentences.len().saturating_sub(AT_MOST);
    sentences.truncate(AT_MOST);
    if more > 0 {
        sentences.push(format!("and {more} more {what}"));
    }
    sentences
}
