//! From bytes to values: walks over a batch of records and reads each of them.
//!
//! Total over any bytes: whatever a ring, a capture or a hostile file holds, decoding ends with
//! values or errors and never panics. Records of a kind that this version does not know are
//! skipped by their length and counted. Nothing here interprets what a record means.
//!
//! Payloads are copied out (a batch need not be aligned), text stays where it is.

#![forbid(unsafe_code)]

mod exit;
mod file;
mod ipc;
mod mapping;
mod name;
mod ring;
mod signal;
mod socket;
mod task;
#[cfg(test)]
mod tests;
mod text;

use bytes::Bytes;
use leaktrace_common::record::{
    Family, Header,
    call::{Call, ExitPending},
    exit::{ExitGroup, ExitMm, ExitNotify, ExitProcess, ExitThread, ExitTimes},
    file::{FdAcquire, FdGone, FdLock, FdRange, FdRelease, FdTable},
    ipc::{IpcGet, IpcRemove, MqOpen, MqUnlink, ShmAttach, ShmDetach},
    kind as kinds,
    mapping::{Map, MapSeed, Remap, Unmap},
    name::Name,
    ring::{AioState, RingExit, RingSetup, RingState},
    scope::Scope,
    signal::{SignalAction, SignalDeliver, SignalGenerate},
    socket::{SocketAcquire, SocketName},
    stack::{Image, Stack},
    task::{Exec, Free, Namespaces, Reap, Reread, Seed, Taint, TaskNew},
};
use zerocopy::FromBytes;

pub use self::{file::Walk, text::Text};

/// One record.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// What every record begins with.
    pub header: Header,
    /// The rest.
    pub body: Body<'a>,
}

