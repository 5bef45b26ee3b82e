//! Rings of sockets: memory that AF_PACKET and AF_XDP share with the program. A ring is its
//! socket's: it goes with the last reference to that, or when its size is set to zero.

use std::collections::{BTreeMap, BTreeSet};

use leaktrace_common::{
    abi::Op,
    record::{Header, call::Call},
};

use super::{
    Model,
    description::DescriptionId,
    facts::{Held, Kind, ResourceFacts},
    process::{Extent, ProcessId},
    table::Inherited,
};
use crate::id::{KtimeNs, ProcessKey, Tid};

/// include/linux/socket.h
const SOL_PACKET: u64 = 263;
/// include/uapi/linux/if_xdp.h
const XDP_RX_RING: u64 = 2;
const XDP_TX_RING: u64 = 3;
const XDP_UMEM_REG: u64 = 4;
/// Bytes of `struct xdp_desc`, and of the addresses in the rings of a umem.
const XDP_DESCRIPTOR: u64 = 16;
const XDP_ADDRESS: u64 = 8;

/// Rings that are followed; sockets with more at once are told without them.
const AT_MOST: usize = 65_536;

/// One ring.
#[derive(Clone, Copy, Debug)]
struct SocketRing {
    kind: Kind,
    bytes: u64,
    acquired: u64,
    tid: u32,
    owner: ProcessKey,
}

/// Rings by description and option.
#[derive(Debug, Default)]
pub(super) struct SocketRings(BTreeMap<(u32, u64), SocketRing>);

impl SocketRings {
    fn of(&self, socket: DescriptionId) -> impl Iterator<Item = (&(u32, u64), &SocketRing)> {
        self.0.range((socket.0, 0)..=(socket.0, u64::MAX))
    }

    /// Whether there is any: most runs have none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Kind and bytes of a ring; an XDP option is a number of entries or, of the umem, its place and
/// length.
fn ring_of(level: u64, option: u64, call: &Call) -> (Kind, u64) {
    let entries = call.value & 0xffff_ffff;
    match (level & 0xffff_ffff, option) {
        (SOL_PACKET, _) => (Kind::PacketRing, entries * (call.value >> 32)),
        (_, XDP_UMEM_REG) => (Kind::XdpRing, call.interval),
        (_, XDP_RX_RING | XDP_TX_RING) => (Kind::XdpRing, entries * XDP_DESCRIPTOR),
        _ => (Kind::XdpRing, entries * XDP_ADDRESS),
    }
}

impl Model {
    /// setsockopt gave a socket a ring, or took it back.
    pub(super) fn socket_ring(&mut self, header: &Header, id: ProcessId, call: &Call) {
        let [_, level, option, _] = call.arguments;
        let Some(socket) = self.descriptions.find(call.file) else {
            return;
        };
        let (kind, bytes) = ring_of(level, option, call);
        let key = (socket.0, option);
        if bytes == 0 {
            if let Some(ring) = self.socket_rings.0.remove(&key) {
                self.ring_given_back(id, ring);
            }
            return;
        }
        let Some(owner) = self.processes.get(id).map(|process| process.key) else {
            return;
        };
        if self.socket_rings.0.len() >= AT_MOST {
            self.evicted += 1;
            return;
        }
        let ring = SocketRing {
            kind,
            bytes,
            acquired: header.time_ns,
            tid: header.tid,
            owner,
        };
        self.socket_rings.0.insert(key, ring);
        let held = self.rings_held(owner, kind) as u32;
        if let Some(process) = self.processes.get_mut(id) {
            process.counts.acquired(kind, held);
        }
    }

    fn ring_given_back(&mut self, id: ProcessId, ring: SocketRing) {
        if let Some(process) = self.processes.get_mut(id)
            && process.key == ring.owner
        {
            process.gave_back(ring.kind, ring.bytes, Extent::Whole);
            process.bytes_released += ring.bytes;
        }
    }

    /// Rings of a kind that a process has made and that are there.
    pub(super) fn rings_held(&self, owner: ProcessKey, kind: Kind) -> u64 {
        let rings = self.socket_rings.0.values();
        let own = rings.filter(|ring| ring.owner == owner && ring.kind == kind);
        own.count() as u64
    }

    /// A process is about to give back the last known reference to a socket.
    pub(super) fn socket_closes(&mut self, id: ProcessId, socket: DescriptionId, how: Inherited) {
        if self.socket_rings.is_empty() || self.descriptions.get(socket).refs > 1 {
            return;
        }
        let keys: Vec<_> = self.socket_rings.of(socket).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(ring) = self.socket_rings.0.remove(&key)
                && how == Inherited::No
            {
                self.ring_given_back(id, ring);
            }
        }
    }

    /// Rings of the sockets that a process holds at its end.
    pub(super) fn held_rings(&self, held: &[Held]) -> Vec<Held> {
        if self.socket_rings.is_empty() {
            return Vec::new();
        }
        let mut told = BTreeSet::new();
        let rings = held.iter().flat_map(|it| {
            let socket = self.descriptions.find(it.description);
            // Another fd of the same socket has no ring of its own.
            let socket = socket.filter(|socket| told.insert(socket.0));
            let rings = socket.into_iter().flat_map(|id| self.socket_rings.of(id));
            rings.map(move |(_, ring)| Held {
                resource: ResourceFacts {
                    kind: ring.kind,
                    fd: it.resource.fd,
                    bytes: Some(ring.bytes),
                    acquired: Some(KtimeNs(ring.acquired)),
                    tid: Some(Tid(ring.tid)),
                    op: Some(Op::SETSOCKOPT),
                    ..ResourceFacts::default()
                },
                inherited: it.inherited,
                ..Held::default()
            })
        });
        rings.collect()
    }

    /// The rings of sockets of which no reference is known any more.
    pub(super) fn forget_socket_rings(&mut self) {
        let descriptions = &self.descriptions;
        self.socket_rings
            .0
            .retain(|(socket, _), _| descriptions.get(DescriptionId(*socket)).refs > 0);
    }
}
