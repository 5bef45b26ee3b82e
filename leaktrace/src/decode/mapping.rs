//! Address space mappings.

use leaktrace_common::record::kind;

use super::{Body, DecodeError, plain};

#[inline]
pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::MAP => Body::Map(plain(number, bytes)?),
        kind::UNMAP => Body::Unmap(plain(number, bytes)?),
        kind::REMAP => Body::Remap(plain(number, bytes)?),
        _ => return Ok(None),
    }))
}
