//! Processes: who they are and what they have done so far.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use leaktrace_common::record::task::TaskFacts;

use super::{
    call::Followed,
    facts::{
        Class, Counts, EndFacts, Families, GivenBack, Kind, Refused, ReleaseFacts, SignalFacts,
        Trust,
    },
    hash::NumberMap,
    phase::Phase,
    scope::ScopedThread,
    snapshot::ExitRow,
    sweep::Sweep,
};
use crate::id::{KtimeNs, Pid, ProcessKey, TableId, Tid};

/// Place of a process in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ProcessId(u32);

/// How a process came to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// Made by one that was watched, or the held child.
    #[default]
    Born,
    /// Was there before.
    Preexisting,
    /// Was there before, and is what the run is about.
    Target,
}

/// One process.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) key: ProcessKey,
    pub(super) ns_pid: u32,
    pub(super) parent: ProcessKey,
    pub(super) origin: Origin,
    pub(super) comm: [u8; 16],
    pub(super) exe: Option<Bytes>,
    pub(super) argv: Vec<Bytes>,
    pub(super) cwd: Option<Bytes>,
    pub(super) uid: u32,
    pub(super) cgroup: u64,
    pub(super) mnt_ns: u32,
    pub(super) nofile: u64,
    pub(super) table: TableId,
    pub(super) mm: u64,
    pub(super) trust: Trust,
    pub(super) lost: Families,
    pub(super) lost_why: String,
    /// Threads that were there before, or were told of as if they had been.
    pub(super) seeded: BTreeSet<u32>,
    /// Threads whose end was told before their birth.
    pub(super) ended_early: BTreeSet<u32>,
    /// What was listed of its address space may not be of its time.
    pub(super) listing: Listing,
    /// Number of the record that last said that others were lost.
    pub(super) marked_at: u64,
    /// Number of the record that left in doubt what its fd table has ([`super::doubt`]); `None`:
    /// none has since the table was read.
    pub(super) doubted_at: Option<u64>,
    pub(super) born: KtimeNs,
    pub(super) exec: Option<KtimeNs>,
    pub(super) first_exec: Option<KtimeNs>,
    pub(super) threads: u32,
    /// Threads besides the one that called exit_group, then.
    pub(super) threads_at_exit: u32,
    /// What its calls tell; most processes make none of these.
    pub(super) followed: Option<Box<Followed>>,
    /// Those made within a scope that run, or ran when the process ended.
    pub(super) scoped_threads: Vec<ScopedThread>,
    /// Who made it, and which thread of that.
    pub(super) maker: Option<(ProcessKey, Tid)>,
    pub(super) children: u32,
    pub(super) exit_group: Option<KtimeNs>,
    /// `exit_mmap` of the address space it has, before its end was seen.
    pub(super) exit_mm: Option<KtimeNs>,
    pub(super) end: Option<Box<EndFacts>>,
    pub(super) reaped: Option<KtimeNs>,
    pub(super) gone: Gone,
    /// Its line among the last ends, once nothing of it changes any more.
    pub(super) row: Option<Box<ExitRow>>,
    /// Whether the once-per-process samples have been given.
    pub(super) sampled: Sampled,
    pub(super) counts: KindCounts,
    /// How many it held at its end of what is not told one by one.
    pub(super) held_beside: Vec<(Kind, u32)>,
    pub(super) given_back: Returns,
    pub(super) bytes_released: u64,
    pub(super) errors: u64,
    pub(super) refused: Vec<Refused>,
    pub(super) sweep: Sweep,
    pub(super) phase: Phase,
    /// The phase's releases in their long form, once the process has ended.
    pub(super) releases: Vec<ReleaseFacts>,
    pub(super) final_run: Option<KtimeNs>,
    pub(super) signals: Vec<SignalFacts>,
    /// The first request to end that was ignored.
    pub(super) unheard: Option<Box<SignalFacts>>,
    /// Bit n: signal n has a handler; ignored.
    pub(super) handled: u64,
    pub(super) ignored: u64,
    pub(super) unfollowed: u32,
}

/// Whether what is known of an address space is what the kernel has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Listing {
    /// As far as calls tell.
    #[default]
    Fits,
    /// It is a copy of one that was listed after the copy was made, or a call failed halfway: it
    /// is to be listed.
    Late,
}

/// Whether the kernel has given back the memory of the process's leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gone {
    /// Not that we know.
    #[default]
    No,
    /// It has: somebody has reaped it.
    Yes,
    /// It has, then, while its parent lived: so that one's wait took it, which may not have returned
    /// yet. Records are written as calls return, and a task that is not scheduled does not return.
    Taken(KtimeNs),
}

