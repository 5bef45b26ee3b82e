//! Programs that this process has loaded itself.

use std::{os::fd::AsFd as _, path::PathBuf};

use anyhow::ensure;
use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData},
    programs::Program,
};
use bytes::Bytes;
use leaktrace_common::abi::{Holder, Offsets, WATCHED_BYTES, target_key};

use super::{
    attach::{self, Links},
    diagnostics::Diagnostics,
    engine::{Engine, Found},
    health::{self, Outcome, Preemption},
    holders, inside,
    load::Loaded,
    mapped::Set,
    maps::{self, Maps, Shape},
    object::Object,
    options::{self, LoadOptions},
    probe::{PROBES, Probe, is_way},
    seed, statistics,
};
use crate::{
    census::{
        holdings,
        process::{self, Identity},
    },
    id::ProcessKey,
    launch::privilege,
};

/// The watched tasks, by the addresses of their task_struct.
pub type Watched = HashMap<MapData, u64, [u8; WATCHED_BYTES]>;

/// Loaded and attached programs. Dropping them takes them out of the kernel.
pub struct Local {
    ebpf: Ebpf,
    which: Object,
    links: Links,
    inside: inside::Attached,
    outcomes: Vec<(Probe, Outcome)>,
    again: Set,
    targets: Set,
    wanted: Set,
    diagnostics: Option<Diagnostics>,
    /// Handlers that did not run in the self-test.
    skipped: u64,
    /// Handlers that did not run, read before detaching.
    missed: Option<u64>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local")
            .field("outcomes", &self.outcomes)
            .finish_non_exhaustive()
    }
}

impl Local {
    /// What has been attached and tested, and with it what whoever reads needs to have.
    pub(super) fn new(
        loaded: Loaded,
        offsets: &Offsets,
        nonce: u64,
        options: &LoadOptions,
        preemption: Preemption,
    ) -> anyhow::Result<(Local, Found)> {
        let Loaded {
            mut ebpf,
            which,
            links,
            inside,
            outcomes,
        } = loaded;
        let mut coverage = health::coverage(&outcomes, offsets, preemption, which);
        // What was skipped in the self-test is not of the run.
        let skipped = missed_by(&ebpf, &links).unwrap_or(0);
        if skipped > 0 {
            health::skipping(&mut coverage, skipped);
        }
        let found = Found {
            maps: Maps::take(&mut ebpf)?,
            coverage,
            probes: health::count(&outcomes),
            nonce,
            loss_is_marked: which.marks_loss(),
            untimed: inside.as_ref().err().cloned(),
        };
        let local = Local {
            diagnostics: match options.diagnostics {
                options::Diagnostics::Off => None,
                options::Diagnostics::Stderr => Some(Diagnostics::start(&mut ebpf)?),
            },
            again: set(&ebpf, "AGAIN")?,
            targets: set(&ebpf, "TARGETS")?,
            wanted: set(&ebpf, "WANTED")?,
            ebpf,
            which,
            links,
            inside,
            outcomes,
            skipped,
            missed: None,
        };
        Ok((local, found))
    }

    /// What became of every probe.
    pub(super) fn outcomes(&self) -> &[(Probe, Outcome)] {
        &self.outcomes
    }

    /// What became of the programs in the kernel's functions.
    pub(super) fn inside(&self) -> &inside::Attached {
        &self.inside
    }

    /// Instructions that the verifier went through for a program; `None`: it is not loaded, or
    /// the kernel does not tell (before 5.16).
    pub(super) fn verified(&self, program: &str) -> Option<u32> {
        let function = PROBES
            .iter()
            .find(|probe| probe.program == program)
            .and_then(|probe| probe.function)
            .filter(|function| self.links.contains_key(function.program));
        let program = function.map_or(program, |function| function.program);
        // Before Linux 5.19 bpf(2) takes a right whatever it is about.
        let _rights = privilege::taken_up();
        let info = match self.ebpf.program(program)? {
            Program::BtfTracePoint(program) => program.info(),
            Program::KProbe(program) => program.info(),
            Program::Iter(program) => program.info(),
            _ => return None,
        };
        info.ok()?.verified_instruction_count()
    }

