//! Sockets.

use leaktrace_common::record::{kind, socket::SocketName};

use super::{Body, DecodeError, payload, plain, text::texts};

#[inline]
pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::SOCKET_ACQUIRE => Body::SocketAcquire(plain(number, bytes)?),
        kind::SOCKET_SEED => Body::SocketSeed(plain(number, bytes)?),
        kind::SOCKET_NAME => {
            let (name, areas) = payload::<SocketName>(number, bytes)?;
            Body::SocketName(name, texts(number, areas, name.area, name.text)?)
        }
        _ => return Ok(None),
    }))
}
