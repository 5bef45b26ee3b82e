//! Builds records, for tests of everything that stands on the model.
//!
//! A [`Script`] plays the kernel: it knows tasks, gives out sequence numbers and times, and
//! writes whole batches, so that tests go through decoding too.

use bytes::Bytes;
use leaktrace_common::{
    abi::Op,
    record::{
        Family, FileIdentity, Header, TextRef,
        call::Call,
        exit::{ExitGroup, ExitNotify, ExitProcess},
        file::{FdAcquire, FdGone, FdRelease, FdTable, FdWalk, WALK_LEN, WalkEntry, walk_cause},
        ipc::{IpcGet, IpcRemove, ShmAttach},
        kind,
        mapping::{Map, Remap, Unmap},
        name::Name,
        signal::SignalGenerate,
        task::{Exec, Free, Reap, Seed, TaskFacts, TaskNew},
        text_kind,
    },
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// Size of every text area.
const AREA: u16 = 256;

/// A process of a script.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// Pid, also of its only thread.
    pub pid: u32,
    /// Acting thread.
    pub tid: u32,
    /// Start, ns.
    pub start_ns: u64,
    /// Its parent's pid and start.
    pub parent: (u32, u64),
    /// fd table.
    pub table: u32,
    /// Address space.
    pub mm: u64,
}

impl Actor {
    /// A process whose parent is not watched. Its table and address space have its pid's number.
    pub fn new(pid: u32) -> Actor {
        Actor {
            pid,
            tid: pid,
            start_ns: u64::from(pid) * 1_000,
            parent: (1, 1),
            table: pid,
            mm: u64::from(pid) << 12,
        }
    }

    /// A child of `parent` with a table of its own.
    pub fn child_of(parent: &Actor, pid: u32) -> Actor {
        Actor {
            parent: (parent.pid, parent.start_ns),
            ..Actor::new(pid)
        }
    }

    /// Another thread of the same process.
    pub fn thread(&self, tid: u32) -> Actor {
        Actor { tid, ..*self }
    }

    fn task(&self) -> TaskFacts {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"test");
        TaskFacts {
            mm: self.mm,
            start_ns: self.start_ns,
            parent_start_ns: self.parent.1,
            nofile: 1024,
            pid: self.pid,
            tid: self.tid,
            ns_pid: self.pid,
            parent_pid: self.parent.0,
            table: self.table,
            exit_signal: 17,
            comm,
            ..TaskFacts::default()
        }
    }
}

/// Writes records.
#[derive(Clone, Debug, Default)]
pub struct Script {
    bytes: Vec<u8>,
    /// Time of the next record, ns; each takes 1,000.
    pub now: u64,
    seq: u64,
    walk: u32,
    /// What the next records' `dropped` says.
    pub dropped: u32,
    /// What the kernel counts as mapped at the next exec or exit.
    pub rest_vm: u64,
}

/// Identity of a regular file at this address.
pub fn file(address: u64) -> FileIdentity {
    FileIdentity {
        file: address,
        ino: address & 0xffff,
        dev: 8,
        mode: 0o100_644,
        count: 1,
        magic: 0xef53,
        ..FileIdentity::default()
    }
}

impl Script {
    /// An empty script that begins at second 1,000.
    pub fn new() -> Script {
        Script {
            now: 1_000_000_000_000,
            ..Script::default()
        }
    }

