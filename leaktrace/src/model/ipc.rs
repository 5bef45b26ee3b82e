//! SysV objects and message queues are made and removed; what is removed by an id or by a name of
//! its own is timed, and takes part in the order of its maker's releases.

use leaktrace_common::{
    abi::Op,
    record::{
        Header,
        ipc::{IpcGet, IpcRemove, MqOpen, MqUnlink, created, what},
    },
};

use super::{
    Model,
    created::file_id,
    facts::{Created, Kind, Refused, ResourceFacts, SampleKind},
    names::NO_NAME,
    phase::Logged,
    process::{Extent, ProcessId},
    runtime::Part,
    thing::Thing,
};
use crate::{
    decode::Text,
    id::{KtimeNs, Tid},
};

impl Model {
    pub(super) fn ipc_get(&mut self, header: &Header, get: &IpcGet) {
        // One that nobody told of may be found after its maker's end.
        let id = self.process_of(header);
        let Some(kind) = sysv_kind(get.what) else {
            return;
        };
        if get.created == created::NO {
            return;
        }
        let Some(process) = self.processes.get(id) else {
            return;
        };
        let made = Created {
            resource: ResourceFacts {
                kind,
                ipc_id: Some(get.id),
                bytes: (get.what == what::SHM).then_some(get.size),
                acquired: Some(KtimeNs(header.time_ns)),
                tid: Some(Tid(header.tid)),
                op: Some(get_op(get.what)),
                ..ResourceFacts::default()
            },
            creator: process.key,
            namespace: get.ipc_ns,
            sure: get.created == created::YES,
            exclusive: None,
            locked: false,
            mounted: None,
        };
        self.ipc_made(id, &made.resource);
        self.ledger.add_ipc((get.what, get.ipc_ns, get.id), made);
    }

