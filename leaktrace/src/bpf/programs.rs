//! Programs that run.

use std::{collections::BTreeMap, os::fd::AsFd as _};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{Program, links::FdLink},
};
use bytes::Bytes;
use leaktrace_common::{
    abi::{FamilyCount, Holder, Offsets, fault, target_key},
    record::Family,
};

use super::{
    diagnostics::Diagnostics,
    health::{self, Outcome, Preemption},
    holders,
    identity::{Identities, Value},
    load::{self, LoadOptions},
    loss::Losing,
    probe::Probe,
    ring::Reader,
    seed, selftest, statistics,
};
use crate::{
    census::{cgroup_roots, host, mounts_present, sysv_present},
    report::{Coverage, Events, FamilyEvents},
    source::{Kernel, Start},
};

/// Processes that can be asked for at once.
const WANTED: usize = 1024;

/// Counters of one family on one CPU, as a map's value.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Count(FamilyCount);

// SAFETY: two integers without padding.
unsafe impl aya::Pod for Count {}

/// Loaded and attached programs. Dropping them takes them out of the kernel.
pub struct Programs {
    ebpf: Ebpf,
    links: BTreeMap<&'static str, FdLink>,
    outcomes: Vec<(Probe, Outcome)>,
    coverage: Vec<Coverage>,
    nonce: u64,
    reader: Reader,
    counts: PerCpuArray<MapData, Count>,
    root: Array<MapData, u64>,
    faults: Array<MapData, u64>,
    wanted: HashMap<MapData, u32, u32>,
    start: Start,
    diagnostics: Option<Diagnostics>,
    /// Handlers that did not run in the self-test.
    skipped: u64,
    /// Handlers that did not run, read before detaching.
    missed: Option<u64>,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs")
            .field("outcomes", &self.outcomes)
            .finish_non_exhaustive()
    }
}

impl Programs {
    pub(super) fn new(
        mut ebpf: Ebpf,
        links: BTreeMap<&'static str, FdLink>,
        outcomes: Vec<(Probe, Outcome)>,
        offsets: &Offsets,
        nonce: u64,
        options: &LoadOptions,
        preemption: Preemption,
    ) -> anyhow::Result<Self> {
        let mut coverage = health::coverage(&outcomes, offsets);
        selftest::contend(nonce).context("run the self-test")?;
        // What was skipped there is not of the run.
        let skipped = missed_by(&ebpf, &links).unwrap_or(0);
        if skipped > 0 {
            health::skipping(&mut coverage, &health::Skips::Seen(skipped));
        } else if preemption == Preemption::Possible {
            health::skipping(&mut coverage, &health::Skips::Possible);
        }
        let start = start(&coverage, health::count(&outcomes))?;
        let diagnostics = match options.diagnostics {
            load::Diagnostics::Off => None,
            load::Diagnostics::Stderr => Some(Diagnostics::start(&mut ebpf)?),
        };
        Ok(Programs {
            diagnostics,
            reader: Reader::new(
                RingBuf::try_from(take(&mut ebpf, "RING")?)?,
                RingBuf::try_from(take(&mut ebpf, "SPARE")?)?,
                options.loss.map(|loss| Losing::new(loss, nonce)),
            ),
            counts: PerCpuArray::try_from(take(&mut ebpf, "COUNTS")?)?,
            root: Array::try_from(take(&mut ebpf, "ROOT")?)?,
            faults: Array::try_from(take(&mut ebpf, "FAULTS")?)?,
            wanted: HashMap::try_from(take(&mut ebpf, "AGAIN")?)?,
            ebpf,
            links,
            outcomes,
            coverage,
            nonce,
            start,
            skipped,
            missed: None,
        })
    }

    /// What became of every probe.
    pub fn outcomes(&self) -> &[(Probe, Outcome)] {
        &self.outcomes
    }

    /// Instructions that the verifier went through for a program; `None`: it is not loaded, or
    /// the kernel does not tell (before 5.16).
    pub fn verified(&self, program: &str) -> Option<u32> {
        let info = match self.ebpf.program(program)? {
            Program::BtfTracePoint(program) => program.info(),
            Program::Iter(program) => program.info(),
            _ => return None,
        };
        info.ok()?.verified_instruction_count()
    }

