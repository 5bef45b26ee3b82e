//! One fd table: numbers to open file descriptions.
//!
//! Slots live in pages of 16 numbers. A table of a few fds costs one page, one of half a million
//! has no half-empty vector, and a walk's part replaces a page's worth.

use std::collections::BTreeMap;

use super::{
    description::DescriptionId,
    facts::{How, Kind},
    rate::Rate,
    runtime::Part,
    trend::Trend,
};
use crate::id::ProcessKey;

/// One fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// When acquired; 0: not by us to know.
    pub(super) acquired: u64,
    /// Position in the model's sequence of acquisitions.
    pub(super) rank: u64,
    /// The description.
    pub(super) description: DescriptionId,
    /// Low half of the per-table sequence number; 0: not known.
    pub(super) seq: u32,
    /// Acquiring thread.
    pub(super) tid: u32,
    /// Acquiring syscall.
    pub(super) op: u8,
    /// In the table at fork, exec or attach.
    pub(super) inherited: Inherited,
    /// Whether it takes part in teardown.
    pub(super) part: Part,
    /// How it came; `None`: not known.
    pub(super) how: Option<How>,
}

/// Whether an fd was in the table at the task's fork, at its last exec, or at attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Inherited {
    /// It was.
    Yes,
    /// It came later.
    #[default]
    No,
}

const _: () = assert!(size_of::<Slot>() == 32);

/// Numbers in a page.
const PAGE: u32 = 16;
/// A range of fewer numbers is looked at number by number.
const FEW: u32 = 64;
/// Pages that stay once they are there.
const KEPT: u32 = 16;
/// Pages that are found by position; those of higher numbers are in a tree, so that an fd of a
/// thousand million does not cost a directory of that length.
const NEAR: u32 = 1 << 16;

/// Slots without a release and releases without a slot that wait in one table. More than a few
/// wait only when records were lost, and then the table is wrong anyway.
const WAITING: usize = 256;

#[derive(Clone, Debug)]
struct Page {
    open: u16,
    /// Numbers that the process acquired and gave back, open again or not.
    given_back: u16,
    slots: [Slot; PAGE as usize],
}

const EMPTY: Slot = Slot {
    acquired: 0,
    rank: 0,
    description: DescriptionId(0),
    seq: 0,
    tid: 0,
    op: 0,
    inherited: Inherited::No,
    part: Part::Takes,
    how: None,
};

const BLANK: Page = Page {
    open: 0,
    given_back: 0,
    slots: [EMPTY; PAGE as usize],
};

impl Slot {
    /// Whether it is inherited, in a table that inherited what has a lower rank: fd 0 to 2 always are.
    #[inline]
    fn is_inherited(&self, fd: u32, below: u64) -> bool {
        fd <= 2 || self.inherited == Inherited::Yes || self.rank < below
    }
}

impl Page {
    /// Notes that the process has given back what it acquired.
    #[inline]
    fn give_back(&mut self, fd: u32, slot: &Slot, inherited_below: u64) {
        let own = slot.acquired != 0 && !slot.is_inherited(fd, inherited_below);
        self.given_back |= u16::from(own) << (fd % PAGE);
    }
}

/// A release that was to come later or earlier than we see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) fd: u32,
    pub(super) file: u64,
    pub(super) seq: u32,
    /// The releasing call.
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) tid: u32,
}

/// Counts of the open fds of one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// All of them.
    pub(super) all: u32,
    /// Most at one time.
    pub(super) peak: u32,
    /// By kind.
    pub(super) by_kind: [u32; Kind::COUNT],
    /// By kind, without the inherited ones.
    pub(super) own: [u32; Kind::COUNT],
}

