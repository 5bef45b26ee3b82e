//! Resources as the report tells them.

use crate::{
    id::FileId,
    model::facts::{Held, Kind, ProcessFacts, ResourceFacts},
    report::Resource,
};

/// Bytes as text: what is not UTF-8 becomes U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A resource of the model.
pub(crate) fn report(facts: &ResourceFacts) -> Resource {
    let mut resource = Resource {
        kind: facts.kind.name().to_owned(),
        class: facts.kind.class().name().to_owned(),
        fd: facts.fd.map(|fd| fd.0),
        path: facts.path.as_deref().map(text),
        id: facts.ipc_id.map(i64::from),
        address: facts.address,
        bytes: facts.bytes,
        local: facts.local.clone(),
        peer: facts.peer.clone(),
        acquired_ns: facts.acquired.map(|at| at.0),
        released_ns: facts.released.map(|at| at.0),
        tid: facts.tid.map(|tid| tid.0),
        syscall: facts.op.map(|op| op.name().to_owned()),
        state: facts.state.map(str::to_owned),
        direct: facts.ring.map(|ring| ring.direct),
        buffers: facts.ring.map(|ring| ring.buffers),
        how: facts.how.map(|how| how.name().to_owned()),
        ..Resource::default()
    };
    if let Some(id) = facts.id {
        set_id(&mut resource, id);
    }
    resource
}

/// A resource held at exit.
pub(crate) fn held(held: &Held) -> Resource {
    Resource {
        inherited: Some(held.inherited),
        ..report(&held.resource)
    }
}

/// A process, as the resource of its parent.
pub(crate) fn process(facts: &ProcessFacts) -> Resource {
    Resource {
        kind: Kind::Process.name().to_owned(),
        class: Kind::Process.class().name().to_owned(),
        id: Some(i64::from(facts.key.pid.0)),
        path: facts.exe.as_deref().map(text),
        acquired_ns: Some(facts.key.start.0),
        ..Resource::default()
    }
}

/// Sets kind and class.
pub(crate) fn set_kind(resource: &mut Resource, kind: Kind) {
    resource.kind = kind.name().to_owned();
    resource.class = kind.class().name().to_owned();
}

/// Sets the identity. dev is the kernel's: major << 20 | minor (include/linux/kdev_t.h).
pub(crate) fn set_id(resource: &mut Resource, id: FileId) {
    resource.dev = Some(format!("{}:{}", id.dev >> 20, id.dev & 0xf_ffff));
    resource.ino = Some(id.ino);
}
