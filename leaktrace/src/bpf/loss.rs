//! Loss on demand, for tests: a small ring, a reader that sleeps, records that are dropped.
//!
//! `LEAKTRACE_TEST_LOSS` is a list of `ring=BYTES`, `sleep=N/M` (the reader sleeps N ms of every
//! M), `drop=N` (one record in N, on average, is not handed on, and counted as lost), `silent`
//! (what is dropped is not counted), `seed=N` (which records are dropped), `refuse` (the programs
//! for this kernel count as refused) and `uncalled` (programs at functions count as never run).
//! Whoever may load programs may also set this; whether it is in force is told on stderr.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use leaktrace_common::{
    abi::Op,
    record::{
        FAMILY_SLOTS, Family, Header,
        file::{FdAcquire, FdRelease, acquire_flag},
        header_flag, kind,
        socket::SocketName,
    },
};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use super::{
    health::Outcome,
    probe::{Need, Probe},
};
use crate::{census::host, launch::privilege};

/// The variable.
pub const VARIABLE: &str = "LEAKTRACE_TEST_LOSS";

/// What is to be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Bytes of the ring; `None`: as usual.
    pub ring_bytes: Option<u32>,
    /// Sleep this long of every so long.
    sleep: Option<(Duration, Duration)>,
    /// One record in so many is dropped.
    drop: Option<u64>,
    counting: Counting,
    seed: Option<u64>,
    refuse: bool,
    uncalled: bool,
}

/// Whether what is dropped is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Counting {
    #[default]
    Honest,
    Silent,
}

/// A word that is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{VARIABLE}: `{0}` is not understood; it takes ring=BYTES, sleep=N/M, drop=N, silent, \
     seed=N, refuse and uncalled, with commas between"
)]
pub struct NoLoss(String);

impl Loss {
    /// What the environment asks for; nothing, as a rule.
    ///
    /// # Errors
    /// It is malformed.
    pub fn from_environment() -> Result<Option<Loss>, NoLoss> {
        match std::env::var_os(VARIABLE) {
            // A user without the right to load programs may not size their rings either.
            Some(_) if privilege::is_given_by_the_file() => Ok(None),
            None => Ok(None),
            Some(text) => Loss::parse(&text.to_string_lossy()).map(Some),
        }
    }

    fn parse(text: &str) -> Result<Loss, NoLoss> {
        let mut loss = Loss::default();
        for word in text.split(',') {
            let refused = || NoLoss(word.to_owned());
            let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
            match word.split_once('=') {
                Some(("ring", bytes)) => {
                    let bytes = number(bytes).and_then(|bytes| u32::try_from(bytes).ok());
                    loss.ring_bytes = Some(bytes.ok_or_else(refused)?);
                }
                Some(("sleep", times)) => {
                    let (asleep, all) = times.split_once('/').ok_or_else(refused)?;
                    let (asleep, all) = number(asleep).zip(number(all)).ok_or_else(refused)?;
                    if asleep > all {
                        return Err(refused());
                    }
                    let ms = Duration::from_millis;
                    loss.sleep = Some((ms(asleep), ms(all)));
                }
                Some(("drop", one)) => loss.drop = Some(number(one).ok_or_else(refused)?),
                Some(("seed", seed)) => loss.seed = Some(number(seed).ok_or_else(refused)?),
                None if word == "silent" => loss.counting = Counting::Silent,
                None if word == "refuse" => loss.refuse = true,
                None if word == "uncalled" => loss.uncalled = true,
                Some(_) | None => return Err(refused()),
            }
        }
        Ok(loss)
    }

    /// As where a compiler has put the functions into those who call them.
    pub(super) fn leaves_uncalled(self) -> bool {
        self.uncalled
    }

    /// As a verifier does, of one program that nothing goes without.
    pub(super) fn refuse(self, outcomes: &mut [(Probe, Outcome)]) {
        let mut needed = outcomes
            .iter_mut()
            .filter(|(probe, _)| probe.need == Need::Required);
        if let (true, Some((_, outcome))) = (self.refuse, needed.next()) {
            *outcome = Outcome::Refused(format!("{VARIABLE} says so"));
        }
    }
}

/// Loss under way.
#[derive(Debug)]
pub(super) struct Losing {
    loss: Loss,
    began: Instant,
    state: u64,
    /// Records dropped and counted, by family and CPU.
    lost: HashMap<(u8, u16), u64>,
    /// Those that cannot be replaced.
    pub(super) vital: u64,
    all: u32,
    /// Marks that the next record of a thread has to carry.
    marks: HashMap<u32, (Header, u16)>,
}

/// Families of which every record is vital to the programs.
const VITAL: [Family; 4] = [Family::Ipc, Family::Name, Family::Task, Family::Exit];

/// Whether it is among those for which the programs have the spare ring.
fn is_vital(kind: u16, payload: &[u8]) -> bool {
    match kind {
        kind::FD_REWALK | kind::REREAD | kind::MARKED => false,
        kind::FD_LOCK | kind::FD_TABLE => true,
        kind::FD_ACQUIRE => FdAcquire::read_from_prefix(payload)
            .is_ok_and(|(fd, _)| fd.flags & acquire_flag::CREATED != 0),
        kind::FD_RELEASE => FdRelease::read_from_prefix(payload)
            .is_ok_and(|(release, _)| release.errno == libc::EIO),
        kind::SOCKET_NAME => {
            SocketName::read_from_prefix(payload).is_ok_and(|(name, _)| Op(name.op) != Op::CONNECT)
        }
        _ => VITAL.iter().any(|vital| *vital as u16 == kind >> 8),
    }
}

