//! Things with a name or an id of their own are made and removed.

use leaktrace_common::{
    abi::Op,
    record::{
        Family, FileIdentity, Header,
        file::{FdAcquire, acquire_flag},
        name::Name,
        socket::SocketName,
    },
};

use super::{
    Model,
    facts::{Created, Families, Kind, MayKeep, Mounted, ResourceFacts},
    kind, path,
    process::ProcessId,
    thing,
};
use crate::{
    decode::Text,
    id::{FileId, KtimeNs, Tid},
};

/// RENAME_EXCHANGE (include/uapi/linux/fs.h).
const RENAME_EXCHANGE: u32 = 2;

/// MS_BIND, MS_MOVE, MOVE_MOUNT_F_EMPTY_PATH (include/uapi/linux/mount.h).
const MS_BIND: u32 = 0x1000;
const MS_MOVE: u32 = 0x2000;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;

/// What a call made, before it is entered.
struct Made {
    kind: Kind,
    op: Op,
    namespace: u32,
    id: Option<FileId>,
    exclusive: Option<bool>,
}

impl Model {
    /// An open made its file. The programs walk the path of such files.
    pub(super) fn file_created(
        &mut self,
        header: &Header,
        process: ProcessId,
        fd: &FdAcquire,
        text: &Text<'_>,
    ) {
        let made = Made {
            kind: kind::of_mode(fd.identity.mode),
            op: Op(fd.op),
            namespace: fd.mnt_ns,
            id: Some(file_id(&fd.identity)),
            exclusive: Some(fd.flags & acquire_flag::EXCLUSIVE != 0),
        };
        let path = path::absolute(&Text::default(), text);
        self.enter(header, process, made, path);
    }

    /// Enters what was made under a path.
    fn enter(&mut self, header: &Header, id: ProcessId, made: Made, path: Option<Vec<u8>>) {
        let Some(path) = path else {
            self.name_unknown(header, id);
            return;
        };
        let kind = kind::of_created(&path, made.kind);
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.mnt_ns = made.namespace;
        let created = Created {
            resource: ResourceFacts {
                kind,
                path: Some(path.clone().into()),
                id: made.id,
                acquired: Some(KtimeNs(header.time_ns)),
                tid: Some(Tid(header.tid)),
                op: Some(made.op),
                ..ResourceFacts::default()
            },
            creator: process.key,
            namespace: made.namespace,
            sure: true,
            exclusive: made.exclusive,
            locked: false,
            mounted: None,
        };
        if matches!(kind, Kind::PosixShm | Kind::PosixSem) {
            self.ipc_made(id, &created.resource);
        }
        self.ledger.add_name((made.namespace, path), created);
    }

