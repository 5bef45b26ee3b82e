//! Signals.

use leaktrace_common::record::kind;

use super::{Body, DecodeError, plain};

pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::SIGNAL_GENERATE => Body::SignalGenerate(plain(number, bytes)?),
        kind::SIGNAL_DELIVER => Body::SignalDeliver(plain(number, bytes)?),
        kind::SIGNAL_ACTION => Body::SignalAction(plain(number, bytes)?),
        _ => return Ok(None),
    }))
}