    /// The records so far; the script goes on after them.
    pub fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.bytes))
    }

    /// Any record.
    pub fn record<T: IntoBytes + Immutable>(
        &mut self,
        actor: &Actor,
        kind: u16,
        seq: u64,
        payload: &T,
        texts: &[&[u8]],
    ) {
        self.now += 1_000;
        let len = size_of::<Header>() + size_of::<T>() + texts.len() * usize::from(AREA);
        let header = Header {
            len: len as u16,
            kind,
            dropped: self.dropped,
            pid: actor.pid,
            tid: actor.tid,
            ns_pid: actor.pid,
            start_ns: actor.start_ns,
            time_ns: self.now,
            table: actor.table,
            seq,
            ..Header::default()
        };
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(payload.as_bytes());
        for text in texts {
            let end = self.bytes.len() + usize::from(AREA);
            self.bytes.extend_from_slice(text);
            self.bytes.resize(end, 0);
        }
        let padded = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(padded, 0);
    }

    /// Gives out the next sequence number.
    pub fn seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// The held child.
    pub fn root(&mut self, actor: &Actor) {
        let seed = Seed { task: actor.task() };
        self.record(actor, kind::ROOT, 0, &seed, &[]);
    }

    /// A process that was there before.
    pub fn seed(&mut self, actor: &Actor) {
        let seed = Seed { task: actor.task() };
        self.record(actor, kind::SEED, 0, &seed, &[]);
    }

    /// `parent` makes `child`.
    pub fn fork(&mut self, parent: &Actor, child: &Actor, clone_flags: u64) {
        let new = TaskNew {
            clone_flags,
            child: child.task(),
            rest_vm: self.rest_vm,
        };
        self.record(parent, kind::TASK_NEW, 0, &new, &[]);
    }

    /// execve of `/bin/test` with the fds that stay open.
    pub fn exec(&mut self, actor: &Actor, fds: &[(i32, FileIdentity)]) {
        let text = |text: &[u8], kind| TextRef {
            len: text.len() as u16,
            kind,
            flags: 0,
        };
        let texts: [&[u8]; 3] = [b"test\0bin\0", b"test\0-x\0", b"work\0"];
        let exec = Exec {
            task: actor.task(),
            mnt_ns: 1,
            rest_vm: self.rest_vm,
            area: AREA,
            text: [
                text(texts[0], text_kind::WALK),
                text(texts[1], text_kind::RAW),
                text(texts[2], text_kind::WALK),
                TextRef::default(),
            ],
            ..Exec::default()
        };
        self.record(actor, kind::EXEC, 0, &exec, &texts);
        self.walk(actor, walk_cause::EXEC, fds);
    }

    /// A walk of the table; its number.
    pub fn walk(&mut self, actor: &Actor, cause: u32, fds: &[(i32, FileIdentity)]) -> u32 {
        self.walk += 1;
        let seq = self.seq();
        let mut bases: Vec<i32> = fds.iter().map(|(fd, _)| fd / WALK_LEN as i32).collect();
        bases.sort_unstable();
        bases.dedup();
        if bases.is_empty() {
            bases.push(0);
        }
        for base in bases {
            let mut part = FdWalk::new_zeroed();
            part.walk = self.walk;
            part.cause = cause;
            part.base = base as u32 * WALK_LEN as u32;
            part.total = fds.len() as u32;
            part.sharers = 1;
            for (fd, identity) in fds.iter().filter(|(fd, _)| fd / WALK_LEN as i32 == base) {
                let place = *fd as usize % WALK_LEN;
                part.mask |= 1 << place;
                part.entries[place] = WalkEntry {
                    identity: *identity,
                    ..WalkEntry::default()
                };
            }
            self.record(actor, kind::FD_WALK, seq, &part, &[]);
        }
        self.walk
    }

    /// An fd came by `op`; `path` as the program passed it.
    pub fn acquire(&mut self, actor: &Actor, fd: i32, identity: FileIdentity, op: Op, path: &str) {
        let seq = self.seq();
        self.acquire_at(actor, seq, fd, identity, op, path);
    }

    /// The same with a sequence number that was given out before.
    pub fn acquire_at(
        &mut self,
        actor: &Actor,
        seq: u64,
        fd: i32,
        identity: FileIdentity,
        op: Op,
        path: &str,
    ) {
        let acquire = FdAcquire {
            identity,
            fd,
            source_fd: -1,
            mnt_ns: 1,
            op: op.0,
            area: AREA,
            text: user(path),
            ..FdAcquire::default()
        };
        self.record(actor, kind::FD_ACQUIRE, seq, &acquire, &[path.as_bytes()]);
    }

    /// An fd that was found in the actor's table during `op`.
    pub fn found(&mut self, actor: &Actor, fd: i32, identity: FileIdentity, op: Op) {
        let acquire = FdAcquire {
            identity,
            fd,
            source_fd: -1,
            op: op.0,
            flags: leaktrace_common::record::file::acquire_flag::FOUND,
            ..FdAcquire::default()
        };
        self.record(actor, kind::FD_ACQUIRE, 0, &acquire, &[]);
    }

    /// A number was taken out of the table by something else than a call of its own; it holds
    /// the file at `now` by now.
    pub fn gone(&mut self, actor: &Actor, fd: i32, now: u64) {
        let gone = FdGone {
            now,
            fd,
            op: Op::URING_CLOSE.0,
            ..FdGone::default()
        };
        let seq = self.seq();
        self.record(actor, kind::FD_GONE, seq, &gone, &[]);
    }

    /// openat of `path`.
    pub fn open(&mut self, actor: &Actor, fd: i32, address: u64, path: &str) {
        self.acquire(actor, fd, file(address), Op::OPENAT, path);
    }

    /// openat that made the file; `path` is absolute.
    pub fn create(&mut self, actor: &Actor, fd: i32, address: u64, path: &str) {
        let seq = self.seq();
        let acquire = FdAcquire {
            identity: file(address),
            fd,
            source_fd: -1,
            mnt_ns: 1,
            op: Op::OPENAT.0,
            flags: leaktrace_common::record::file::acquire_flag::CREATED,
            area: AREA,
            text: user(path),
            ..FdAcquire::default()
        };
        self.record(actor, kind::FD_ACQUIRE, seq, &acquire, &[path.as_bytes()]);
    }

    /// close that took 500 ns.
    pub fn close(&mut self, actor: &Actor, fd: i32, address: u64) {
        let seq = self.seq();
        self.release_at(actor, seq, fd, address, Op::CLOSE, 0);
    }

    /// A release with a sequence number that was given out before.
    pub fn release_at(
        &mut self,
        actor: &Actor,
        seq: u64,
        fd: i32,
        address: u64,
        op: Op,
        errno: i32,
    ) {
        let release = FdRelease {
            file: address,
            begin_ns: self.now + 500,
            fd,
            errno,
            op: op.0,
            ..FdRelease::default()
        };
        self.record(actor, kind::FD_RELEASE, seq, &release, &[]);
    }

    /// The actor left table `old` for its own.
    pub fn table(&mut self, actor: &Actor, old: u32) {
        let moved = FdTable {
            old_table: old,
            reserved: 0,
        };
        self.record(actor, kind::FD_TABLE, 0, &moved, &[]);
    }

    /// A signal was generated for the actor.
    pub fn signal(&mut self, actor: &Actor, signal: u32) {
        let signal = SignalGenerate {
            signal,
            group: 1,
            sender_pid: 1,
            ..SignalGenerate::default()
        };
        self.record(actor, kind::SIGNAL_GENERATE, 0, &signal, &[]);
    }

    /// A name operation on absolute paths.
    pub fn name(&mut self, actor: &Actor, op: Op, flags: u32, path: &str, other: &str) {
        self.name_since(actor, op, flags, (path, other), 0);
    }

    /// The same, begun at a time of its own.
    pub fn name_since(
        &mut self,
        actor: &Actor,
        op: Op,
        flags: u32,
        (path, other): (&str, &str),
        begin_ns: u64,
    ) {
        let name = Name {
            begin_ns,
            mnt_ns: 1,
            flags,
            op: op.0,
            area: AREA,
            text: [
                TextRef::default(),
                user(path),
                TextRef::default(),
                user(other),
            ],
            ..Name::default()
        };
        let texts: [&[u8]; 4] = [b"", path.as_bytes(), b"", other.as_bytes()];
        self.record(actor, kind::NAME, 0, &name, &texts);
    }

    /// shmget, semget, msgget that made something in ipc namespace 1.
    pub fn ipc_get(&mut self, actor: &Actor, what: u32, id: i32, created: u32) {
        let get = IpcGet {
            size: 4096,
            what,
            id,
            ipc_ns: 1,
            created,
            ..IpcGet::default()
        };
        self.record(actor, kind::IPC_GET, 0, &get, &[]);
    }

    /// IPC_RMID.
    pub fn ipc_remove(&mut self, actor: &Actor, what: u32, id: i32, errno: i32) {
        let remove = IpcRemove {
            what,
            id,
            ipc_ns: 1,
            errno,
            begin_ns: self.now,
        };
        self.record(actor, kind::IPC_REMOVE, 0, &remove, &[]);
    }

    /// mmap.
    pub fn map(&mut self, actor: &Actor, address: u64, bytes: u64, flags: u32, fd: i32) {
        let map = Map {
            mm: actor.mm,
            address,
            bytes,
            prot: 3,
            flags,
            fd,
            dev: 0,
            ino: 0,
        };
        self.record(actor, kind::MAP, 0, &map, &[]);
    }

    /// brk of a heap that begins at `begin`, to `end`.
    pub fn brk(&mut self, actor: &Actor, begin: u64, end: u64) {
        let call = Call {
            arguments: [end, 0, 0, 0],
            result: end as i64,
            file: actor.mm,
            value: begin,
            interval: end,
            op: Op::BRK.0,
            ..Call::default()
        };
        let kind = u16::from(Family::Mapping as u8) << 8 | kind::CALL;
        self.record(actor, kind, 0, &call, &[]);
    }

    /// madvise of a range.
    pub fn advise(&mut self, actor: &Actor, address: u64, bytes: u64, advice: u64) {
        let call = Call {
            arguments: [address, bytes, advice, 0],
            op: Op::MADVISE.0,
            ..Call::default()
        };
        let kind = u16::from(Family::Mapping as u8) << 8 | kind::CALL;
        self.record(actor, kind, 0, &call, &[]);
    }

    /// mremap of a range to another place; 0: nothing failed.
    pub fn remap(&mut self, actor: &Actor, old: (u64, u64), new: (u64, u64), errno: i32) {
        let remap = Remap {
            mm: actor.mm,
            old_address: old.0,
            old_bytes: old.1,
            new_address: if errno == 0 { new.0 } else { 0 },
            new_bytes: new.1,
            begin_ns: 0,
            flags: 3,
            errno,
        };
        self.record(actor, kind::REMAP, 0, &remap, &[]);
    }

    /// shmat of a segment in ipc namespace 1.
    pub fn attach(&mut self, actor: &Actor, address: u64, id: i32) {
        let attach = ShmAttach {
            mm: actor.mm,
            address,
            id,
            ipc_ns: 1,
        };
        self.record(actor, kind::SHM_ATTACH, 0, &attach, &[]);
    }

    /// An fd that was there at attach.
    pub fn fd_seed(&mut self, actor: &Actor, fd: i32, identity: FileIdentity) {
        let seed = FdAcquire {
            identity,
            fd,
            source_fd: -1,
            ..FdAcquire::default()
        };
        self.record(actor, kind::FD_SEED, 0, &seed, &[]);
    }

    /// munmap.
    pub fn unmap(&mut self, actor: &Actor, address: u64, bytes: u64) {
        self.unmap_since(actor, address, bytes, self.now + 500);
    }

    /// munmap that began at a time.
    pub fn unmap_since(&mut self, actor: &Actor, address: u64, bytes: u64, begin_ns: u64) {
        let unmap = Unmap {
            mm: actor.mm,
            address,
            bytes,
            begin_ns,
            ..Unmap::default()
        };
        self.record(actor, kind::UNMAP, 0, &unmap, &[]);
    }

    /// The whole end of a process: exit_group, walk, last thread, notification.
    pub fn exit(&mut self, actor: &Actor, status: i32, fds: &[(i32, FileIdentity)]) {
        self.record(actor, kind::EXIT_GROUP, 0, &ExitGroup::default(), &[]);
        let walk = self.walk(actor, walk_cause::EXIT, fds);
        self.exit_with(actor, status, walk);
        self.record(actor, kind::EXIT_NOTIFY, 0, &ExitNotify::default(), &[]);
    }

    /// The last thread's exit alone.
    pub fn exit_with(&mut self, actor: &Actor, status: i32, walk: u32) {
        let exit = ExitProcess {
            mm: actor.mm,
            rest_vm: self.rest_vm,
            walk,
            group_exit_code: status,
            signal_flags: 4,
            parent_pid: actor.parent.0,
            parent_start_ns: actor.parent.1,
            comm: actor.task().comm,
            ..ExitProcess::default()
        };
        self.record(actor, kind::EXIT_PROCESS, 0, &exit, &[]);
    }

    /// The kernel has given back the memory of a task.
    pub fn free(&mut self, actor: &Actor) {
        let free = Free {
            tid: actor.tid,
            reserved: 0,
        };
        self.record(actor, kind::FREE, 0, &free, &[]);
    }

    /// A wait took the child with this number.
    pub fn reap(&mut self, actor: &Actor, ns_pid: u32) {
        let reap = Reap {
            ns_pid,
            reserved: 0,
        };
        self.record(actor, kind::REAP, 0, &reap, &[]);
    }
}

fn user(text: &str) -> TextRef {
    match text.is_empty() {
        true => TextRef::default(),
        false => TextRef {
            len: text.len() as u16,
            kind: text_kind::USER,
            flags: 0,
        },
    }
}
