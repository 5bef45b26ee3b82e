//! Built facts for tests: a small run, put together call by call.

use bytes::Bytes;
use leaktrace_common::abi::Op;

use crate::{
    audit,
    census::{Answer, Found, Question},
    id::{Fd, FileId, KtimeNs, Pid, ProcessKey, Tid},
    model::facts::{
        Created, EndFacts, Facts, Held, Kind, ProcessFacts, ReleaseFacts, ResourceFacts,
        SignalFacts,
    },
    policy::Policy,
    report::{Child, Clock, Finding, Process, Report},
    source::{End, Start},
};

/// ns of a millisecond.
pub(crate) const MS: u64 = 1_000_000;

/// Attach, ns of CLOCK_BOOTTIME.
pub(crate) const START: u64 = 1_000_000 * MS;

/// That moment's ns since the epoch.
pub(crate) const EPOCH: u64 = 1_700_000_000_000 * MS;

const OWN_MNT: u32 = 11;
const OWN_IPC: u32 = 12;

/// A run that is being put together. Times are ms after attach.
pub(crate) struct Run {
    pub(crate) facts: Facts,
    pub(crate) answers: Vec<Answer>,
    pub(crate) start: Start,
    pub(crate) end: End,
    pub(crate) policy: Policy,
}

/// A moment, ms after attach.
pub(crate) fn at(ms: u64) -> KtimeNs {
    KtimeNs(START + ms * MS)
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// An identity with this inode number.
pub(crate) fn file_id(ino: u64) -> FileId {
    FileId {
        dev: 8 << 20 | 1,
        ino,
        generation: 5,
    }
}

impl Run {
    /// `sh` as CMD's root, from 1 ms to 40 ms, in /ws.
    pub(crate) fn new() -> Run {
        let mut run = Run {
            facts: Facts::default(),
            answers: Vec::new(),
            start: Start {
                clock: Clock {
                    boot_id: "b".into(),
                    boottime_ns: START,
                    realtime_ns: EPOCH,
                },
                command: vec!["sh".into(), "./ci/test.sh".into()],
                cwd: b"/ws".to_vec(),
                temp_roots: [&b"/tmp"[..], b"/var/tmp", b"/dev/shm"]
                    .map(Vec::from)
                    .to_vec(),
                mnt_ns: OWN_MNT,
                ipc_ns: OWN_IPC,
                settle_ns: 2_000 * MS,
                ..Start::default()
            },
            end: End {
                child: Child {
                    exit_code: Some(0),
                    signal: None,
                },
                child_reaped_ns: at(41).0,
                judged_ns: at(50).0,
                ..End::default()
            },
            policy: Policy::default(),
        };
        run.end.events.produced = 412;
        run.end.events.received = 412;
        run.end.settle.waited_ns = 8 * MS;
        let outside = ProcessKey::default();
        let root = run.process(4126, outside, 1, &["sh", "./ci/test.sh"]);
        run.facts.root = Some(root);
        run.exits(root, 40, 0);
        run
    }

    pub(crate) fn root(&self) -> ProcessKey {
        self.facts.root.unwrap_or_default()
    }

    /// A child of `parent`, born and exec'd at `ms`; it lives until [`Run::exits`].
    pub(crate) fn process(
        &mut self,
        pid: u32,
        parent: ProcessKey,
        ms: u64,
        argv: &[&str],
    ) -> ProcessKey {
        let key = ProcessKey {
            pid: Pid(pid),
            start: at(ms),
        };
        let process = ProcessFacts {
            key,
            ns_pid: Pid(pid),
            parent,
            comm: bytes(argv[0]),
            exe: Some(bytes(&format!("/usr/bin/{}", argv[0]))),
            argv: argv.iter().map(|arg| bytes(arg)).collect(),
            born: at(ms),
            exec: Some(at(ms)),
            first_exec: Some(at(ms)),
            threads: 1,
            mnt_ns: OWN_MNT,
            ..ProcessFacts::default()
        };
        self.facts.processes.insert(key, process);
        key
    }

    pub(crate) fn of(&mut self, key: ProcessKey) -> &mut ProcessFacts {
        self.facts.processes.entry(key).or_default()
    }

    /// Exits with a wait status and is reaped 1 ms later.
    pub(crate) fn exits(&mut self, key: ProcessKey, ms: u64, status: i32) {
        let process = self.of(key);
        process.threads = 0;
        process.reaped = Some(at(ms + 1));
        process.end = Some(EndFacts {
            at: at(ms),
            exit_group: Some(KtimeNs(at(ms).0 - MS / 10)),
            status,
            notified: Some(KtimeNs(at(ms).0 + MS / 5)),
            walk_complete: true,
            ..EndFacts::default()
        });
    }

    pub(crate) fn end_of(&mut self, key: ProcessKey) -> &mut EndFacts {
        self.of(key).end.get_or_insert_default()
    }

    /// Something with a name was made at `ms`.
    pub(crate) fn creates(
        &mut self,
        creator: ProcessKey,
        ms: u64,
        kind: Kind,
        path: &str,
        id: Option<FileId>,
    ) -> &mut Created {
        self.facts.created.push(Created {
            resource: ResourceFacts {
                kind,
                path: Some(bytes(path)),
                id,
                acquired: Some(at(ms)),
                op: Some(Op::OPENAT),
                ..ResourceFacts::default()
            },
            creator,
            namespace: if kind == Kind::PosixMq {
                OWN_IPC
            } else {
                OWN_MNT
            },
            sure: true,
            exclusive: None,
            locked: false,
            mounted: None,
        });
        let last = self.facts.created.len() - 1;
        &mut self.facts.created[last]
    }

    /// A SysV object was made at `ms`.
    pub(crate) fn creates_sysv(
        &mut self,
        creator: ProcessKey,
        ms: u64,
        kind: Kind,
        id: i32,
    ) -> &mut Created {
        let op = match kind {
            Kind::SysvSem => Op::SEMGET,
            Kind::SysvMsg => Op::MSGGET,
            _ => Op::SHMGET,
        };
        self.facts.created.push(Created {
            resource: ResourceFacts {
                kind,
                ipc_id: Some(id),
                bytes: (kind == Kind::SysvShm).then_some(4096),
                acquired: Some(at(ms)),
                op: Some(op),
                ..ResourceFacts::default()
            },
            creator,
            namespace: OWN_IPC,
            sure: true,
            exclusive: None,
            locked: false,
            mounted: None,
        });
        let last = self.facts.created.len() - 1;
        &mut self.facts.created[last]
    }

    /// What the run asks now.
    pub(crate) fn questions(&self) -> Vec<Question> {
        audit::questions(&self.facts, &self.start, &self.policy, audit::Scope::Judged)
    }

    /// Answers every question alike.
    pub(crate) fn answer(&mut self, found: impl Fn(&Question) -> Found) {
        for question in self.questions() {
            self.answers.push(Answer {
                found: found(&question),
                question,
                time_ns: at(45).0,
            });
        }
    }

    pub(crate) fn judge(&self) -> Report {
        audit::judge(
            &self.facts,
            &self.answers,
            &self.start,
            &self.end,
            &self.policy,
        )
    }

    /// A file opened and still open at exit.
    pub(crate) fn holds(&mut self, key: ProcessKey, kind: Kind, fd: Option<i32>, path: &str) {
        let held = Held {
            resource: ResourceFacts {
                kind,
                fd: fd.map(Fd),
                path: (!path.is_empty()).then(|| bytes(path)),
                acquired: Some(at(5)),
                op: Some(Op::OPENAT),
                ..ResourceFacts::default()
            },
            inherited: false,
            count: 1,
            ..Held::default()
        };
        std::sync::Arc::make_mut(&mut self.end_of(key).held).push(held);
    }

    /// A terminating signal at `ms` from the root.
    pub(crate) fn signal(&mut self, key: ProcessKey, signal: u32, ms: u64) {
        let sender = self.root().pid;
        self.of(key).signals.push(SignalFacts {
            signal,
            at: at(ms),
            code: 0,
            sender,
            sender_comm: bytes("sh"),
            acquired_after: false,
        });
    }

    /// A release at `released` ms of what was the `rank`-th acquisition.
    pub(crate) fn releases(&mut self, key: ProcessKey, rank: u64, kind: Kind, released: u64) {
        let fd = i32::try_from(rank).unwrap_or(0) + 3;
        let tid = Tid(key.pid.0);
        let release = release(kind, rank, fd, at(released), tid);
        self.of(key).releases.push(release);
    }
}

/// A release; acquired `rank` ms after 2 ms.
pub(crate) fn release(kind: Kind, rank: u64, fd: i32, released: KtimeNs, tid: Tid) -> ReleaseFacts {
    ReleaseFacts {
        resource: ResourceFacts {
            kind,
            fd: Some(Fd(fd)),
            path: Some(bytes(&format!("/etc/{rank}"))),
            acquired: Some(KtimeNs(START + 2 * MS + rank)),
            released: Some(released),
            tid: Some(tid),
            op: Some(Op::OPENAT),
            ..ResourceFacts::default()
        },
        rank,
        released_by: tid,
        duration_ns: 1_000,
    }
}

/// A file that the census found.
pub(crate) fn file(id: FileId, mode: u32) -> Found {
    Found::File {
        id,
        mode,
        bytes: 12,
        entries: 0,
        birth_ns: None,
        changed_ns: None,
        wall_ns: None,
        clock_was_set: false,
        holds_pid: None,
        elsewhere: None,
    }
}

/// A SysV object that the census found.
pub(crate) fn sysv(creator: Option<u32>) -> Found {
    Found::Sysv {
        creator_pid: creator,
        size: 4096,
        users: 0,
        ctime: EPOCH / 1_000_000_000,
        dying: false,
    }
}

/// A running process that the census found.
pub(crate) fn running() -> Found {
    Found::Process {
        state: 'S',
        parent_pid: 1,
        // As the model has it.
        comm: Vec::new(),
    }
}

/// The ids of a report's findings.
pub(crate) fn rules(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|f| f.rule.as_str()).collect()
}

/// The findings that are off.
pub(crate) fn off<'a>(report: &'a Report, rule: &str) -> Option<&'a Finding> {
    report.off.iter().find(|finding| finding.rule == rule)
}

/// A process of a report.
pub(crate) fn process(report: &Report, key: ProcessKey) -> Process {
    report
        .processes
        .iter()
        .find(|process| process.key == key)
        .cloned()
        .unwrap_or_default()
}