    /// What is seen of each family.
    pub fn coverage(&self) -> &[Coverage] {
        &self.coverage
    }

    /// The asker of identities. There is one.
    ///
    /// # Errors
    /// It was taken before.
    pub fn identities(&mut self) -> anyhow::Result<Identities> {
        let map: HashMap<MapData, u64, Value> =
            HashMap::try_from(take(&mut self.ebpf, "IDENTITY")?)?;
        Ok(Identities::new(self.nonce, map))
    }

    /// Watches processes that are there, from the next [`Programs::seed`] on.
    ///
    /// # Errors
    /// There are too many of them, or the programs were loaded for something else.
    pub fn target(&mut self, targets: impl Iterator<Item = (u32, u64)>) -> anyhow::Result<()> {
        let map = self.ebpf.map_mut("TARGETS").context("find map `TARGETS`")?;
        let mut map: HashMap<&mut MapData, u64, u8> = HashMap::try_from(map)?;
        for (ns_pid, start_ns) in targets {
            map.insert(target_key(ns_pid, start_ns), 1, 0)
                .context("note a target")?;
        }
        Ok(())
    }

    /// Reads what was there before attaching, once, by the task and task_file iterators: whole
    /// records, as from the ring. Every task that is found is watched from then on.
    ///
    /// # Errors
    /// The iterators cannot be read.
    pub fn seed(&mut self) -> anyhow::Result<Bytes> {
        seed::read(&mut self.ebpf)
    }

    /// Counters of a family, one for each CPU.
    fn family(&self, family: Family) -> anyhow::Result<Vec<FamilyCount>> {
        let values = self
            .counts
            .get(&(family as u32), 0)
            .with_context(|| format!("read the counters of family {}", family.name()))?;
        Ok(values.iter().map(|count| count.0).collect())
    }

    /// How often something went wrong: [`fault`].
    fn fault(&self, which: u32) -> anyhow::Result<u64> {
        self.faults
            .get(&which, 0)
            .context("read the fault counters")
    }

    /// What was read of a family from one CPU, and dropped on demand.
    fn read_of(&self, cpu: usize, family: Family) -> (u64, u64) {
        let dropped = self.reader.losing.as_ref();
        let dropped = dropped.map_or(0, |losing| losing.of(family as u8, cpu as u16));
        (self.reader.received.of(cpu, family as usize), dropped)
    }

    /// How often programs were to run and did not since the self-test; `None`: the kernel does
    /// not count.
    fn missed(&self) -> Option<u64> {
        let missed = missed_by(&self.ebpf, &self.links)?;
        Some(missed.saturating_sub(self.skipped))
    }

    /// Counts that do not add up, a clause each; none once all is read.
    fn unaccounted(&self) -> anyhow::Result<Vec<String>> {
        let mut clauses = Vec::new();
        for family in Family::ALL {
            for (cpu, count) in self.family(family)?.iter().enumerate() {
                let (received, dropped) = self.read_of(cpu, family);
                let missing = count.produced.wrapping_sub(received + count.lost + dropped);
                if missing != 0 {
                    clauses.push(format!(
                        "{missing} records of family {} from CPU {cpu} are neither read nor \
                         counted as lost",
                        family.name()
                    ));
                }
            }
        }
        Ok(clauses)
    }
}

/// How often attached programs were to run and did not; `None`: the kernel does not count.
fn missed_by(ebpf: &Ebpf, links: &BTreeMap<&'static str, FdLink>) -> Option<u64> {
    ebpf.programs()
        .filter(|(name, _)| links.contains_key(name))
        .map(|(_, program)| {
            let fd = program.fd().ok()?;
            statistics::missed(fd.as_fd()).ok()?
        })
        .try_fold(0u64, |sum, one| Some(sum + one?))
}

