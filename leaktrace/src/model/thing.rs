//! A resource in its short form, as the model keeps it; [`ResourceFacts`] is the long form in
//! which it is told.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use leaktrace_common::{abi::Op, record::socket::Endpoint};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    description::Description,
    facts::{How, Kind, ResourceFacts},
    kind::SocketState,
    names::{NO_NAME, NameId, Names},
    table::Slot,
};
use crate::id::{Fd, FileId, KtimeNs, Tid};

/// A resource. Absent: fd -1, no name, ipc id -1, address 0, acquired 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thing {
    pub(super) kind: Kind,
    pub(super) op: Op,
    pub(super) fd: i32,
    pub(super) name: NameId,
    pub(super) ends: NameId,
    pub(super) ipc_id: i32,
    pub(super) tid: u32,
    pub(super) id: FileId,
    pub(super) address: u64,
    pub(super) bytes: u64,
    pub(super) acquired: u64,
    pub(super) how: Option<How>,
    pub(super) state: SocketState,
}

impl Thing {
    /// A thing of this kind of which nothing else is known.
    pub(super) fn of(kind: Kind) -> Thing {
        Thing {
            kind,
            op: Op::NONE,
            fd: -1,
            name: NO_NAME,
            ends: NO_NAME,
            ipc_id: -1,
            tid: 0,
            id: FileId::default(),
            address: 0,
            bytes: 0,
            acquired: 0,
            how: None,
            state: SocketState::None,
        }
    }

    /// An fd.
    #[inline]
    pub(super) fn of_slot(fd: u32, slot: &Slot, description: &Description) -> Thing {
        Thing {
            fd: fd as i32,
            name: description.name,
            ends: description.ends,
            id: description.id(),
            op: Op(slot.op),
            tid: slot.tid,
            acquired: slot.acquired,
            how: slot.how,
            state: description.state,
            ..Thing::of(description.kind)
        }
    }

    /// Keeps its names while it is stored.
    pub(super) fn keep(&self, names: &mut Names) {
        names.keep(self.name);
        names.keep(self.ends);
    }

    /// Undoes [`Thing::keep`].
    pub(super) fn release(&self, names: &mut Names) {
        names.release(self.name);
        names.release(self.ends);
    }

    /// The long form.
    pub(super) fn facts(&self, names: &Names) -> ResourceFacts {
        let ends = names.get(self.ends).and_then(|bytes| ends_text(&bytes));
        let (local, peer) = ends.unwrap_or_default();
        let known = |number: u64| (number != 0).then_some(number);
        ResourceFacts {
            kind: self.kind,
            fd: (self.fd >= 0).then_some(Fd(self.fd)),
            path: names.get(self.name),
            id: (self.id != FileId::default()).then_some(self.id),
            ipc_id: (self.ipc_id >= 0).then_some(self.ipc_id),
            address: known(self.address),
            bytes: known(self.bytes),
            local,
            peer,
            acquired: known(self.acquired).map(KtimeNs),
            released: None,
            tid: (self.tid != 0).then_some(Tid(self.tid)),
            op: (self.op != Op::NONE).then_some(self.op),
            how: self.how,
            ring: None,
            state: self.state.word(),
        }
    }
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Both ends of an internet socket as bytes to intern; empty for other families.
pub(super) fn ends(family: u16, local: &Endpoint, peer: &Endpoint) -> Vec<u8> {
    if family != AF_INET && family != AF_INET6 {
        return Vec::new();
    }
    let mut bytes = family.to_ne_bytes().to_vec();
    bytes.extend_from_slice(local.as_bytes());
    bytes.extend_from_slice(peer.as_bytes());
    bytes
}

/// Local end and peer as text; an end without address and port is left out.
fn ends_text(bytes: &[u8]) -> Option<(Option<String>, Option<String>)> {
    let (family, rest) = u16::read_from_prefix(bytes).ok()?;
    let (local, rest) = Endpoint::read_from_prefix(rest).ok()?;
    let (peer, _) = Endpoint::read_from_prefix(rest).ok()?;
    Some((end_text(family, &local), end_text(family, &peer)))
}

fn end_text(family: u16, end: &Endpoint) -> Option<String> {
    if end.port == 0 && end.address == [0; 16] {
        return None;
    }
    let [a, b, c, d, ..] = end.address;
    let address = match family {
        AF_INET => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(end.address).into(),
    };
    Some(SocketAddr::new(address, end.port).to_string())
}

#[cfg(test)]
mod tests {
    use leaktrace_common::record::socket::Endpoint;

    use super::{ends, ends_text};

    #[test]
    fn ends_of_internet_sockets_read_as_people_write_them() {
        let mut local = Endpoint {
            port: 80,
            ..Endpoint::default()
        };
        local.address[..4].copy_from_slice(&[10, 0, 3, 7]);
        let bytes = ends(2, &local, &Endpoint::default());
        assert_eq!(ends_text(&bytes), Some((Some("10.0.3.7:80".into()), None)));
        let mut six = Endpoint {
            port: 443,
            ..Endpoint::default()
        };
        six.address[15] = 1;
        let bytes = ends(10, &Endpoint::default(), &six);
        assert_eq!(ends_text(&bytes), Some((None, Some("[::1]:443".into()))));
        assert!(ends(1, &local, &six).is_empty());
        assert_eq!(ends_text(b"x"), None);
    }
}
