//! Names in file systems.

use leaktrace_common::record::{kind, name::Name};

use super::{Body, DecodeError, payload, text::texts};

pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::NAME => {
            let (name, areas) = payload::<Name>(number, bytes)?;
            Body::Name(name, texts(number, areas, name.area, name.text)?)
        }
        _ => return Ok(None),
    }))
}
