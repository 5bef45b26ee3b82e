//! Contexts of aio, and how many requests each has in flight.
//!
//! The kernel counts the completions of a context modulo the places of its ring (`tail` in `struct
//! kioctx`, fs/aio.c, v6.18), and always has one place more than requests may be in flight. So what
//! io_submit(2) has returned so far minus that count, modulo the places, is how many are in flight,
//! whether their completions are taken by io_getevents(2) or read from the ring in user space.
//!
//! Nothing is claimed of a context whose making was not seen, of one whose records may be missing,
//! of one that another process may use too, nor of a moment in which a thread was in io_submit.
//! Which requests are in flight is not known: they are taken for the last that were submitted, so
//! that they are told to be in flight for no longer than they are.

use std::collections::{BTreeMap, VecDeque};

use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        call::Call,
        ring::{AioState, aio_cause},
    },
};

use super::{
    Model,
    conduct::{Conduct, Hazard, HazardKind, TOLD, Wait, tell},
    facts::{Held, Kind, ResourceFacts},
    phase::Logged,
    process::{Extent, Process, ProcessId},
    thing::Thing,
};
use crate::id::{KtimeNs, Tid};

/// Calls of io_submit that are remembered with their time; older requests are told to be younger.
const RECENT: usize = 1_024;

/// What the kernel says of a context is read a moment before or after the record has its time.
const SLACK_NS: u64 = 1_000_000;

/// As long as a call may go on without being told of as one that waits, and a bit: an io_submit
/// that has not returned is known of by then.
const SETTLED_NS: u64 = 1_200_000_000;

/// Requests in flight for a shorter time are not told, as with calls.
const LONG_NS: u64 = 1_000_000_000;

/// The aio contexts of a process.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    by_id: BTreeMap<u64, Aio>,
    /// Those that it destroyed with requests in flight, at most 64.
    destroyed: Vec<(u64, Aio)>,
}

