//! Which capabilities matter, and for what.

/// A capability that leaktrace uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name.
    pub name: &'static str,
    /// Its bit (include/uapi/linux/capability.h).
    pub bit: u32,
    /// What is worse without it.
    pub without: &'static str,
    /// CAP_SYS_ADMIN includes it (bpf_capable and perfmon_capable, include/linux/capability.h).
    in_sys_admin: bool,
}

const SYS_ADMIN: u32 = 21;

const fn capability(name: &'static str, bit: u32, without: &'static str) -> Capability {
    Capability {
        name,
        bit,
        without,
        in_sys_admin: false,
    }
}

const REQUIRED: [Capability; 2] = [
    Capability {
        in_sys_admin: true,
        ..capability("CAP_BPF", 39, "no program can be loaded")
    },
    Capability {
        in_sys_admin: true,
        ..capability("CAP_PERFMON", 38, "no program can be loaded")
    },
];

const USEFUL: [Capability; 5] = [
    capability(
        "CAP_SYS_ADMIN",
        SYS_ADMIN,
        "what is in another ipc namespace cannot be looked up, and handlers that did not run are not counted",
    ),
    capability(
        "CAP_SYS_PTRACE",
        19,
        "what is in another mount namespace, or in the environment that sudo hid, cannot be looked up",
    ),
    capability(
        "CAP_DAC_READ_SEARCH",
        2,
        "what lies in directories closed to this user cannot be looked up",
    ),
    capability(
        "CAP_IPC_OWNER",
        15,
        "ipc objects closed to this user cannot be looked up",
    ),
    capability("CAP_SETUID", 7, "CMD cannot be run as another user"),
];

impl Capability {
    /// Whether the set has it.
    pub fn is_in(&self, set: u64) -> bool {
        set >> self.bit & 1 != 0 || (self.in_sys_admin && set >> SYS_ADMIN & 1 != 0)
    }

    /// Those that nothing works without and the set has not.
    pub fn missing_required(set: u64) -> Vec<Capability> {
        REQUIRED
            .into_iter()
            .filter(|capability| !capability.is_in(set))
            .collect()
    }

    /// Those that something works worse without and the set has not.
    pub fn missing_useful(set: u64) -> Vec<Capability> {
        USEFUL
            .into_iter()
            .filter(|capability| !capability.is_in(set))
            .collect()
    }

    /// Those of either kind that the set has.
    pub fn present(set: u64) -> Vec<Capability> {
        let known = REQUIRED.into_iter().chain(USEFUL);
        known.filter(|capability| capability.is_in(set)).collect()
    }
}
