//! Looking whether our tables are the kernel's.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context;
use leaktrace_common::record::ipc::what;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Live, Watched, mend::Haste};
use crate::{
    census::{self, Census, holdings},
    id::ProcessKey,
    launch::{Freezer, Status, signals},
    parity::Parity,
    parity::{self, Difference, Holdings, Look, Tree, What},
    source::Kernel,
};

/// When to look at a tree.
#[derive(Clone, Copy, Debug)]
pub enum When<'a> {
    /// So often.
    Every(Duration),
    /// So often, and everyone stands still meanwhile.
    Frozen(Duration, &'a Freezer),
    /// Whenever every process of it has stopped itself; then they go on.
    Stopped,
}

/// How often is seen whether a tree has stopped.
const STOP_LOOK: Duration = Duration::from_millis(1);

/// Waits between the tries of one look: what a system call is in the middle of differs once, and
/// a process that is not scheduled stays there for a while.
const TRIES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
];

impl<K: Kernel, C: Census> Live<K, C> {
    /// Compares the tables of the chosen processes that live with what the kernel lists.
    ///
    /// # Errors
    /// Records or /proc cannot be read.
    pub async fn look(&mut self, chosen: impl Fn(ProcessKey) -> bool) -> anyhow::Result<Look> {
        let mut look: Option<Look> = None;
        for wait in TRIES {
            sleep(wait).await;
            let next = self.look_once(&chosen)?;
            let differences = match look.take() {
                None => next.differences,
                Some(last) => in_both(last.differences, next.differences),
            };
            let done = differences.is_empty();
            look = Some(Look {
                differences,
                ..next
            });
            if done {
                break;
            }
        }
        look.context("no look was made")
    }

    /// Runs until CMD's root process was reaped, and looks at its tree meanwhile.
    ///
    /// # Errors
    /// Records or /proc cannot be read, or the child not be waited for.
    pub async fn watch_and_look(
        &mut self,
        watched: &Watched,
        when: When<'_>,
        parity: &mut Parity,
    ) -> anyhow::Result<Status> {
        let ended = watched.child.wait();
        tokio::pin!(ended);
        let mut time = interval(match when {
            When::Every(time) | When::Frozen(time, _) => time,
            When::Stopped => STOP_LOOK,
        });
        time.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick comes at once, before CMD is anything to look at.
        time.tick().await;
        loop {
            tokio::select! {
                biased;
                status = &mut ended => return status.context("wait for CMD"),
                received = signals::next(&watched.signals) => {
                    watched.pass_on(received.context("read signals")?);
                }
                _ = time.tick() => match when {
                    When::Every(_) => parity.add(self.look(|_| true).await?),
                    When::Frozen(_, freezer) => self.look_at_frozen(freezer, parity).await?,
                    When::Stopped => self.look_if_stopped(parity).await?,
                },
                batch = self.next_batch() => {
                    let batch = batch?;
                    self.take(crate::source::Item::Records(batch));
                    self.mend(Haste::InTurn)?;
                }
            }
        }
    }

    /// Who cannot be frozen is looked at next time.
    async fn look_at_frozen(
        &mut self,
        freezer: &Freezer,
        parity: &mut Parity,
    ) -> anyhow::Result<()> {
        let frozen = freezer.freeze().context("freeze CMD's processes")?;
        if frozen.is_some() {
            let look = self.look(|_| true).await?;
            parity.add(Look {
                tree: Tree::Stopped,
                ..look
            });
        }
        drop(frozen);
        Ok(())
    }

    async fn look_if_stopped(&mut self, parity: &mut Parity) -> anyhow::Result<()> {
        let Some(root) = self.pipeline().model().root_key() else {
            return Ok(());
        };
        if holdings::is_stopped(root) != Some(true) {
            return Ok(());
        }
        // Asked of the kernel: one that we do not know of has to go on too.
        let below = holdings::descendants(root.pid);
        if below.iter().any(|pid| !holdings::has_stopped(*pid)) {
            return Ok(());
        }
        parity.add(self.look(|_| true).await?);
        for pid in below.into_iter().chain([root.pid]) {
            // It is stopped, so it is still that one.
            if let Some(pid) = rustix::process::Pid::from_raw(pid.0.cast_signed()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
            }
        }
        Ok(())
    }

