//! io_uring and aio.

use leaktrace_common::record::kind;

use super::{Body, DecodeError, plain};

pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::RING_SETUP => Body::RingSetup(plain(number, bytes)?),
        kind::RING_STATE => Body::RingState(plain(number, bytes)?),
        kind::AIO_STATE => Body::AioState(plain(number, bytes)?),
        kind::RING_EXIT => Body::RingExit(plain(number, bytes)?),
        _ => return Ok(None),
    }))
}