/// An aio context.
#[derive(Debug)]
struct Aio {
    acquired: u64,
    tid: u32,
    rank: u64,
    /// What was asked for; the kernel makes more places.
    entries: u64,
    /// Requests so far.
    submitted: u64,
    recent: VecDeque<Submitted>,
    /// What the kernel said last, until it is sure that it was not said amid an io_submit.
    seen: Option<Seen>,
    /// The longest that a request was seen to be in flight.
    longest: Option<Wait>,
    /// How many records were lost when it was made; `None`: some of its own may be missing.
    lost: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Submitted {
    at: u64,
    count: u64,
    tid: u32,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: u64,
    cause: u32,
    in_flight: u32,
    /// The submission that the oldest of them came with, or a later one.
    oldest: Submitted,
}

impl Contexts {
    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// Records of the process may be missing.
    pub(super) fn doubt(&mut self) {
        for aio in self.all_mut() {
            aio.lost = None;
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Aio> {
        let destroyed = self.destroyed.iter_mut().map(|(_, aio)| aio);
        self.by_id.values_mut().chain(destroyed)
    }
}

impl Aio {
    fn thing(&self, id: u64) -> Thing {
        Thing {
            op: Op::IO_SETUP,
            tid: self.tid,
            address: id,
            acquired: self.acquired,
            // `struct io_event` is 32 bytes (include/uapi/linux/aio_abi.h).
            bytes: self.entries * 32,
            ..Thing::of(Kind::Aio)
        }
    }

    fn submit(&mut self, begin: u64, submitted: Submitted) {
        // The kernel was asked while this call went on, or just about then.
        self.seen = self
            .seen
            .filter(|seen| seen.at.saturating_add(SLACK_NS) < begin);
        self.submitted = self.submitted.saturating_add(submitted.count);
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(submitted);
    }

    /// What the kernel's count means; `None`: nothing is in flight, or that is not known.
    fn see(&self, header: &Header, state: &AioState) -> Option<Seen> {
        let (at, places) = (header.time_ns, u64::from(state.entries));
        // What the thread did that was asked, it did before; another one may have done it after.
        let by = (state.cause != aio_cause::LOOK).then_some(header.tid);
        let lately = self.recent.iter().rev();
        let mut lately = lately.take_while(|call| call.at.saturating_add(SLACK_NS) > at);
        if places == 0 || lately.any(|call| Some(call.tid) != by) {
            return None;
        }
        let in_flight =
            (self.submitted % places + places - u64::from(state.tail) % places) % places;
        if in_flight == 0 || in_flight > self.submitted {
            return None;
        }
        let mut counted = 0_u64;
        let oldest = self.recent.iter().rev().find(|call| {
            counted = call.count.saturating_add(counted);
            counted >= in_flight
        });
        Some(Seen {
            at,
            cause: state.cause,
            in_flight: u32::try_from(in_flight).ok()?,
            oldest: *oldest.or(self.recent.front())?,
        })
    }

    /// The longest that a request was in flight, with what was seen last if that is sure by now.
    fn longest(&self, now: u64, facts: impl FnOnce() -> ResourceFacts) -> Option<Wait> {
        let seen = self.seen.filter(|seen| {
            seen.cause == aio_cause::LOOK
                && seen.at.saturating_add(SETTLED_NS) <= now
                && seen.at.saturating_sub(seen.oldest.at) >= LONG_NS
        });
        let took = |wait: &Wait| wait.until.0 - wait.begin.0;
        let known = self.longest.as_ref();
        match seen {
            Some(seen) if known.is_none_or(|known| took(known) < seen.at - seen.oldest.at) => {
                Some(Wait {
                    op: Op::AIO_REQUEST,
                    tid: Tid(seen.oldest.tid),
                    begin: KtimeNs(seen.oldest.at),
                    until: KtimeNs(seen.at),
                    returned: false,
                    resource: Some(facts()),
                })
            }
            _ => known.cloned(),
        }
    }

    /// The hazard of its end: `None` without one, or as long as that is not sure.
    fn hazard(
        &self,
        cause: u32,
        now: u64,
        facts: impl FnOnce() -> ResourceFacts,
    ) -> Option<Hazard> {
        let seen = self.seen?;
        (seen.cause == cause && seen.at.saturating_add(SETTLED_NS) <= now).then(|| Hazard {
            what: HazardKind::RingInFlight(seen.in_flight),
            at: KtimeNs(seen.at),
            resource: facts(),
            other: None,
        })
    }
}

impl Model {
    pub(super) fn aio_setup(&mut self, header: &Header, id: ProcessId, call: &Call) {
        // The kernel maps its ring by itself (aio_setup_ring in fs/aio.c).
        let mm = self.processes.get(id).map_or(0, |process| process.mm);
        if let Some(space) = self.spaces.get_mut(&mm) {
            space.image = None;
        }
        let rank = self.next_rank;
        self.next_rank += 1;
        let aio = Aio {
            acquired: header.time_ns,
            tid: header.tid,
            rank,
            entries: call.arguments[0] & 0xffff_ffff,
            submitted: 0,
            recent: VecDeque::new(),
            seen: None,
            longest: None,
            lost: Some(self.lost),
        };
        let all = &mut self.follow(id).aio.by_id;
        all.insert(call.value, aio);
        let held = all.len() as u32;
        if let Some(process) = self.processes.get_mut(id) {
            process.counts.acquired(Kind::Aio, held);
            process.phase.acquired(rank);
        }
    }

    pub(super) fn aio_submitted(&mut self, header: &Header, id: ProcessId, call: &Call) {
        let context = call.arguments[0];
        let submitted = Submitted {
            at: header.time_ns,
            count: u64::try_from(call.result).unwrap_or(0),
            tid: header.tid,
        };
        let contexts = &mut self.follow(id).aio;
        let mut known = contexts
            .by_id
            .get_mut(&context)
            .into_iter()
            .collect::<Vec<_>>();
        let destroyed = contexts.destroyed.iter_mut();
        known.extend(
            destroyed
                .filter(|(other, _)| *other == context)
                .map(|(_, aio)| aio),
        );
        if known.is_empty() {
            self.aio_of_others(id, context);
            return;
        }
        for aio in known {
            aio.submit(call.begin_ns, submitted);
        }
    }

    /// A process has submitted to a context that is not its own: of one that it shares its memory
    /// with, if it is of any that is known.
    fn aio_of_others(&mut self, id: ProcessId, context: u64) {
        let mm = self.processes.get(id).map_or(0, |process| process.mm);
        let Some(space) = self.spaces.get(&mm) else {
            return;
        };
        for user in space.users.clone() {
            let followed = self
                .processes
                .get_mut(user)
                .and_then(|p| p.followed.as_mut());
            if let Some(aio) = followed.and_then(|f| f.aio.by_id.get_mut(&context)) {
                aio.lost = None;
            }
        }
    }

    pub(super) fn aio_state(&mut self, header: &Header, state: &AioState) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        let (at, names) = (header.time_ns, &self.names);
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let sure = is_sure(self.lost);
        let blocked = process
            .followed
            .as_ref()
            .and_then(|f| in_submit(&f.conduct));
        let Some(followed) = &mut process.followed else {
            return;
        };
        let Some(aio) = followed.aio.by_id.get_mut(&state.context) else {
            return;
        };
        if !sure(aio) {
            aio.seen = None;
            return;
        }
        if state.cause == aio_cause::LOOK {
            // What was seen before is not sure yet: it is what counts.
            if aio
                .seen
                .is_some_and(|seen| seen.at.saturating_add(SETTLED_NS) > at)
            {
                return;
            }
        }
        if blocked.is_none_or(|begin| aio.seen.is_none_or(|seen| begin > seen.at)) {
            let thing = aio.thing(state.context);
            let longest = aio.longest(at, || thing.facts(names));
            // Whether it still goes on is for what is seen now to say.
            aio.longest = longest.map(|wait| Wait {
                returned: true,
                ..wait
            });
        }
        aio.seen = aio.see(header, state);
    }

    pub(super) fn aio_destroy(&mut self, header: &Header, id: ProcessId, call: &Call) {
        let context = call.arguments[0];
        let contexts = &mut self.follow(id).aio;
        let Some(aio) = contexts.by_id.remove(&context) else {
            return;
        };
        let thing = aio.thing(context);
        let rank = aio.rank;
        if contexts.destroyed.len() < TOLD && (aio.seen.is_some() || aio.longest.is_some()) {
            contexts.destroyed.push((context, aio));
        }
        let next_rank = self.next_rank;
        let duration = header.time_ns.saturating_sub(call.begin_ns);
        let release = Logged {
            thing,
            rank,
            released: header.time_ns,
            by: header.tid,
            duration,
            place: 0,
        };
        if let Some(process) = self.processes.get_mut(id) {
            process.spent(Kind::Aio.class(), duration);
            process.bytes_released += release.thing.bytes;
            process.gave_back(Kind::Aio, release.thing.bytes, Extent::Whole);
            process.phase.released(release, next_rank, &mut self.names);
        }
    }

    /// aio contexts that a process leaves.
    pub(super) fn held_aio(&self, id: ProcessId) -> Vec<Held> {
        let followed = self.processes.get(id).and_then(|p| p.followed.as_ref());
        let contexts = followed
            .into_iter()
            .flat_map(|followed| &followed.aio.by_id);
        let held = contexts.map(|(context, aio)| Held {
            resource: aio.thing(*context).facts(&self.names),
            ..Held::default()
        });
        held.collect()
    }

    /// What is told of a context of a process.
    pub(super) fn aio_context(&self, id: ProcessId, context: u64) -> Option<ResourceFacts> {
        let followed = self.processes.get(id)?.followed.as_ref()?;
        let aio = followed.aio.by_id.get(&context)?;
        Some(aio.thing(context).facts(&self.names))
    }

    /// Requests in flight, of what still is, and of what has gone. `now` is behind all times for a
    /// process that ends: none of its calls goes on.
    pub(super) fn settle_aio(&self, process: &Process, now: KtimeNs, conduct: &mut Conduct) {
        let Some(followed) = &process.followed else {
            return;
        };
        let space = self.spaces.get(&process.mm);
        if space.is_some_and(|space| space.users.len() > 1) {
            return;
        }
        let sure = is_sure(self.lost);
        let blocked = in_submit(conduct);
        let contexts = &followed.aio;
        let open = contexts.by_id.iter();
        let open = open.map(|(id, aio)| (*id, aio, aio_cause::EXIT));
        let gone = contexts.destroyed.iter();
        let gone = gone.map(|(id, aio)| (*id, aio, aio_cause::DESTROY));
        for (id, aio, cause) in open.chain(gone).filter(|(_, aio, _)| sure(aio)) {
            let facts = || aio.thing(id).facts(&self.names);
            let seen_amid = blocked.is_some_and(|begin| aio.seen.is_some_and(|it| begin < it.at));
            let longest = match seen_amid {
                true => aio.longest.clone(),
                false => aio.longest(now.0, facts),
            };
            if let Some(longest) = longest {
                tell(&mut conduct.waits, longest);
            }
            if let Some(hazard) = aio.hazard(cause, now.0, facts) {
                tell(&mut conduct.hazards, hazard);
            }
        }
    }
}

/// Whether all records of a context have come, with so many lost by now.
fn is_sure(lost: u64) -> impl Fn(&Aio) -> bool {
    move |aio| aio.lost == Some(lost)
}

/// When the oldest io_submit began that has not returned as far as is known.
fn in_submit(conduct: &Conduct) -> Option<u64> {
    let waits = conduct.waits.iter();
    let blocked = waits.filter(|wait| wait.op == Op::IO_SUBMIT && !wait.returned);
    blocked.map(|wait| wait.begin.0).min()
}