/// Whether the once-per-process samples have been given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sampled {
    /// Not yet.
    #[default]
    No,
    /// All but reap.
    End,
    /// All.
    Reap,
}

/// Whether a release leaves something of the thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Nothing.
    Whole,
    /// The rest of a mapping.
    Piece,
}

/// Refused releases that are told one by one.
const REFUSED: usize = 64;

impl Process {
    /// Whether neither its end was told nor that it has gone.
    pub(super) fn lives(&self) -> bool {
        self.end.is_none() && self.gone == Gone::No
    }

    /// From what the kernel tells of a task.
    pub(super) fn new(task: &TaskFacts, born: KtimeNs, origin: Origin) -> Process {
        let mut process = Process {
            key: key(task.pid, task.start_ns),
            born,
            origin,
            threads: 1,
            ..Process::default()
        };
        process.describe(task);
        process
    }

    /// Takes over what the kernel tells now.
    pub(super) fn describe(&mut self, task: &TaskFacts) {
        self.ns_pid = task.ns_pid;
        self.parent = key(task.parent_pid, task.parent_start_ns);
        self.comm = task.comm;
        self.uid = task.uid;
        self.cgroup = task.cgroup;
        self.nofile = task.nofile;
        self.table = TableId(task.table);
        self.mm = task.mm;
    }

    /// Notes a refused release.
    pub(super) fn refuse(&mut self, refused: Refused) {
        self.errors += 1;
        self.given_back.of(refused.class()).errors += 1;
        if self.refused.len() < REFUSED {
            self.refused.push(refused);
        }
    }

    /// Notes the duration of an explicit release.
    #[inline]
    pub(super) fn spent(&mut self, class: Class, ns: u64) {
        let given_back = self.given_back.of(class);
        given_back.ns += ns;
        given_back.timed += 1;
    }

    /// Counts an explicit release of something of its own, wholly or in part.
    #[inline]
    pub(super) fn gave_back(&mut self, kind: Kind, bytes: u64, extent: Extent) {
        let given_back = self.given_back.of(kind.class());
        given_back.bytes += bytes;
        if extent == Extent::Whole {
            given_back.released += 1;
            self.counts.released(kind);
        }
    }

    /// Loses trust in what these families tell, since this moment unless it was lost before.
    pub(super) fn taint(&mut self, since: KtimeNs, lost: Families, why: impl FnOnce() -> String) {
        if self.lost.is_empty() {
            self.lost_why = why();
        }
        self.lost = self.lost.and(lost);
        if let Some(followed) = &mut self.followed {
            followed.aio.doubt();
        }
        match &mut self.trust {
            Trust::Tainted { families, .. } => *families = families.and(lost),
            Trust::Sure | Trust::Reread { .. } => {
                self.trust = Trust::Tainted {
                    since,
                    families: lost,
                    why: self.lost_why.clone(),
                };
            }
        }
    }

    /// What these families tell has been read from the kernel.
    pub(super) fn reread(&mut self, at: KtimeNs, read: Families) {
        if let Trust::Tainted { families, .. } = &mut self.trust {
            *families = families.without(read);
            // What cannot be read again is told by `lost`.
            if families.both(Families::READABLE).is_empty() {
                self.trust = Trust::Reread { at };
            }
        }
    }
}

/// The key of a process.
pub(super) fn key(pid: u32, start_ns: u64) -> ProcessKey {
    ProcessKey {
        pid: Pid(pid),
        start: KtimeNs(start_ns),
    }
}

/// Figures by number, of which a process has few: those that it has lie together.
#[derive(Debug)]
struct Sparse<T, const N: usize> {
    /// One more than the place of each number's; 0: none.
    places: [u8; N],
    figures: Vec<T>,
}

impl<T, const N: usize> Default for Sparse<T, N> {
    fn default() -> Self {
        Sparse {
            places: [0; N],
            figures: Vec::new(),
        }
    }
}

impl<T: Copy + Default, const N: usize> Sparse<T, N> {
    #[inline]
    fn of(&mut self, number: usize) -> &mut T {
        if self.places[number] == 0 {
            self.begin(number);
        }
        &mut self.figures[usize::from(self.places[number]) - 1]
    }

    #[cold]
    fn begin(&mut self, number: usize) {
        self.figures.reserve_exact(1);
        self.figures.push(T::default());
        self.places[number] = self.figures.len() as u8;
    }

