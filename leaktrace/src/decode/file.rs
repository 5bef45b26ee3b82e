//! fds and open file descriptions.

use leaktrace_common::record::{
    file::{FdAcquire, WALK_LEN, WalkEntry},
    kind,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{Body, DecodeError, payload, plain, text::text};

/// Part of a table walk ([`leaktrace_common::record::file::FdWalk`]). The entries stay where
/// they lie: most of a part is unwritten as a rule.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'a> {
    /// Number of the walk.
    pub walk: u32,
    /// [`leaktrace_common::record::file::walk_cause`].
    pub cause: u32,
    /// First number of this part.
    pub base: u32,
    /// Open fds in the whole table.
    pub total: u32,
    /// Tasks that share the table.
    pub sharers: u32,
    /// Which of the numbers are open.
    pub mask: u16,
    /// Which of the numbers are close-on-exec.
    pub cloexec: u16,
    entries: &'a [u8],
}

impl<'a> Walk<'a> {
    /// The open fds of this part, ascending.
    pub fn entries(&self) -> impl Iterator<Item = (u32, WalkEntry)> + use<'a> {
        let Walk {
            base,
            mask,
            entries,
            ..
        } = *self;
        (0..WALK_LEN)
            .filter(move |bit| mask & (1 << bit) != 0)
            .filter_map(move |bit| {
                let bytes = entries.get(bit * size_of::<WalkEntry>()..)?;
                let (entry, _) = WalkEntry::read_from_prefix(bytes).ok()?;
                Some((base.checked_add(bit as u32)?, entry))
            })
    }
}

/// What lies before the entries of a part.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
struct WalkHead {
    walk: u32,
    cause: u32,
    base: u32,
    total: u32,
    sharers: u32,
    mask: u16,
    cloexec: u16,
}

const _: () = assert!(
    size_of::<WalkHead>() == std::mem::offset_of!(leaktrace_common::record::file::FdWalk, entries)
);

#[inline]
pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::FD_ACQUIRE => {
            let (fd, areas) = payload::<FdAcquire>(number, bytes)?;
            Body::FdAcquire(fd, text(number, areas, fd.area, fd.text, 0)?)
        }
        kind::FD_SEED => {
            let (fd, areas) = payload::<FdAcquire>(number, bytes)?;
            Body::FdSeed(fd, text(number, areas, fd.area, fd.text, 0)?)
        }
        kind::FD_RELEASE => Body::FdRelease(plain(number, bytes)?),
        kind::FD_RANGE => Body::FdRange(plain(number, bytes)?),
        kind::FD_WALK => Body::FdWalk(walk(number, bytes)?),
        kind::FD_LOCK => Body::FdLock(plain(number, bytes)?),
        kind::FD_GONE => Body::FdGone(plain(number, bytes)?),
        kind::FD_TABLE => Body::FdTable(plain(number, bytes)?),
        _ => return Ok(None),
    }))
}

/// A part may end behind its last open fd.
pub(super) fn walk(number: u16, bytes: &[u8]) -> Result<Walk<'_>, DecodeError> {
    let (head, entries) = payload::<WalkHead>(number, bytes)?;
    let used = (u16::BITS - head.mask.leading_zeros()) as usize;
    if entries.len() < used * size_of::<WalkEntry>() {
        return Err(DecodeError::Payload {
            kind: number,
            len: bytes.len(),
        });
    }
    Ok(Walk {
        walk: head.walk,
        cause: head.cause,
        base: head.base,
        total: head.total,
        sharers: head.sharers,
        mask: head.mask,
        cloexec: head.cloexec,
        entries,
    })
}