    pub(super) fn ipc_remove(&mut self, header: &Header, remove: &IpcRemove) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        let key = (remove.what, remove.ipc_ns, remove.id);
        if remove.errno != 0 {
            let resource = self.ledger.ipc(&key).map(|made| made.resource.clone());
            let refused = Refused {
                op: control_op(remove.what),
                errno: remove.errno,
                at: KtimeNs(header.time_ns),
                argument: u64::from(remove.id as u32),
                resource,
                again: self.gave_back(id, control_op(remove.what), remove.id as u32 as u64),
            };
            if let Some(process) = self.processes.get_mut(id) {
                process.refuse(refused);
            }
            return;
        }
        self.note_given_back(id, control_op(remove.what), remove.id as u32 as u64);
        if let Some(removed) = self.ledger.remove_ipc(&key) {
            self.ipc_removed(header, id, &removed, remove.begin_ns);
        }
    }

    pub(super) fn mq_open(&mut self, header: &Header, open: &MqOpen, text: &Text<'_>) {
        let Some(id) = self.live_of(header) else {
            return;
        };
        if let Some(description) = self.acquire(header, id, &open.fd, Part::Takes) {
            self.name_description(description, text);
        }
        if open.created == created::NO {
            return;
        }
        let (Some(name), Some(process)) = (text.path(), self.processes.get(id)) else {
            self.name_unknown(header, id);
            return;
        };
        let made = Created {
            resource: ResourceFacts {
                kind: Kind::PosixMq,
                path: Some(name.to_vec().into()),
                id: Some(file_id(&open.fd.identity)),
                acquired: Some(KtimeNs(header.time_ns)),
                tid: Some(Tid(header.tid)),
                op: Some(Op::MQ_OPEN),
                ..ResourceFacts::default()
            },
            creator: process.key,
            namespace: open.ipc_ns,
            sure: open.created == created::YES,
            exclusive: None,
            locked: false,
            mounted: None,
        };
        self.ledger
            .add_queue((open.ipc_ns, name.into_owned()), made);
    }

    pub(super) fn mq_unlink(&mut self, header: &Header, unlink: &MqUnlink, text: &Text<'_>) {
        let Some(id) = self.live_of(header).filter(|_| unlink.errno == 0) else {
            return;
        };
        let Some(name) = text.path() else {
            return;
        };
        let key = (unlink.ipc_ns, name.into_owned());
        if let Some(removed) = self.ledger.unlink_queue(&key, unlink.begin_ns) {
            // Closing its fd is what gives a queue back: the name is one more step of it.
            self.ipc_timed(header, id, removed.resource.kind, unlink.begin_ns);
        }
    }

    /// Something was made that lives on in the kernel by an id or a name of its own. It takes part
    /// in its maker's order from now on.
    pub(super) fn ipc_made(&mut self, id: ProcessId, made: &ResourceFacts) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.counts.acquired(made.kind, 0);
        let rank = self.next_rank;
        let Some(key) = key_of(made) else {
            return;
        };
        if !self.follow(id).made_ipc(key, rank) {
            self.evicted += 1;
        } else {
            self.next_rank += 1;
            if let Some(process) = self.processes.get_mut(id) {
                process.phase.acquired(rank);
            }
        }
    }

    /// It was removed, by its maker or by somebody else.
    pub(super) fn ipc_removed(
        &mut self,
        header: &Header,
        id: ProcessId,
        removed: &Created,
        begin_ns: u64,
    ) {
        let resource = &removed.resource;
        let duration = self.ipc_timed(header, id, resource.kind, begin_ns);
        if let Some(process) = self.processes.get_mut(id) {
            process.gave_back(resource.kind, resource.bytes.unwrap_or(0), Extent::Whole);
        }
        let Some(maker) = self.processes.find_key(removed.creator) else {
            return;
        };
        let Some(rank) = key_of(resource).and_then(|key| self.follow(maker).ipc.remove(&key))
        else {
            return;
        };
        let next_rank = self.next_rank;
        let name = match &resource.path {
            Some(path) => self.names.intern(path),
            None => NO_NAME,
        };
        let thing = Thing {
            name,
            ipc_id: resource.ipc_id.unwrap_or(-1),
            bytes: resource.bytes.unwrap_or(0),
            acquired: resource.acquired.map_or(0, |at| at.0),
            tid: resource.tid.map_or(0, |tid| tid.0),
            op: resource.op.unwrap_or(Op::NONE),
            ..Thing::of(resource.kind)
        };
        if let Some(process) = self.processes.get_mut(maker) {
            match maker == id {
                true => {
                    let release = Logged {
                        thing,
                        rank,
                        released: header.time_ns,
                        by: header.tid,
                        duration,
                        place: 0,
                    };
                    process.phase.released(release, next_rank, &mut self.names);
                }
                // No release of the maker's own.
                false => process.phase.gone(rank),
            }
        }
        self.names.release(name);
    }

    /// Counts how long a removal took. Gives that.
    fn ipc_timed(&mut self, header: &Header, id: ProcessId, kind: Kind, begin_ns: u64) -> u64 {
        if begin_ns == 0 {
            // The record is of a version that did not look when it was entered.
            return 0;
        }
        let duration = header.time_ns.saturating_sub(begin_ns);
        if let Some(process) = self.processes.get_mut(id) {
            process.spent(kind.class(), duration);
            let key = process.key;
            self.sample(key, SampleKind::Release, Some(kind.class()), duration);
        }
        duration
    }
}

/// What tells things of one maker apart: when it was made, by which thread.
fn key_of(made: &ResourceFacts) -> Option<(u64, u32)> {
    Some((made.acquired?.0, made.tid?.0))
}

fn sysv_kind(number: u32) -> Option<Kind> {
    match number {
        what::SHM => Some(Kind::SysvShm),
        what::SEM => Some(Kind::SysvSem),
        what::MSG => Some(Kind::SysvMsg),
        _ => None,
    }
}

fn get_op(number: u32) -> Op {
    match number {
        what::SHM => Op::SHMGET,
        what::SEM => Op::SEMGET,
        _ => Op::MSGGET,
    }
}

fn control_op(number: u32) -> Op {
    match number {
        what::SHM => Op::SHMCTL,
        what::SEM => Op::SEMCTL,
        _ => Op::MSGCTL,
    }
}