    /// Something was made or moved whose path cannot be told: no claim about names then.
    pub(super) fn name_unknown(&mut self, header: &Header, id: ProcessId) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        let since = KtimeNs(header.time_ns);
        process.taint(since, Families::of(&[Family::Name]), || {
            "the path of something it made could not be read".to_owned()
        });
    }

    pub(super) fn name(&mut self, header: &Header, name: &Name, texts: &[Text<'_>; 4]) {
        if name.errno != 0 {
            return;
        }
        let Some(process) = self.live_of(header) else {
            return;
        };
        let [first_directory, first, second_directory, second] = texts;
        let first = path::absolute(first_directory, first);
        let made = |kind, exclusive| Made {
            kind,
            op: Op(name.op),
            namespace: name.mnt_ns,
            id: None,
            exclusive,
        };
        match Op(name.op) {
            Op::UNLINK | Op::UNLINKAT | Op::RMDIR => {
                self.name_removed(header, process, name, first);
            }
            Op::MOUNT | Op::MOVE_MOUNT => {
                let from = path::absolute(second_directory, second);
                self.mounted(header, process, name, first, from, second);
            }
            Op::UMOUNT2 => self.unmounted(name.mnt_ns, first),
            Op::BPF => self.enter(header, process, made(Kind::BpfPin, None), first),
            Op::MKDIR | Op::MKDIRAT => {
                self.enter(header, process, made(Kind::Directory, None), first);
            }
            Op::MKNOD | Op::MKNODAT => {
                let kind = kind::of_mode(name.flags as u16);
                self.enter(header, process, made(kind, None), first);
            }
            Op::SYMLINK | Op::SYMLINKAT => {
                self.enter(header, process, made(Kind::Symlink, None), first);
            }
            Op::LINK | Op::LINKAT => {
                let second = path::absolute(second_directory, second);
                let kind = self.linked_kind(name.mnt_ns, first);
                self.enter(header, process, made(kind, Some(true)), second);
            }
            _ => {
                let second = path::absolute(second_directory, second);
                self.renamed(header, process, name, first, second);
            }
        }
    }

    fn name_removed(&mut self, header: &Header, id: ProcessId, name: &Name, path: Option<Vec<u8>>) {
        let Some(path) = path else {
            return;
        };
        let Some(removed) = self.ledger.unlink_name(&(name.mnt_ns, path), name.begin_ns) else {
            return;
        };
        if let (Some(tid), Some(acquired)) = (removed.resource.tid, removed.resource.acquired) {
            self.stacking.released(tid.0, acquired.0);
        }
        if matches!(removed.resource.kind, Kind::PosixShm | Kind::PosixSem) {
            self.ipc_removed(header, id, &removed, name.begin_ns);
        }
    }

    /// A new link is of the kind of the name that it links.
    fn linked_kind(&self, namespace: u32, path: Option<Vec<u8>>) -> Kind {
        let known = path.and_then(|path| self.ledger.name(&(namespace, path)));
        match known.map(|created| created.resource.kind) {
            Some(Kind::PosixShm | Kind::PosixSem) | None => Kind::File,
            Some(kind) => kind,
        }
    }

    fn renamed(
        &mut self,
        header: &Header,
        process: ProcessId,
        name: &Name,
        old: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) {
        match (old, new) {
            (Some(old), Some(new)) if name.flags & RENAME_EXCHANGE != 0 => {
                self.ledger.exchange(name.mnt_ns, old, new);
            }
            (Some(old), Some(new)) => {
                self.ledger.rename(name.mnt_ns, old, new, name.begin_ns);
            }
            // The old name is no more; what it has become is not known.
            (Some(old), None) => {
                if self.ledger.remove_name(&(name.mnt_ns, old)).is_some() {
                    self.name_unknown(header, process);
                }
            }
            (None, _) => {}
        }
    }

    pub(super) fn socket_name(
        &mut self,
        header: &Header,
        name: &SocketName,
        texts: &[Text<'_>; 2],
    ) {
        // A connect that is under way fails too (EINPROGRESS).
        if let Some(description) = self.described(header.table, name.fd, &name.identity) {
            self.descriptions.see(description, &name.identity);
        }
        if name.errno != 0 {
            return;
        }
        let Some(process) = self.live_of(header) else {
            return;
        };
        if Op(name.op) == Op::LISTEN {
            self.remains.may_keep = MayKeep::Yes;
        }
        let [address, path] = texts;
        let address = &address.of_socket();
        if let Some(description) = self.described(header.table, name.fd, &name.identity) {
            if !address.is_none() && Op(name.op) == Op::BIND {
                self.name_description(description, address);
            }
            let family = u16::from_ne_bytes([name.identity.detail[0], name.identity.detail[1]]);
            self.set_ends(description, &thing::ends(family, &name.local, &name.peer));
        }
        if Op(name.op) == Op::BIND && name.name_identity != FileIdentity::default() {
            let made = Made {
                kind: Kind::Unix,
                op: Op::BIND,
                namespace: name.mnt_ns,
                id: Some(file_id(&name.name_identity)),
                exclusive: None,
            };
            let path = match path.is_none() {
                true => path::absolute(&Text::default(), address),
                false => path::absolute(&Text::default(), path),
            };
            self.enter(header, process, made, path);
        }
    }
}

impl Model {
    /// Something was mounted at `at`, or moved there from `from`.
    fn mounted(
        &mut self,
        header: &Header,
        id: ProcessId,
        name: &Name,
        at: Option<Vec<u8>>,
        from: Option<Vec<u8>>,
        second: &Text<'_>,
    ) {
        let op = Op(name.op);
        let (Some(at), Some(process)) = (at, self.processes.get(id)) else {
            self.name_unknown(header, id);
            return;
        };
        let creator = process.key;
        let moved = match op {
            Op::MOUNT => name.flags & MS_MOVE != 0,
            // With an empty path it is a mount that only an fd has: fsmount(2), open_tree(2).
            _ => name.flags & MOVE_MOUNT_F_EMPTY_PATH == 0,
        };
        if moved {
            if let Some(from) = from {
                self.ledger.move_mount(name.mnt_ns, &from, at);
            }
            return;
        }
        let bind = op != Op::MOUNT || name.flags & MS_BIND != 0;
        let created = Created {
            resource: ResourceFacts {
                kind: Kind::Mount,
                path: Some(at.clone().into()),
                acquired: Some(KtimeNs(header.time_ns)),
                tid: Some(Tid(header.tid)),
                op: Some(op),
                ..ResourceFacts::default()
            },
            creator,
            namespace: name.mnt_ns,
            sure: true,
            exclusive: None,
            locked: false,
            mounted: Some(Box::new(match bind {
                true => Mounted::Bind(from.map(Into::into)),
                false => Mounted::Filesystem(second.path().map(|text| text.to_vec().into())),
            })),
        };
        self.ledger.add_mount((name.mnt_ns, at), created);
    }

    fn unmounted(&mut self, namespace: u32, at: Option<Vec<u8>>) {
        if let Some(at) = at {
            self.ledger.remove_mount(&(namespace, at));
        }
    }
}

/// Kernel identity of an inode.
pub(super) fn file_id(identity: &FileIdentity) -> FileId {
    FileId {
        dev: identity.dev,
        ino: identity.ino,
        generation: identity.generation,
    }
}