fn take(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<aya::maps::Map> {
    ebpf.take_map(name)
        .with_context(|| format!("find map `{name}` in the object"))
}

fn start(coverage: &[Coverage], probes: (u32, u32)) -> anyhow::Result<Start> {
    let (mnt_ns, ipc_ns) = host::namespaces().context("read our own namespaces")?;
    Ok(Start {
        tool: host::tool(),
        clock: host::clock().context("read the clocks")?,
        mnt_ns,
        ipc_ns,
        sysv_before: sysv_present().context("list SysV objects")?,
        mounts_before: mounts_present().context("list mounts")?,
        cgroup_roots: cgroup_roots().context("list mounts")?,
        self_pid: std::process::id(),
        coverage: coverage.to_vec(),
        probes,
        loss_is_marked: true,
        ..Start::default()
    })
}

impl Kernel for Programs {
    fn start(&self) -> Start {
        self.start.clone()
    }

    fn nonce(&self) -> u64 {
        self.nonce
    }

    fn root_held(&self) -> anyhow::Result<bool> {
        Ok(self.root.get(&0, 0).context("read the root")? != 0)
    }

    async fn next_batch(&mut self) -> anyhow::Result<Bytes> {
        if let Some(diagnostics) = &mut self.diagnostics {
            diagnostics.write();
        }
        self.reader.next_batch().await
    }

    fn drain(&mut self) -> anyhow::Result<Bytes> {
        Ok(self.reader.drain())
    }

    fn waiting(&mut self) -> anyhow::Result<Bytes> {
        seed::waiting(&mut self.ebpf)
    }

    fn counts(&mut self) -> anyhow::Result<Events> {
        let mut events = Events {
            not_run: self.missed.or_else(|| self.missed()),
            ..Events::default()
        };
        for family in Family::ALL {
            let mut of_family = FamilyEvents::default();
            for (cpu, count) in self.family(family)?.iter().enumerate() {
                let (received, dropped) = self.read_of(cpu, family);
                let by_cpu = events.by_cpu.entry(cpu as u32).or_default();
                by_cpu.produced += count.produced;
                by_cpu.received += received;
                by_cpu.lost += count.lost + dropped;
                of_family.received += received;
                of_family.lost += count.lost + dropped;
                events.produced += count.produced;
                events.vital_lost += count.vital;
            }
            events.received += of_family.received;
            events.lost += of_family.lost;
            events.by_family.insert(family.name().to_owned(), of_family);
        }
        let vital = self.reader.losing.as_ref().map_or(0, |losing| losing.vital);
        events.vital_lost += vital;
        events.stacks_left_out = self.fault(fault::STACK_LEFT_OUT)?;
        Ok(events)
    }

    fn faults(&self) -> anyhow::Result<Vec<String>> {
        let mut clauses = Vec::new();
        for (which, what) in [
            (
                fault::JOIN_FAILED,
                "tasks could not be taken in and were not watched",
            ),
            (fault::WALK_CUT, "walks of fd tables were cut short"),
            (
                fault::RING_NOT_FOLLOWED,
                "rings could not be followed to their end",
            ),
            (fault::LEAVE_FAILED, "tasks could not be forgotten"),
            (
                fault::UNATTRIBUTED,
                "records were lost of tasks that are not watched",
            ),
        ] {
            let count = self.fault(which)?;
            if count > 0 {
                clauses.push(format!("{count} {what}"));
            }
        }
        if self.links.is_empty() {
            clauses.extend(self.unaccounted()?);
        }
        Ok(clauses)
    }

    fn lost(&mut self) -> anyhow::Result<(u64, u64)> {
        let (mut lost, mut vital) = match &self.reader.losing {
            Some(losing) => (losing.all(), losing.vital),
            None => (0, 0),
        };
        for family in Family::ALL {
            for count in self.family(family)? {
                lost += count.lost;
                vital += count.vital;
            }
        }
        Ok((lost, vital))
    }

    fn reread(&mut self, pids: &[u32]) -> anyhow::Result<()> {
        for pid in pids.iter().take(WANTED) {
            self.wanted.insert(pid, 0, 0).context("ask for a process")?;
        }
        let read = seed::reread(&mut self.ebpf);
        self.reader.tell_marks();
        for pid in pids.iter().take(WANTED) {
            self.wanted
                .remove(pid)
                .context("take back what was asked for")?;
        }
        read
    }

    fn holders(&mut self, wanted: &[u64]) -> anyhow::Result<Vec<Holder>> {
        holders::find(&mut self.ebpf, wanted)
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        self.missed = self.missed();
        // Closing a link waits until no program of it runs any more.
        self.links.clear();
        Ok(())
    }
}
