//! Programs that run, and the reading of what they tell.

use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use leaktrace_common::{
    abi::{Answer, FamilyCount, Holder, fault},
    record::{FAMILY_SLOTS, Family},
};

use super::{
    engine::{Engine, Found},
    identity::{Asker, Identities},
    loss::Losing,
    mapped::Mapped,
    maps::SharedMap,
    options::LoadOptions,
    ring::Reader,
    ringbuf::RingBuffer,
};
use crate::{
    census::{
        Further, LiveCensus, cgroup_roots, host, mounts_present, process::Identity, sysv_present,
    },
    id::ProcessKey,
    report::{Coverage, Events, FamilyEvents},
    source::{Kernel, Start},
};

/// Processes that can be asked for at once.
pub const WANTED: usize = 1024;

/// Programs that are loaded and attached, here or by another process. Dropping them takes them out
/// of the kernel.
pub struct Programs {
    engine: Box<dyn Engine>,
    reader: Reader,
    counts: Mapped<FamilyCount>,
    root: Mapped<u64>,
    faults: Mapped<u64>,
    identity: Option<Mapped<Answer>>,
    /// Programs that are loaded later, as they are wanted, find them by their fds here.
    _maps: [SharedMap; 4],
    further: Option<Box<dyn Further>>,
    nonce: u64,
    start: Start,
    is_detached: bool,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl Programs {
    /// Reads what `engine` has loaded.
    pub(super) fn new(
        engine: Box<dyn Engine>,
        found: Found,
        further: Option<Box<dyn Further>>,
        options: &LoadOptions,
    ) -> anyhow::Result<Self> {
        let Found {
            maps,
            coverage,
            probes,
            nonce,
            loss_is_marked,
            untimed,
        } = found;
        Ok(Programs {
            engine,
            reader: Reader::new(
                RingBuffer::new(maps.ring)?,
                RingBuffer::new(maps.spare)?,
                options.loss.map(|loss| Losing::new(loss, nonce)),
            ),
            counts: Mapped::new(&maps.counts)?,
            root: Mapped::new(&maps.root)?,
            faults: Mapped::new(&maps.faults)?,
            identity: Some(Mapped::new(&maps.identity)?),
            _maps: [maps.counts, maps.root, maps.faults, maps.identity],
            further,
            nonce,
            start: Start {
                loss_is_marked,
                page_bytes: host::page_bytes(),
                untimed,
                ..start(coverage, probes)?
            },
            is_detached: false,
        })
    }

    /// What is asked after the fact. There is one.
    ///
    /// # Errors
    /// It was taken before, or its thread cannot be started.
    pub fn census(&mut self) -> anyhow::Result<LiveCensus> {
        let answers = self.identity.take().context("take the census twice")?;
        let identities = Identities::new(self.nonce, answers, Asker::Reader);
        LiveCensus::start(Box::new(identities), self.further.take()).context("start the census")
    }

    /// Watches processes that are there, from the next [`Programs::seed`] on.
    ///
    /// # Errors
    /// There are too many of them, the programs were loaded for something else, or they may not
    /// be watched.
    pub fn target(&mut self, targets: &[Identity]) -> anyhow::Result<()> {
        self.engine.target(targets)
    }

    /// Reads what was there before attaching, once, by the task and task_file iterators: whole
    /// records, as from the ring. Every task that is found is watched from then on.
    ///
    /// # Errors
    /// The iterators cannot be read.
    pub fn seed(&mut self) -> anyhow::Result<Bytes> {
        self.engine.seed()
    }

    /// $TMPDIR and the working directory of a process, as far as they can be told.
    pub fn place(&mut self, pid: u32) -> (Option<Vec<u8>>, Option<PathBuf>) {
        self.engine.place(pid)
    }

    /// Counters of a family, one for each CPU.
    fn family(&self, family: Family) -> impl Iterator<Item = FamilyCount> + '_ {
        let cpus = self.counts.len() / FAMILY_SLOTS;
        (0..cpus).filter_map(move |cpu| self.counts.get(cpu * FAMILY_SLOTS + family as usize))
    }

    /// How often something went wrong: [`fault`].
    fn fault(&self, which: u32) -> u64 {
        self.faults.get(which as usize).unwrap_or(0)
    }

    /// What was read of a family from one CPU, and dropped on demand.
    fn read_of(&self, cpu: usize, family: Family) -> (u64, u64) {
        let dropped = self.reader.losing.as_ref();
        let dropped = dropped.map_or(0, |losing| losing.of(family as u8, cpu as u16));
        (self.reader.received.of(cpu, family as usize), dropped)
    }

    /// Counts that do not add up, a clause each; none once all is read.
    fn unaccounted(&self) -> Vec<String> {
        let mut clauses = Vec::new();
        for family in Family::ALL {
            for (cpu, count) in self.family(family).enumerate() {
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
        clauses
    }
}

fn start(coverage: Vec<Coverage>, probes: (u32, u32)) -> anyhow::Result<Start> {
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
        coverage,
        probes,
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
        Ok(self.root.get(0).context("read the root")? != 0)
    }

    async fn next_batch(&mut self) -> anyhow::Result<Bytes> {
        self.engine.check()?;
        self.reader.next_batch().await
    }

    fn drain(&mut self) -> anyhow::Result<Bytes> {
        self.engine.check()?;
        Ok(self.reader.drain())
    }

    fn waiting(&mut self) -> anyhow::Result<Bytes> {
        self.engine.waiting()
    }

    fn counts(&mut self) -> anyhow::Result<Events> {
        let mut events = Events {
            not_run: self.engine.missed()?,
            ..Events::default()
        };
        for family in Family::ALL {
            let mut of_family = FamilyEvents::default();
            for (cpu, count) in self.family(family).enumerate() {
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
        events.stacks_left_out = self.fault(fault::STACK_LEFT_OUT);
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
            let count = self.fault(which);
            if count > 0 {
                clauses.push(format!("{count} {what}"));
            }
        }
        if self.is_detached {
            clauses.extend(self.unaccounted());
        }
        Ok(clauses)
    }

    fn lost(&mut self) -> anyhow::Result<(u64, u64)> {
        let (mut lost, mut vital) = match &self.reader.losing {
            Some(losing) => (losing.all(), losing.vital),
            None => (0, 0),
        };
        for family in Family::ALL {
            for count in self.family(family) {
                lost += count.lost;
                vital += count.vital;
            }
        }
        Ok((lost, vital))
    }

    fn reread(&mut self, pids: &[u32]) -> anyhow::Result<()> {
        let read = self.engine.reread(&pids[..pids.len().min(WANTED)]);
        self.reader.tell_marks();
        read
    }

    fn holders(&mut self, wanted: &[u64]) -> anyhow::Result<Vec<Holder>> {
        self.engine.holders(wanted)
    }

    fn mapped(&mut self, key: ProcessKey) -> Option<Bytes> {
        self.engine.mapped(key)
    }

    fn images(&mut self, key: ProcessKey) -> Option<Bytes> {
        self.engine.images(key)
    }

    fn gone(&mut self, key: ProcessKey) -> Option<Bytes> {
        self.engine.gone(key)
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        self.engine.detach()?;
        self.is_detached = true;
        Ok(())
    }
}