impl Default for Open {
    fn default() -> Self {
        Open {
            all: 0,
            peak: 0,
            by_kind: [0; Kind::COUNT],
            own: [0; Kind::COUNT],
        }
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table {
    near: Vec<Option<Box<Page>>>,
    far: BTreeMap<u32, Box<Page>>,
    /// Counts of what is open.
    pub(super) open: Open,
    /// Tasks that use it, as far as seen.
    pub(super) tasks: u32,
    /// The process of the last one that is known to have used it.
    pub(super) user: ProcessKey,
    /// Slots with a lower rank are inherited.
    pub(super) inherited_below: u64,
    /// Slots that a later acquisition of their number pushed out, until their releases come.
    pub(super) displaced: Vec<(u32, Slot)>,
    /// Releases of what is not in the table, until their acquisitions come.
    pub(super) parked: Vec<Parked>,
    /// How `open.all` goes over the last seconds.
    pub(super) rate: Rate,
    /// How it goes over its whole life.
    pub(super) trend: Trend,
}

/// Whether sequence number `a` is after `b`; true where one is not known.
#[inline]
pub(super) fn after(a: u32, b: u32) -> bool {
    a == 0 || b == 0 || (a.wrapping_sub(b) as i32) > 0
}

impl Table {
    /// The slot of a number.
    #[inline]
    pub(super) fn get(&self, fd: u32) -> Option<&Slot> {
        let page = self.page(fd / PAGE)?;
        let place = fd % PAGE;
        (page.open & (1 << place) != 0).then(|| &page.slots[place as usize])
    }

    /// Whether the process has acquired this number and given it back before. Known as long as the
    /// numbers beside it are in use. It may be open again: while one thread opens it, another's
    /// close that came before may be told after.
    pub(super) fn was_given_back(&self, fd: u32) -> bool {
        self.page(fd / PAGE)
            .is_some_and(|page| page.given_back & (1 << (fd % PAGE)) != 0)
    }

    /// Puts a slot and gives back the one that was there.
    #[inline]
    pub(super) fn put(&mut self, fd: u32, slot: Slot, kind: Kind) -> Option<Slot> {
        let own = !self.is_inherited(fd, &slot);
        let page = match fd / PAGE {
            near if near < NEAR => {
                let near = near as usize;
                if near >= self.near.len() {
                    self.near.resize_with(near + 1, || None);
                }
                self.near[near].get_or_insert_with(|| Box::new(BLANK))
            }
            far => self.far.entry(far).or_insert_with(|| Box::new(BLANK)),
        };
        let place = fd % PAGE;
        let old = page.open & (1 << place) != 0;
        let old = old.then_some(page.slots[place as usize]);
        page.open |= 1 << place;
        page.slots[place as usize] = slot;
        self.open.all += u32::from(old.is_none());
        self.open.peak = self.open.peak.max(self.open.all);
        self.open.by_kind[kind as usize] += 1;
        self.open.own[kind as usize] += u32::from(own);
        old
    }

    /// Takes a slot out. Its kind is that of its description.
    #[inline]
    pub(super) fn take(&mut self, fd: u32, kind: Kind) -> Option<Slot> {
        let place = fd % PAGE;
        let inherited_below = self.inherited_below;
        let page = self.page_mut(fd / PAGE)?;
        if page.open & (1 << place) == 0 {
            return None;
        }
        page.open &= !(1 << place);
        let slot = page.slots[place as usize];
        page.give_back(fd, &slot, inherited_below);
        if page.open == 0 {
            self.drop_page(fd / PAGE);
        }
        self.open.all -= 1;
        self.uncount(fd, &slot, kind);
        Some(slot)
    }

    /// Takes one of the slots that were pushed out, whose release has come.
    pub(super) fn take_displaced(&mut self, place: usize) -> Slot {
        let (fd, slot) = self.displaced.remove(place);
        let inherited_below = self.inherited_below;
        if let Some(page) = self.page_mut(fd / PAGE) {
            page.give_back(fd, &slot, inherited_below);
        }
        slot
    }

    /// Takes a slot that another has replaced out of the counts by kind.
    #[inline]
    pub(super) fn uncount(&mut self, fd: u32, slot: &Slot, kind: Kind) {
        let own = !self.is_inherited(fd, slot);
        self.open.by_kind[kind as usize] -= 1;
        self.open.own[kind as usize] -= u32::from(own);
    }

    /// Keeps a slot that another has pushed out. Gives back the one that has waited longest, if
    /// too many wait.
    pub(super) fn displace(&mut self, fd: u32, slot: Slot) -> Option<(u32, Slot)> {
        self.displaced.push((fd, slot));
        (self.displaced.len() > WAITING).then(|| self.displaced.remove(0))
    }

    /// Keeps a release that found nothing.
    pub(super) fn park(&mut self, release: Parked) {
        if self.parked.len() >= WAITING {
            self.parked.remove(0);
        }
        self.parked.push(release);
    }

    /// Whether a slot is inherited: fd 0 to 2 always are.
    #[inline]
    pub(super) fn is_inherited(&self, fd: u32, slot: &Slot) -> bool {
        slot.is_inherited(fd, self.inherited_below)
    }

    /// From here on everything in the table is inherited.
    pub(super) fn inherit_all(&mut self, next_rank: u64) {
        self.inherited_below = next_rank;
        self.open.own = [0; Kind::COUNT];
        let near = self.near.iter_mut().flatten();
        for page in near.chain(self.far.values_mut()) {
            page.given_back = 0;
        }
    }

    /// The open numbers and their slots, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        let near = self.near.iter().enumerate();
        let near = near.filter_map(|(number, page)| Some((number as u32, page.as_deref()?)));
        let far = self.far.iter().map(|(number, page)| (*number, &**page));
        near.chain(far).flat_map(|(number, page)| {
            (0..PAGE)
                .filter(|place| page.open & (1 << place) != 0)
                .map(move |place| (number * PAGE + place, &page.slots[place as usize]))
        })
    }

    /// The open numbers from `first` to `last`, ascending.
    pub(super) fn numbers(&self, first: u32, last: u32) -> Vec<u32> {
        if last.saturating_sub(first) < FEW {
            let open = |fd: &u32| self.get(*fd).is_some();
            return (first..=last).filter(open).collect();
        }
        // Most ranges end at the highest possible number: going through what is open is cheaper.
        let in_range = |fd: &u32| (first..=last).contains(fd);
        self.iter().map(|(fd, _)| fd).filter(in_range).collect()
    }

    /// A copy for a task that got its own. The caller counts the references of descriptions.
    pub(super) fn copy(&self) -> Table {
        let mut copy = Table {
            near: self.near.clone(),
            far: self.far.clone(),
            open: self.open,
            inherited_below: self.inherited_below,
            rate: self.rate,
            ..Table::default()
        };
        // The copy has a sequence of its own, with which these numbers cannot be compared.
        let near = copy.near.iter_mut().flatten();
        for page in near.chain(copy.far.values_mut()) {
            page.slots.iter_mut().for_each(|slot| slot.seq = 0);
        }
        copy
    }

    /// Everything in it is inherited by fork.
    pub(super) fn forked(&mut self, next_rank: u64) {
        self.inherit_all(next_rank);
        let near = self.near.iter_mut().flatten();
        for page in near.chain(self.far.values_mut()) {
            let slots = page.slots.iter_mut();
            slots.for_each(|slot| slot.how = Some(How::Fork));
        }
    }

    /// An empty table in the place of this one.
    pub(super) fn successor(&self) -> Table {
        Table {
            tasks: self.tasks,
            user: self.user,
            rate: self.rate,
            trend: self.trend.clone(),
            inherited_below: self.inherited_below,
            ..Table::default()
        }
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        let pages = self.near.iter().flatten().count() + self.far.len();
        size_of::<Table>()
            + self.near.capacity() * size_of::<usize>()
            + pages * size_of::<Page>()
            + self.far.len() * 2 * size_of::<usize>()
            + self.displaced.capacity() * size_of::<(u32, Slot)>()
            + self.trend.bytes()
            + self.parked.capacity() * size_of::<Parked>()
    }

    #[inline]
    fn page(&self, number: u32) -> Option<&Page> {
        match number {
            near if near < NEAR => self.near.get(near as usize)?.as_deref(),
            far => self.far.get(&far).map(|page| &**page),
        }
    }

    #[inline]
    fn page_mut(&mut self, number: u32) -> Option<&mut Page> {
        match number {
            near if near < NEAR => self.near.get_mut(near as usize)?.as_deref_mut(),
            far => self.far.get_mut(&far).map(|page| &mut **page),
        }
    }

    /// Gives a page without open fds back, unless it is one of the first: fd 3 comes and goes, and
    /// what was there tells a second close from one of a number that was never open.
    fn drop_page(&mut self, number: u32) {
        if number < KEPT {
            return;
        }
        if number >= NEAR {
            self.far.remove(&number);
        } else if number as usize + 1 == self.near.len() {
            // A program that opens and closes the first fd of a page would pay for it each
            // time, so the last page stays; those before it go.
        } else {
            self.near[number as usize] = None;
        }
    }
}
