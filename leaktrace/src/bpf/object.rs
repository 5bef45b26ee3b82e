//! The two builds of the programs: what is loaded wherever it can be, and what older kernels load.

use std::io;

use aya::{
    Btf,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported},
};
use aya_obj::btf::BtfKind;
use leaktrace_common::record::Family;

/// The compiled programs. Aligned: the ELF reader takes its structures in place.
static FULL: &[u8] = aya::include_bytes_aligned!("leaktrace.bpf.o");
static REDUCED: &[u8] = aya::include_bytes_aligned!("reduced.bpf.o");

/// A build of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// What is loaded wherever it can be.
    Full,
    /// The same without bpf_loop (Linux 5.17), atomic operations with a result (5.12) and functions
    /// that take pointers (5.12).
    Reduced {
        /// Whether the kernel goes through mappings for programs.
        mappings: bool,
        /// Why it is not the full one.
        because: Because,
    },
}

/// Why the reduced object is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The kernel has no bpf_loop.
    Old,
    /// The kernel's verifier refused the full one.
    Refused,
}

impl Because {
    /// What would show the rest.
    fn clause(self) -> &'static str {
        match self {
            Because::Old => "bpf_loop, Linux 5.17",
            Because::Refused => "the kernel refuses the programs that see it",
        }
    }
}

/// Programs that the reduced object leaves out.
const LEFT_OUT: [&str; 1] = ["io_uring_complete"];

/// What the other programs of the reduced object do not show of a family. Some of it a kernel that is
/// not quite as old could tell; the next one tells all of it.
const NOT_SHOWN: [(Family, &str); 5] = [
    (
        Family::File,
        "what io_uring is asked to close and to accept is not seen",
    ),
    (
        Family::Ring,
        "what io_uring is asked to close and to accept is not seen",
    ),
    (
        Family::Ring,
        "what a ring has registered and what aio has in flight is not seen",
    ),
    (Family::Task, "a call that was waiting before is not seen"),
    (
        Family::Task,
        "with --cgroup, programs started in cgroups below it are not seen",
    ),
];

/// The same where the kernel has no iterator over mappings.
const NO_MAPPINGS: (Family, &str) = (
    Family::Mapping,
    "who else has a file mapped is not looked up (iterator task_vma, Linux 5.12)",
);

impl Object {
    /// What this kernel takes: it is asked for what the full object cannot be without. One that
    /// does not answer is no reason to show less.
    pub fn for_this_kernel(types: &Btf) -> Object {
        match is_helper_supported(ProgramType::RawTracePoint, BpfHelper::BPF_FUNC_loop) {
            Ok(false) => Object::reduced(types, Because::Old),
            Ok(true) | Err(_) => Object::Full,
        }
    }

    /// The reduced one.
    pub fn reduced(types: &Btf, because: Because) -> Object {
        Object::Reduced {
            // DEFINE_BPF_ITER_FUNC in kernel/bpf/task_iter.c.
            mappings: types
                .id_by_type_name_kind("bpf_iter_task_vma", BtfKind::Func)
                .is_ok(),
            because,
        }
    }

    /// Its bytes.
    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            Object::Full => FULL,
            Object::Reduced { .. } => REDUCED,
        }
    }

    /// Why it is without a program, if it is: a clause after the program's name.
    pub fn leaves_out(self, program: &str) -> Option<&'static str> {
        match self {
            Object::Full => None,
            Object::Reduced { because, .. } => {
                LEFT_OUT.contains(&program).then_some(match because {
                    Because::Old => "needs bpf_loop, Linux 5.17",
                    Because::Refused => "is one of those that the kernel refuses",
                })
            }
        }
    }

    /// What it does not show of a family where all its programs run, a clause each.
    pub fn not_shown(self, family: Family) -> Vec<String> {
        let Object::Reduced { mappings, because } = self else {
            return Vec::new();
        };
        let of = |(one, _): &(Family, &str)| *one == family;
        let left = NOT_SHOWN.into_iter().filter(of);
        let left = left.map(|(_, what)| format!("{what} ({})", because.clause()));
        let no_mappings = (!mappings).then_some(NO_MAPPINGS).filter(of);
        left.chain(no_mappings.map(|(_, clause)| clause.to_owned()))
            .collect()
    }

    /// Whether its records say whose records were lost.
    pub fn marks_loss(self) -> bool {
        self == Object::Full
    }

    /// Whether mappings can be gone through. The iterator is older than what the full object needs.
    pub(super) fn looks_up_mappings(self) -> bool {
        match self {
            Object::Full => true,
            Object::Reduced { mappings, .. } => mappings,
        }
    }
}

/// Before Linux 5.11 the kernel counts maps and programs as locked memory of the user, whose limit
/// is small by default. Raised for this process, which nothing of the watched comes from.
///
/// # Errors
/// The limit may not be raised: that takes CAP_SYS_RESOURCE.
pub fn raise_locked_memory() -> io::Result<()> {
    let all = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the structure is only read.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const all) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::probe::PROBES;

    const OLD: Object = Object::Reduced {
        mappings: false,
        because: Because::Old,
    };
    const REFUSED: Object = Object::Reduced {
        mappings: true,
        because: Because::Refused,
    };

    #[test]
    fn the_reduced_object_has_what_it_does_not_leave_out() {
        for probe in PROBES {
            let has = |object: Object| {
                let name = probe.program.as_bytes();
                object.bytes().windows(name.len()).any(|at| at == name)
            };
            assert!(has(Object::Full), "{}", probe.program);
            assert_eq!(Object::Full.leaves_out(probe.program), None);
            let left_out = OLD.leaves_out(probe.program).is_some();
            assert_eq!(has(OLD), !left_out, "{}", probe.program);
            assert_eq!(REFUSED.leaves_out(probe.program).is_some(), left_out);
        }
    }

    #[test]
    fn what_is_not_shown_names_the_feature_and_its_kernel_or_the_refusal() {
        let of = |object: Object| {
            let clauses = Family::ALL.iter().flat_map(|one| object.not_shown(*one));
            let left_out = LEFT_OUT.iter().filter_map(|name| object.leaves_out(name));
            clauses
                .chain(left_out.map(str::to_owned))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Object::Full), Vec::<String>::new());
        assert_eq!(of(OLD).len(), 7);
        assert!(of(OLD).iter().all(|one| one.contains("Linux 5.")));
        assert_eq!(of(REFUSED).len(), 6);
        assert!(of(REFUSED).iter().all(|one| one.contains("refuses")));
    }
}
