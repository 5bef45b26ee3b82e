//! SysV ipc and POSIX message queues.

use leaktrace_common::record::{
    ipc::{MqOpen, MqUnlink},
    kind,
};

use super::{Body, DecodeError, payload, plain, text::text};

pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::IPC_GET => Body::IpcGet(plain(number, bytes)?),
        kind::IPC_REMOVE => Body::IpcRemove(plain(number, bytes)?),
        kind::SHM_ATTACH => Body::ShmAttach(plain(number, bytes)?),
        kind::SHM_DETACH => Body::ShmDetach(plain(number, bytes)?),
        kind::MQ_OPEN => {
            let (open, areas) = payload::<MqOpen>(number, bytes)?;
            Body::MqOpen(open, text(number, areas, open.fd.area, open.fd.text, 0)?)
        }
        kind::MQ_UNLINK => {
            let (unlink, areas) = payload::<MqUnlink>(number, bytes)?;
            Body::MqUnlink(unlink, text(number, areas, unlink.area, unlink.text, 0)?)
        }
        _ => return Ok(None),
    }))
}
