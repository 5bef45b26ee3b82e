//! Address space mappings.

use leaktrace_common::record::{kind, mapping::MapSeed};

use super::{Body, DecodeError, payload, plain, text::text};

#[inline]
pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::MAP => Body::Map(plain(number, bytes)?),
        kind::UNMAP => Body::Unmap(plain(number, bytes)?),
        kind::MAP_SEED => {
            let (seed, areas) = payload::<MapSeed>(number, bytes)?;
            Body::MapSeed(seed, text(number, areas, seed.area, seed.text, 0)?)
        }
        kind::REMAP => Body::Remap(plain(number, bytes)?),
        _ => return Ok(None),
    }))
}
