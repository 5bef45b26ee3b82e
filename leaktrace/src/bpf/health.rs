//! From what attached to what can be claimed. Pure.

use leaktrace_common::{
    abi::{NO_OFFSET, Offsets},
    record::Family,
};
use zerocopy::IntoBytes;

use super::{
    btf::{Btf, TypeKind},
    object::Object,
    probe::{MEMBERS, Need, PROBES, Probe},
};
use crate::report::{Coverage, CoverageStatus};

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs.
    Attached(Way),
    /// This kernel has no such hook.
    NoHook,
    /// The kernel refused it; why.
    Refused(String),
    /// It is not in the object that this kernel loads; what it needs.
    LeftOut(&'static str),
}

/// By what a probe is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its tracepoint.
    Tracepoint,
    /// The entry of its function.
    Function,
}

impl Outcome {
    /// Whether it runs.
    pub fn is_attached(&self) -> bool {
        matches!(self, Outcome::Attached(_))
    }

    /// A clause for people.
    pub fn clause(&self) -> String {
        match self {
            Outcome::Attached(_) => "attached".to_owned(),
            Outcome::NoHook => "this kernel has no such tracepoint".to_owned(),
            Outcome::Refused(why) => format!("refused: {why}"),
            Outcome::LeftOut(why) => (*why).to_owned(),
        }
    }
}

/// The required probes that do not run: tracing is unavailable if there is one.
pub fn missing_required(outcomes: &[(Probe, Outcome)]) -> Vec<&(Probe, Outcome)> {
    outcomes
        .iter()
        .filter(|(probe, outcome)| probe.need == Need::Required && !outcome.is_attached())
        .collect()
}

/// Probes that run and probes known.
pub fn count(outcomes: &[(Probe, Outcome)]) -> (u32, u32) {
    let attached = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.is_attached())
        .count();
    (attached as u32, PROBES.len() as u32)
}

/// Whether a program on a tracepoint can be preempted, so that it is skipped for others
/// meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
    /// It cannot.
    Impossible,
    /// It can: see [`preemption`].
    Possible,
}

/// The first version that does.
pub const PREEMPTS: (u32, u32) = (7, 0);

/// Whether this kernel preempts programs on tracepoints. Since Linux 7.0 it goes through them in
/// a section of SRCU (`guard(srcu_fast_notrace)` in include/linux/tracepoint.h), whose type it has
/// for that; before, with preemption off. The version counts too: a kernel that does the same by
/// another name is newer.
pub fn preemption(btf: &Btf<'_>, version: Option<(u32, u32)>) -> Preemption {
    let guarded = btf.has_type(TypeKind::Typedef, "class_srcu_fast_notrace_t");
    if guarded || version.is_none_or(|version| version >= PREEMPTS) {
        Preemption::Possible
    } else {
        Preemption::Impossible
    }
}

/// Says of every family that is seen in full that handlers are skipped here: so many were in the
/// self-test.
pub fn skipping(coverage: &mut [Coverage], missed: u64) {
    for family in coverage
        .iter_mut()
        .filter(|one| one.status == CoverageStatus::Full)
    {
        family.status = CoverageStatus::Partial;
        family.reason = Some(format!(
            "this kernel skips handlers under contention ({missed} times in the self-test)"
        ));
    }
}

/// Says of the families of probes that the kernel refused that programs for older kernels run
/// instead, and why.
pub fn reduced(coverage: &mut [Coverage], refused: &[(Probe, Outcome)]) {
    for (probe, outcome) in missing_required(refused) {
        let (hook, why) = (probe.hook, outcome.clause());
        narrow(
            coverage,
            probe.families,
            &format!("programs for older kernels run: {hook} {why}"),
        );
    }
}

/// Says of what can be skipped that functions, which cannot, are refused, and why.
pub fn without_functions(coverage: &mut [Coverage], outcomes: &[(Probe, Outcome)], why: &str) {
    let by_tracepoint = |(probe, outcome): &&(Probe, Outcome)| {
        probe.function.is_some() && *outcome == Outcome::Attached(Way::Tracepoint)
    };
    let skips = |family: &Family| {
        let mut outcomes = outcomes.iter().filter(by_tracepoint);
        outcomes.any(|(probe, _)| probe.skips.contains(family))
    };
    let families: Vec<Family> = Family::ALL.iter().copied().filter(skips).collect();
    narrow(coverage, &families, why);
}

/// Says of what can be skipped that these probes have no function that is ever called.
pub fn uncalled(coverage: &mut [Coverage], probes: &[Probe]) {
    for probe in probes {
        if let Some(function) = probe.function {
            let why = format!("the function {} is never called here", function.name);
            narrow(coverage, probe.skips, &why);
        }
    }
}

