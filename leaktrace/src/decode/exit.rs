//! Ends of tasks.

use leaktrace_common::record::kind;

use super::{Body, DecodeError, plain};

pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::EXIT_GROUP => Body::ExitGroup(plain(number, bytes)?),
        kind::EXIT_THREAD => Body::ExitThread(plain(number, bytes)?),
        kind::EXIT_PROCESS => Body::ExitProcess(plain(number, bytes)?),
        kind::EXIT_MM => Body::ExitMm(plain(number, bytes)?),
        kind::EXIT_PENDING => Body::ExitPending(plain(number, bytes)?),
        kind::EXIT_NOTIFY => Body::ExitNotify(plain(number, bytes)?),
        kind::EXIT_TIMES => Body::ExitTimes(plain(number, bytes)?),
        _ => return Ok(None),
    }))
}