    /// How often programs were to run and did not since the self-test; `None`: the kernel does
    /// not count.
    fn missed_now(&self) -> Option<u64> {
        let missed = missed_by(&self.ebpf, &self.links)?;
        Some(missed.saturating_sub(self.skipped))
    }

    /// Who is watched. It can be taken once.
    ///
    /// # Errors
    /// It was taken before.
    pub fn watched(&mut self) -> anyhow::Result<Watched> {
        Ok(HashMap::try_from(maps::take(&mut self.ebpf, "TASKS")?)?)
    }
}

/// How often attached programs were to run and did not; `None`: the kernel does not count.
fn missed_by(ebpf: &Ebpf, links: &Links) -> Option<u64> {
    ebpf.programs()
        .filter(|(name, _)| links.contains_key(name) && !is_way(name))
        .map(|(_, program)| {
            let fd = program.fd().ok()?;
            statistics::missed(fd.as_fd()).ok()?
        })
        .try_fold(0u64, |sum, one| Some(sum + one?))
}

fn set(ebpf: &Ebpf, name: &str) -> anyhow::Result<Set> {
    // It stays with the programs: those that are loaded later find it by its fd.
    match ebpf.map(name) {
        Some(Map::Array(data)) => Set::new(data.fd().as_fd(), Shape::of(data)?),
        _ => anyhow::bail!("find map `{name}` in the object"),
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        attach::close(&mut self.links);
    }
}

impl Engine for Local {
    fn check(&mut self) -> anyhow::Result<()> {
        if let Some(diagnostics) = &mut self.diagnostics {
            diagnostics.write();
        }
        Ok(())
    }

    fn target(&mut self, targets: &[Identity]) -> anyhow::Result<()> {
        let mut keys = targets
            .iter()
            .map(|one| target_key(one.ns_pid, one.start_ns));
        ensure!(
            keys.all(|key| self.targets.insert(key)),
            "there are too many targets"
        );
        Ok(())
    }

    fn seed(&mut self) -> anyhow::Result<Bytes> {
        seed::read(&mut self.ebpf)
    }

    fn waiting(&mut self) -> anyhow::Result<Bytes> {
        seed::waiting(&mut self.ebpf)
    }

    fn reread(&mut self, pids: &[u32]) -> anyhow::Result<()> {
        // Zero is none of a set's numbers, and asks for all processes here.
        let keys: Vec<u64> = pids.iter().map(|pid| u64::from(*pid) + 1).collect();
        let mut rest = &keys[..];
        loop {
            rest = self.again.replace(rest);
            seed::reread(&mut self.ebpf)?;
            if rest.is_empty() {
                self.again.replace(&[]);
                return Ok(());
            }
        }
    }

    fn holders(&mut self, wanted: &[u64]) -> anyhow::Result<Vec<Holder>> {
        holders::find(&mut self.ebpf, self.which, &mut self.wanted, wanted)
    }

    fn missed(&mut self) -> anyhow::Result<Option<u64>> {
        Ok(self.missed.or_else(|| self.missed_now()))
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        self.missed = self.missed_now();
        // A short run is over before anybody has looked.
        self.check()?;
        // Closing a link waits until no program of it runs any more.
        attach::close(&mut self.links);
        if let Ok(links) = &mut self.inside {
            links.clear();
        }
        Ok(())
    }

    fn mapped(&mut self, key: ProcessKey) -> Option<Bytes> {
        holdings::mapped(key)
    }

    fn images(&mut self, key: ProcessKey) -> Option<Bytes> {
        holdings::images(key)
    }

    fn gone(&mut self, key: ProcessKey) -> Option<Bytes> {
        holdings::gone(key)
    }

    fn place(&mut self, pid: u32) -> (Option<Vec<u8>>, Option<PathBuf>) {
        process::place(pid)
    }
}