    fn get(&self, number: usize) -> T {
        let place = usize::from(self.places[number]).checked_sub(1);
        place.map_or_else(T::default, |place| self.figures[place])
    }
}

const _: () = assert!(Kind::COUNT < u8::MAX as usize);

/// What was given back, by class.
#[derive(Debug, Default)]
pub(super) struct Returns(Sparse<GivenBack, { Class::ALL.len() }>);

impl Returns {
    fn of(&mut self, class: Class) -> &mut GivenBack {
        self.0.of(class as usize)
    }

    /// As audit reads it.
    pub(super) fn facts(&self) -> BTreeMap<Class, GivenBack> {
        let all = Class::ALL.into_iter();
        all.map(|class| (class, self.0.get(class as usize)))
            .filter(|(_, it)| *it != GivenBack::default())
            .collect()
    }
}

/// How many of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    acquired: u32,
    released: u32,
    peak: u32,
}

/// Counts by kind.
#[derive(Debug, Default)]
pub(super) struct KindCounts(Sparse<Figures, { Kind::COUNT }>);

impl KindCounts {
    /// One more, and so many are held now.
    #[inline]
    pub(super) fn acquired(&mut self, kind: Kind, held: u32) {
        let figures = self.0.of(kind as usize);
        figures.acquired = figures.acquired.saturating_add(1);
        figures.peak = figures.peak.max(held);
    }

    /// One explicitly released.
    #[inline]
    pub(super) fn released(&mut self, kind: Kind) {
        let figures = self.0.of(kind as usize);
        figures.released = figures.released.saturating_add(1);
    }

    /// As audit reads them; `held` tells how many are held.
    pub(super) fn facts(&self, held: impl Fn(Kind) -> u64) -> BTreeMap<Kind, Counts> {
        let counts = Kind::ALL.iter().map(|kind| {
            let figures = self.0.get(*kind as usize);
            let held = held(*kind);
            let counts = Counts {
                acquired: u64::from(figures.acquired),
                released: u64::from(figures.released),
                held,
                peak: u64::from(figures.peak).max(held),
            };
            (*kind, counts)
        });
        counts
            .filter(|(_, counts)| *counts != Counts::default())
            .collect()
    }
}

/// All processes, live and ended.
#[derive(Debug, Default)]
pub(super) struct Processes {
    all: Vec<Option<Box<Process>>>,
    free: Vec<u32>,
    by_key: NumberMap<(u32, u64), ProcessId>,
    /// The one that was asked for last: most records come in rows from one process.
    last: Option<(u32, u64, ProcessId)>,
}

impl Processes {
    /// The process with this pid and start.
    #[inline]
    pub(super) fn find(&mut self, pid: u32, start_ns: u64) -> Option<ProcessId> {
        match self.last {
            Some((last_pid, last_start, id)) if last_pid == pid && last_start == start_ns => {
                Some(id)
            }
            _ => {
                let id = *self.by_key.get(&(pid, start_ns))?;
                self.last = Some((pid, start_ns, id));
                Some(id)
            }
        }
    }

    /// The process with this key.
    pub(super) fn find_key(&self, key: ProcessKey) -> Option<ProcessId> {
        self.by_key.get(&(key.pid.0, key.start.0)).copied()
    }

    /// Adds one.
    pub(super) fn add(&mut self, process: Process) -> ProcessId {
        let key = (process.key.pid.0, process.key.start.0);
        let process = Some(Box::new(process));
        let id = match self.free.pop() {
            Some(number) => {
                self.all[number as usize] = process;
                ProcessId(number)
            }
            None => {
                self.all.push(process);
                ProcessId(self.all.len() as u32 - 1)
            }
        };
        self.by_key.insert(key, id);
        id
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, id: ProcessId) -> Option<Box<Process>> {
        let process = self.all.get_mut(id.0 as usize)?.take()?;
        self.by_key
            .remove(&(process.key.pid.0, process.key.start.0));
        self.free.push(id.0);
        self.last = None;
        Some(process)
    }

    /// Reads one.
    #[inline]
    pub(super) fn get(&self, id: ProcessId) -> Option<&Process> {
        self.all.get(id.0 as usize)?.as_deref()
    }

    /// Changes one.
    #[inline]
    pub(super) fn get_mut(&mut self, id: ProcessId) -> Option<&mut Process> {
        self.all.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// All of them, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.all.iter().flatten().map(|process| &**process)
    }

    /// All of them, to change.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.all.iter_mut().flatten().map(|process| &mut **process)
    }
}