/// Less is seen of these.
fn narrow(coverage: &mut [Coverage], families: &[Family], why: &str) {
    for one in coverage {
        if !families.iter().any(|family| family.name() == one.family) {
            continue;
        }
        if one.status == CoverageStatus::Full {
            one.status = CoverageStatus::Partial;
        }
        one.reason = Some(match &one.reason {
            Some(reason) => format!("{reason}; {why}"),
            None => why.to_owned(),
        });
    }
}

/// What is seen of each family. A family with no probe that runs is `none`; one with a probe or
/// a kernel member missing is `partial`.
pub fn coverage(
    outcomes: &[(Probe, Outcome)],
    offsets: &Offsets,
    preemption: Preemption,
    object: Object,
) -> Vec<Coverage> {
    Family::ALL
        .iter()
        .map(|family| of_family(*family, outcomes, offsets, preemption, object))
        .collect()
}

fn of_family(
    family: Family,
    outcomes: &[(Probe, Outcome)],
    offsets: &Offsets,
    preemption: Preemption,
    object: Object,
) -> Coverage {
    let mine: Vec<_> = outcomes
        .iter()
        .filter(|(probe, _)| probe.families.contains(&family))
        .collect();
    let running = mine
        .iter()
        .filter(|(_, outcome)| outcome.is_attached())
        .count();
    let mut reasons: Vec<String> = mine
        .iter()
        .filter(|(_, outcome)| !outcome.is_attached())
        .map(|(probe, outcome)| format!("{} ({} {})", probe.without, probe.hook, outcome.clause()))
        .collect();
    reasons.extend(missing_members(family, offsets));
    reasons.extend(skipped(family, outcomes, preemption));
    reasons.extend(object.not_shown(family));
    let status = match (running, reasons.is_empty()) {
        (0, _) => CoverageStatus::None,
        (_, true) => CoverageStatus::Full,
        (_, false) => CoverageStatus::Partial,
    };
    Coverage {
        family: family.name().to_owned(),
        status,
        reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
    }
}

/// What can be skipped of a family, as a clause.
fn skipped(
    family: Family,
    outcomes: &[(Probe, Outcome)],
    preemption: Preemption,
) -> Option<String> {
    let hooks: Vec<_> = outcomes
        .iter()
        .filter(|(probe, outcome)| {
            *outcome == Outcome::Attached(Way::Tracepoint) && probe.skips.contains(&family)
        })
        .map(|(probe, _)| probe.hook.split('|').next().unwrap_or(probe.hook))
        .collect();
    (preemption == Preemption::Possible && !hooks.is_empty()).then(|| {
        format!(
            "this kernel can skip handlers of {} under contention",
            hooks.join(", ")
        )
    })
}

fn missing_members(family: Family, offsets: &Offsets) -> Vec<String> {
    MEMBERS
        .iter()
        .filter(|(of, _)| *of == family)
        .flat_map(|(_, members)| members.iter())
        .filter(|member| offset_of(offsets, member) == Some(NO_OFFSET))
        .map(|member| format!("this kernel's BTF has no {member}"))
        .collect()
}

