//! Birth, exec and reaping of tasks.

use leaktrace_common::record::{kind, scope::Scope, stack::Image, task::Exec};

use super::{
    Body, DecodeError, payload, plain,
    text::{text, texts},
};

pub(super) fn body(number: u16, bytes: &[u8]) -> Result<Option<Body<'_>>, DecodeError> {
    Ok(Some(match number {
        kind::TASK_NEW => Body::TaskNew(plain(number, bytes)?),
        kind::EXEC => {
            let (exec, areas) = payload::<Exec>(number, bytes)?;
            Body::Exec(exec, texts(number, areas, exec.area, exec.text)?)
        }
        kind::REAP => Body::Reap(plain(number, bytes)?),
        kind::FREE => Body::Free(plain(number, bytes)?),
        kind::TAINT => Body::Taint(plain(number, bytes)?),
        kind::NAMESPACES => Body::Namespaces(plain(number, bytes)?),
        kind::ROOT => Body::Root(plain(number, bytes)?),
        kind::SEED => Body::Seed(plain(number, bytes)?),
        kind::TARGET => Body::Target(plain(number, bytes)?),
        kind::REREAD => Body::Reread(plain(number, bytes)?),
        kind::MARKED => Body::Marked,
        kind::STACK => Body::Stack(Box::new(plain(number, bytes)?)),
        kind::IMAGE => {
            let (image, areas) = payload::<Image>(number, bytes)?;
            Body::Image(image, text(number, areas, image.area, image.text, 0)?)
        }
        kind::FD_REWALK => Body::FdWalk(super::file::walk(number, bytes)?),
        kind::SCOPE => {
            let (scope, areas) = payload::<Scope>(number, bytes)?;
            Body::Scope(scope, text(number, areas, scope.area, scope.text, 0)?)
        }
        _ => return Ok(None),
    }))
}