impl Losing {
    pub(super) fn new(loss: Loss, seed: u64) -> Losing {
        Losing {
            loss,
            began: Instant::now(),
            state: loss.seed.unwrap_or(seed) | 1,
            lost: HashMap::new(),
            vital: 0,
            all: 0,
            marks: HashMap::new(),
        }
    }

    /// Sleeps, if this is a time to.
    pub(super) fn nap(&self) {
        let Some((asleep, all)) = self.loss.sleep else {
            return;
        };
        let phase = self.began.elapsed().as_nanos() % all.as_nanos();
        if let Some(left) = asleep.as_nanos().checked_sub(phase) {
            std::thread::sleep(Duration::from_nanos(left as u64));
        }
    }

    /// Whether this record is to be dropped.
    pub(super) fn drops(&mut self, record: &[u8]) -> bool {
        let (Some(one), Ok((header, payload))) = (self.loss.drop, Header::read_from_prefix(record))
        else {
            return false;
        };
        // xorshift64.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        if !self.state.is_multiple_of(one) {
            return false;
        }
        if self.loss.counting == Counting::Honest {
            let family = (header.kind >> 8) as u8;
            *self.lost.entry((family, header.cpu)).or_default() += 1;
            self.all += 1;
            let (_, marks) = self.marks.entry(header.tid).or_insert((header, 0));
            *marks |= header.flags & header_flag::LOST;
            let of = match header.kind {
                kind::FD_REWALK => Family::File as u16,
                _ => u16::from(family),
            };
            *marks |= 1 << (header_flag::LOST_SHIFT + of);
            if is_vital(header.kind, payload) {
                *marks |= 1 << (header_flag::LOST_SHIFT + Family::Name as u16);
                self.vital += 1;
            }
        }
        true
    }

    /// Makes a record tell what was dropped before it, as the programs do of what is lost.
    pub(super) fn mark(&mut self, record: &mut [u8]) {
        if self.all == 0 {
            return;
        }
        if let Ok((mut header, rest)) = Header::read_from_prefix(record) {
            header.dropped = header.dropped.wrapping_add(self.all);
            let marks = self.marks.remove(&header.tid);
            header.flags |= marks.map_or(0, |(_, marks)| marks);
            let at = record.len() - rest.len();
            record[..at].copy_from_slice(header.as_bytes());
        }
    }

    /// Writes a record for every thread that has said nothing since a record of it was lost.
    pub(super) fn tell(&mut self, out: &mut BytesMut) {
        for (_, (header, marks)) in self.marks.drain() {
            let header = Header {
                kind: kind::MARKED,
                len: size_of::<Header>() as u16,
                flags: header.flags & !header_flag::LOST | marks,
                time_ns: host::boottime_ns(),
                ..header
            };
            out.extend_from_slice(header.as_bytes());
        }
    }

    /// How many of a family from one CPU were dropped and counted.
    pub(super) fn of(&self, family: u8, cpu: u16) -> u64 {
        self.lost.get(&(family, cpu)).copied().unwrap_or(0)
    }

    /// How many were dropped and counted.
    pub(super) fn all(&self) -> u64 {
        u64::from(self.all)
    }
}

const _: () = assert!(FAMILY_SLOTS <= 256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused_by_name() {
        let loss = Loss::parse("ring=4096,sleep=50/100,drop=10000,silent,refuse,uncalled");
        let expected = Loss {
            ring_bytes: Some(4096),
            sleep: Some((Duration::from_millis(50), Duration::from_millis(100))),
            drop: Some(10_000),
            counting: Counting::Silent,
            seed: None,
            refuse: true,
            uncalled: true,
        };
        assert_eq!(loss, Ok(expected));
        for wrong in [
            "",
            "ring",
            "ring=x",
            "sleep=50",
            "sleep=9/5",
            "drop=0",
            "lossy",
            "drop=5,",
        ] {
            let error = Loss::parse(wrong).map(|_| ());
            let text = error.expect_err(wrong).to_string();
            assert!(text.contains(VARIABLE) && text.contains("drop=N"), "{text}");
        }
    }

    #[test]
    fn one_in_so_many_is_dropped_and_the_next_tells() {
        let loss = Loss::parse("drop=10,seed=7").expect("words");
        let mut losing = Losing::new(loss, 0);
        let header = Header {
            kind: 0x0101,
            len: 56,
            ..Header::default()
        };
        let dropped = (0..10_000)
            .filter(|_| losing.drops(header.as_bytes()))
            .count() as u64;
        assert!((800..1200).contains(&dropped), "{dropped}");
        assert_eq!((losing.of(1, 0), losing.all()), (dropped, dropped));
        let mut record = header.as_bytes().to_vec();
        losing.mark(&mut record);
        let marked = Header::read_from_bytes(&record).expect("a header");
        assert_eq!(u64::from(marked.dropped), dropped);
        assert_eq!(marked.flags & header_flag::LOST, 1 << 4);
    }
}