fn offset_of(offsets: &Offsets, member: &str) -> Option<u32> {
    let index = Offsets::PATHS
        .iter()
        .position(|path| path.split('|').next() == Some(member))?;
    let bytes = offsets.as_bytes().get(index * 4..index * 4 + 4)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros as _;

    use super::*;
    use crate::bpf::object::Because;

    const REDUCED: Object = Object::Reduced {
        mappings: false,
        because: Because::Old,
    };

    fn all_attached() -> Vec<(Probe, Outcome)> {
        PROBES
            .iter()
            .map(|probe| (*probe, Outcome::Attached(Way::Tracepoint)))
            .collect()
    }

    fn complete() -> Offsets {
        Offsets::new_zeroed()
    }

    #[test]
    fn everything_attached_is_full() {
        let coverage = coverage(
            &all_attached(),
            &complete(),
            Preemption::Impossible,
            Object::Full,
        );
        assert_eq!(coverage.len(), 9);
        assert!(
            coverage
                .iter()
                .all(|one| one.status == CoverageStatus::Full)
        );
        assert!(missing_required(&all_attached()).is_empty());
    }

    #[test]
    fn a_missing_optional_probe_makes_its_families_partial_and_says_why() {
        let mut outcomes = all_attached();
        for (probe, outcome) in &mut outcomes {
            if probe.hook == "exit_mmap" {
                *outcome = Outcome::NoHook;
            }
        }
        let coverage = coverage(&outcomes, &complete(), Preemption::Impossible, Object::Full);
        let exit = coverage.iter().find(|one| one.family == "exit");
        assert_eq!(exit.map(|one| one.status), Some(CoverageStatus::Partial));
        assert!(
            exit.and_then(|one| one.reason.as_deref())
                .is_some_and(|why| {
                    why.contains("exit_mmap this kernel has no such tracepoint")
                })
        );
        assert!(missing_required(&outcomes).is_empty());
        assert_eq!(
            count(&outcomes),
            (PROBES.len() as u32 - 1, PROBES.len() as u32)
        );
    }

    #[test]
    fn the_reduced_object_shows_part_of_some_families_and_says_what_is_missing() {
        let outcomes: Vec<_> = PROBES
            .iter()
            .map(|probe| match REDUCED.leaves_out(probe.program) {
                Some(why) => (*probe, Outcome::LeftOut(why)),
                None => (*probe, Outcome::Attached(Way::Tracepoint)),
            })
            .collect();
        assert!(missing_required(&outcomes).is_empty());
        let coverage = coverage(&outcomes, &complete(), Preemption::Impossible, REDUCED);
        for one in &coverage {
            let partial = ["file", "ring", "mapping", "task"].contains(&one.family.as_str());
            let expected = match partial {
                true => CoverageStatus::Partial,
                false => CoverageStatus::Full,
            };
            assert_eq!(one.status, expected, "{}", one.family);
            let why = one.reason.as_deref().unwrap_or("");
            assert_eq!(why.contains("Linux 5."), partial, "{}: {why}", one.family);
        }
    }

    #[test]
    fn a_missing_required_probe_is_named() {
        let mut outcomes = all_attached();
        for (probe, outcome) in &mut outcomes {
            if probe.hook == "sys_exit" {
                *outcome = Outcome::Refused("operation not permitted".to_owned());
            }
        }
        let missing = missing_required(&outcomes);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].0.hook, "sys_exit");
    }

    #[test]
    fn no_probe_at_all_is_none() {
        let outcomes: Vec<_> = PROBES
            .iter()
            .map(|probe| (*probe, Outcome::NoHook))
            .collect();
        assert!(
            coverage(&outcomes, &complete(), Preemption::Impossible, Object::Full)
                .iter()
                .all(|one| one.status == CoverageStatus::None)
        );
    }

    #[test]
    fn a_missing_member_makes_its_family_partial() {
        let coverage = coverage(
            &all_attached(),
            &Offsets::UNKNOWN,
            Preemption::Impossible,
            Object::Full,
        );
        assert!(
            coverage
                .iter()
                .all(|one| one.status == CoverageStatus::Partial)
        );
    }

    #[test]
    fn skipped_handlers_make_full_coverage_partial() {
        let mut coverage = coverage(
            &all_attached(),
            &complete(),
            Preemption::Impossible,
            Object::Full,
        );
        skipping(&mut coverage, 7);
        assert!(
            coverage
                .iter()
                .all(|one| one.status == CoverageStatus::Partial)
        );
        assert!(
            coverage[0]
                .reason
                .as_deref()
                .is_some_and(|why| why.contains("7 times"))
        );
    }

    #[test]
    fn what_can_be_skipped_is_partial_unless_a_function_shows_it() {
        let status = |outcomes: &[(Probe, Outcome)], family: &str| {
            let coverage = coverage(outcomes, &complete(), Preemption::Possible, Object::Full);
            let one = coverage.into_iter().find(|one| one.family == family);
            one.map(|one| (one.status, one.reason.unwrap_or_default()))
        };
        for family in Family::ALL {
            let (status, why) = status(&all_attached(), family.name()).expect("a family");
            assert_eq!(status, CoverageStatus::Partial, "{}", family.name());
            assert!(why.contains("can skip handlers of "), "{why}");
        }
        let outcomes: Vec<_> = PROBES
            .iter()
            .map(|probe| match probe.function {
                Some(_) => (*probe, Outcome::Attached(Way::Function)),
                None => (*probe, Outcome::Attached(Way::Tracepoint)),
            })
            .collect();
        for family in Family::ALL {
            let (status, why) = status(&outcomes, family.name()).expect("a family");
            assert_eq!(status, CoverageStatus::Full, "{}: {why}", family.name());
        }
    }

    #[test]
    fn a_function_that_is_never_called_is_told_of_the_families_it_would_show() {
        let mut outcomes = all_attached();
        let is_uncalled = |probe: &Probe| probe.program == "io_uring_complete";
        for (probe, outcome) in &mut outcomes {
            if probe.function.is_some() && !is_uncalled(probe) {
                *outcome = Outcome::Attached(Way::Function);
            }
        }
        let mut coverage = coverage(&outcomes, &complete(), Preemption::Possible, Object::Full);
        let uncalled: Vec<Probe> = PROBES.iter().copied().filter(is_uncalled).collect();
        super::uncalled(&mut coverage, &uncalled);
        for one in &coverage {
            let why = one.reason.as_deref().unwrap_or_default();
            let is_ring = one.family == "ring" && uncalled.iter().any(|it| it.function.is_some());
            assert_eq!(why.contains("is never called here"), is_ring, "{why}");
        }
    }

    #[test]
    fn every_member_named_is_one_that_the_programs_use() {
        for member in MEMBERS.iter().flat_map(|(_, members)| members.iter()) {
            assert!(offset_of(&complete(), member).is_some(), "{member}");
        }
    }
}