/// What the kind of a record names.
#[derive(Clone, Debug)]
pub enum Body<'a> {
    /// `FD_SEED` and its path.
    FdSeed(FdAcquire, Text<'a>),
    /// `FD_ACQUIRE` and its path.
    FdAcquire(FdAcquire, Text<'a>),
    /// `FD_RELEASE`
    FdRelease(FdRelease),
    /// `FD_RANGE`
    FdRange(FdRange),
    /// `FD_GONE`
    FdGone(FdGone),
    /// `FD_WALK`
    FdWalk(Walk<'a>),
    /// `FD_TABLE`
    FdTable(FdTable),
    /// `FD_LOCK`
    FdLock(FdLock),
    /// `SOCKET_ACQUIRE`
    SocketAcquire(SocketAcquire),
    /// `SOCKET_SEED`.
    SocketSeed(SocketAcquire),
    /// `SOCKET_NAME`: the address as passed, the path of the file made.
    SocketName(SocketName, [Text<'a>; 2]),
    /// `MAP`
    Map(Map),
    /// `UNMAP`
    Unmap(Unmap),
    /// `REMAP`
    Remap(Remap),
    /// `MAP_SEED` and the file's path.
    MapSeed(MapSeed, Text<'a>),
    /// `RING_SETUP`
    RingSetup(RingSetup),
    /// `RING_STATE`
    RingState(RingState),
    /// `AIO_STATE`
    AioState(AioState),
    /// `RING_EXIT`
    RingExit(RingExit),
    /// `SIGNAL_GENERATE`
    SignalGenerate(SignalGenerate),
    /// `SIGNAL_DELIVER`
    SignalDeliver(SignalDeliver),
    /// `SIGNAL_ACTION`
    SignalAction(SignalAction),
    /// `IPC_GET`
    IpcGet(IpcGet),
    /// `IPC_REMOVE`
    IpcRemove(IpcRemove),
    /// `SHM_ATTACH`
    ShmAttach(ShmAttach),
    /// `SHM_DETACH`
    ShmDetach(ShmDetach),
    /// `MQ_OPEN` and the name.
    MqOpen(MqOpen, Text<'a>),
    /// `MQ_UNLINK` and the name.
    MqUnlink(MqUnlink, Text<'a>),
    /// `NAME`: directory and path, twice.
    Name(Name, [Text<'a>; 4]),
    /// `TASK_NEW`
    TaskNew(TaskNew),
    /// `EXEC`: executable, argv, working directory, nothing.
    Exec(Exec, [Text<'a>; 4]),
    /// `REAP`
    Reap(Reap),
    /// `FREE`
    Free(Free),
    /// `TAINT`
    Taint(Taint),
    /// `NAMESPACES`
    Namespaces(Namespaces),
    /// `ROOT`
    Root(Seed),
    /// `SEED`
    Seed(Seed),
    /// `TARGET`
    Target(Seed),
    /// `REREAD`
    Reread(Reread),
    /// `MARKED`
    Marked,
    /// `SCOPE` and its name.
    Scope(Scope, Text<'a>),
    /// `STACK`
    Stack(Box<Stack>),
    /// `IMAGE` and the file's path.
    Image(Image, Text<'a>),
    /// `EXIT_GROUP`
    ExitGroup(ExitGroup),
    /// `EXIT_THREAD`
    ExitThread(ExitThread),
    /// `EXIT_PROCESS`
    ExitProcess(ExitProcess),
    /// `EXIT_MM`
    ExitMm(ExitMm),
    /// `EXIT_NOTIFY`
    ExitNotify(ExitNotify),
    /// `EXIT_PENDING`
    ExitPending(ExitPending),
    /// `EXIT_TIMES`
    ExitTimes(ExitTimes),
    /// `CALL` of any family.
    Call(Call),
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes are left than a header has. The batch ends here.
    #[error("record at {at}: {left} bytes left, a header has 56")]
    ShortHeader {
        /// Offset in the batch.
        at: usize,
        /// Bytes left.
        left: usize,
    },
    /// The length does not hold the header or goes beyond the batch. The batch ends here.
    #[error("record at {at}: length {len} with {left} bytes left")]
    Length {
        /// Offset in the batch.
        at: usize,
        /// What the header says.
        len: u16,
        /// Bytes left.
        left: usize,
    },
    /// The record is shorter than its kind's payload. The next one is read.
    #[error("record of kind {kind:#06x}: payload of {len} bytes is too short")]
    Payload {
        /// Kind.
        kind: u16,
        /// Bytes of payload there are.
        len: usize,
    },
    /// A text is longer than its area, or lies beyond the record. The next one is read.
    #[error("record of kind {kind:#06x}: text {index} of {len} bytes does not fit")]
    Text {
        /// Kind.
        kind: u16,
        /// Which text.
        index: usize,
        /// Its length.
        len: u16,
    },
}

/// Alignment of records in a batch.
const ALIGN: usize = 8;

/// The records of a batch, in order.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    at: usize,
    unknown: u64,
}

/// Reads a batch: records back to back, each padded to 8 bytes.
pub fn records(batch: &Bytes) -> Records<'_> {
    Records {
        rest: batch,
        at: 0,
        unknown: 0,
    }
}

impl Records<'_> {
    /// Records skipped so far because this version does not know their kind.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (header, payload) = match self.split() {
                Ok(parts) => parts,
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            };
            match body(header.kind, payload) {
                Ok(Some(body)) => return Some(Ok(Record { header, body })),
                Ok(None) => self.unknown += 1,
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

impl<'a> Records<'a> {
    /// Takes one record's header and payload off the front.
    #[inline]
    fn split(&mut self) -> Result<(Header, &'a [u8]), DecodeError> {
        let left = self.rest.len();
        let Ok((header, _)) = Header::read_from_prefix(self.rest) else {
            return Err(DecodeError::ShortHeader { at: self.at, left });
        };
        let len = usize::from(header.len);
        let payload = self.rest.get(size_of::<Header>()..len);
        let Some(payload) = payload else {
            return Err(DecodeError::Length {
                at: self.at,
                len: header.len,
                left,
            });
        };
        // The last record of a batch may come without its padding.
        let step = len.next_multiple_of(ALIGN).min(left);
        self.rest = &self.rest[step..];
        self.at += step;
        Ok((header, payload))
    }
}

/// Reads the payload of one kind; `None` for a kind that this version does not know.
#[inline]
fn body(kind: u16, payload: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    let Some(family) = Family::from_number((kind >> 8) as u8) else {
        return Ok(None);
    };
    if kind & 0xff == kinds::CALL {
        return plain(kind, payload).map(|call| Some(Body::Call(call)));
    }
    match family {
        Family::File => file::body(kind, payload),
        Family::Socket => socket::body(kind, payload),
        Family::Mapping => mapping::body(kind, payload),
        Family::Ring => ring::body(kind, payload),
        Family::Signal => signal::body(kind, payload),
        Family::Ipc => ipc::body(kind, payload),
        Family::Name => name::body(kind, payload),
        Family::Task => task::body(kind, payload),
        Family::Exit => exit::body(kind, payload),
    }
}

/// The payload at the front, and what lies behind it.
#[inline]
fn payload<T: FromBytes>(kind: u16, bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Payload {
        kind,
        len: bytes.len(),
    })
}

/// The payload of a kind that has no text.
#[inline]
fn plain<T: FromBytes>(kind: u16, bytes: &[u8]) -> Result<T, DecodeError> {
    payload(kind, bytes).map(|(value, _)| value)
}