    /// Waits until every process of the tree has ended, and takes their last records.
    ///
    /// # Errors
    /// Records cannot be read.
    pub async fn outlast(&mut self, most: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + most;
        loop {
            self.drain_all()?;
            let lives = self
                .pipeline()
                .model()
                .living()
                .any(|key| holdings::is_stopped(key).is_some());
            if !lives || Instant::now() >= deadline {
                return self.drain_all();
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn look_once(&mut self, chosen: &impl Fn(ProcessKey) -> bool) -> anyhow::Result<Look> {
        self.drain_all()?;
        self.mend(Haste::Now)?;
        let keys: Vec<ProcessKey> = self
            .pipeline()
            .model()
            .living()
            .filter(|key| chosen(*key))
            .collect();
        let before: Vec<_> = keys
            .into_iter()
            .map(|key| Ok((key, holdings::read(key)?)))
            .collect::<std::io::Result<_>>()
            .context("read /proc")?;
        let segments = census::segments().context("read /proc/sysvipc")?;
        let objects = census::sysv_present().context("read /proc/sysvipc")?;
        self.drain_all()?;
        let mut look = Look {
            tree: Tree::Stopped,
            compared: 0,
            processes: 0,
            differences: Vec::new(),
        };
        let mut pids = BTreeSet::new();
        for (key, before) in before {
            pids.insert(key.pid.0);
            self.look_at(key, before.as_ref(), &mut look)?;
        }
        self.look_at_ipc(&pids, &segments, &objects, &mut look)?;
        Ok(look)
    }

    fn look_at(
        &self,
        key: ProcessKey,
        before: Option<&Holdings>,
        look: &mut Look,
    ) -> anyhow::Result<()> {
        let model = self.pipeline().model();
        // None: it has ended, which the last records tell.
        let Some(mut ours) = model.holdings(key) else {
            return Ok(());
        };
        look.processes += 1;
        if holdings::is_stopped(key) != Some(true) {
            look.tree = Tree::Running;
        }
        let after = holdings::read(key).context("read /proc")?;
        let (Some(before), Some(after)) = (before, after) else {
            if before.is_none() {
                look.differences.push(Difference {
                    process: key,
                    comm: model.comm(key),
                    what: What::Process,
                    ours: Some("it lives".to_owned()),
                    kernel: None,
                });
            }
            return Ok(());
        };
        let mut known = model.pids();
        // leaktrace itself is not watched.
        known.insert(std::process::id());
        // Orphans have a new parent without a word from the kernel, but a child whose parent lives
        // stays that parent's.
        ours.children = before.children.intersection(&known).copied().collect();
        if holdings::tells_children() {
            ours.children.extend(model.children(key));
        }
        look.compared += before.len();
        let comm = model.comm(key);
        let found = parity::compare(key, &comm, before, &ours, &after);
        look.differences.extend(found);
        Ok(())
    }

    /// SysV objects that we know must be there, and segments that the processes made must be
    /// known. Who made a semaphore or a queue the kernel does not tell.
    fn look_at_ipc(
        &self,
        pids: &BTreeSet<u32>,
        segments: &[census::Segment],
        objects: &[(u32, i32)],
        look: &mut Look,
    ) -> anyhow::Result<()> {
        let ours = self.pipeline().model().sysv(self.pipeline().start().ipc_ns);
        let later = census::sysv_present().context("read /proc/sysvipc")?;
        look.compared += ours.len() as u64;
        let mut tell = |(what, id): (u32, i32), ours: Option<&str>, kernel: Option<&str>| {
            look.differences.push(Difference {
                process: ProcessKey::default(),
                comm: String::new(),
                what: What::Ipc {
                    kind: match what {
                        what::SHM => "shm",
                        what::SEM => "sem",
                        _ => "msg",
                    },
                    id,
                },
                ours: ours.map(str::to_owned),
                kernel: kernel.map(str::to_owned),
            });
        };
        let gone = |key: &&(u32, i32)| !objects.contains(key) && !later.contains(key);
        for key in ours.iter().filter(gone) {
            tell(*key, Some("it is there"), None);
        }
        for segment in segments {
            let key = (what::SHM, segment.id);
            let is_theirs = pids.contains(&segment.creator) && !segment.dying;
            let was_before = self.pipeline().start().sysv_before.contains(&key);
            if is_theirs && !was_before && later.contains(&key) && !ours.contains(&key) {
                tell(key, None, Some("it is there"));
            }
        }
        Ok(())
    }
}

fn in_both(mut last: Vec<Difference>, next: Vec<Difference>) -> Vec<Difference> {
    last.retain(|difference| next.contains(difference));
    last
}
