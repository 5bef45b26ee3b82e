//! Pictures made by hand, for the tests.

use bytes::Bytes;
use leaktrace_common::abi::Op;

use crate::{
    id::{Fd, KtimeNs, Pid, ProcessKey, Tid},
    model::{
        facts::{Kind, ResourceFacts},
        snapshot::{Detail, DetailRow, ExitRow, LiveRow, ResidueRow, Snapshot, State, TimingRow},
    },
    report::{Clock, Coverage, CoverageStatus, Level, Summary, Verdict},
    tui::state::Site,
};

pub const SECOND: u64 = 1_000_000_000;
/// The time of the picture: long after boot, so that ages of days fit.
pub const NOW: KtimeNs = KtimeNs(1_000_000 * SECOND);

pub fn site() -> Site {
    Site {
        host: "build-07".into(),
        kernel: "6.18.5".into(),
        clock: Clock {
            boot_id: String::new(),
            boottime_ns: NOW.0,
            realtime_ns: (20_000 * 86_400 + 50_551) * SECOND,
        },
        utc_offset_s: 0,
    }
}

pub fn ago(seconds: f64) -> KtimeNs {
    KtimeNs(NOW.0 - (seconds * 1e9) as u64)
}

pub fn key(pid: u32, age_s: f64) -> ProcessKey {
    ProcessKey {
        pid: Pid(pid),
        start: ago(age_s),
    }
}

/// fd, sockets, mappings, rings, tasks, ipc.
type Tally = [u64; 6];

fn live(
    pid: u32,
    comm: &'static str,
    state: State,
    age_s: f64,
    tally: Tally,
    rate: f64,
) -> LiveRow {
    let [open, sockets, mappings, rings, tasks, ipc] = tally;
    LiveRow {
        key: key(pid, age_s),
        comm: Bytes::from_static(comm.as_bytes()),
        uid: 1000,
        state,
        fds: open - sockets - rings,
        sockets,
        mappings,
        rings,
        tasks,
        ipc,
        open,
        rate,
        limit: 1024,
        trusted: true,
        ..LiveRow::default()
    }
}

fn processes() -> Vec<LiveRow> {
    let mut rows = vec![
        live(6120, "postgres", State::Run, 3e5, [27, 9, 64, 0, 1, 2], 0.0),
        live(
            8123,
            "payments-api",
            State::Run,
            8_040.0,
            [817, 402, 211, 1, 38, 1],
            10.0,
        ),
        live(
            7710,
            "celery",
            State::Run,
            8_041.0,
            [143, 12, 188, 0, 9, 3],
            0.4,
        ),
        live(9011, "cargo", State::Run, 41.0, [96, 0, 44, 0, 12, 0], 0.1),
        live(9044, "rustc", State::Run, 6.0, [31, 0, 97, 0, 5, 0], 0.0),
        live(
            9102,
            "pytest",
            State::Teardown,
            3.0,
            [12, 2, 88, 0, 3, 0],
            -4.0,
        ),
        live(6121, "postgres", State::Run, 3e5, [11, 1, 62, 0, 1, 1], 0.0),
        live(
            9133,
            "a\u{1b}[31mb中",
            State::Exiting,
            1.0,
            [3, 0, 7, 0, 1, 0],
            0.0,
        ),
        live(9090, "node", State::Zombie, 8.0, [0, 0, 0, 0, 0, 0], 0.0),
    ];
    rows[1].full_in_s = Some(20.7);
    rows[2].full_in_s = Some(2_202.5);
    rows[3].limit = 65_536;
    rows[3].full_in_s = Some(654_400.0);
    rows[4].parent = rows[3].key;
    rows[6].parent = rows[0].key;
    rows[6].trusted = false;
    rows[8].limit = 0;
    rows
}

fn resource(kind: Kind, fd: i32, age_s: f64, op: Op, tid: u32) -> ResourceFacts {
    ResourceFacts {
        kind,
        fd: Some(Fd(fd)),
        acquired: Some(ago(age_s)),
        tid: Some(Tid(tid)),
        op: Some(op),
        ..ResourceFacts::default()
    }
}

fn only_here(resource: ResourceFacts) -> DetailRow {
    DetailRow {
        resource,
        ..DetailRow::default()
    }
}

fn connection(n: u32) -> DetailRow {
    only_here(ResourceFacts {
        local: Some(format!("10.0.3.7:{}", 51_544 - 2 * n)),
        peer: Some("10.0.9.2:5432".into()),
        ..resource(
            Kind::Tcp,
            816 - n as i32,
            0.14 + f64::from(n) * 0.1,
            Op::SOCKET,
            8140,
        )
    })
}

fn detail() -> Detail {
    let mut resources: Vec<DetailRow> = (0..402).map(connection).collect();
    resources.insert(
        2,
        only_here(ResourceFacts {
            path: Some(Bytes::from_static(b"/srv/tmp/upload.qx81 (deleted)")),
            bytes: Some(4 << 20),
            ..resource(Kind::File, 814, 0.3, Op::OPENAT, 8133)
        }),
    );
    resources.push(only_here(ResourceFacts {
        bytes: Some(64 << 10),
        ..resource(Kind::IoUring, 17, 8_040.0, Op::IO_URING_SETUP, 8123)
    }));
    resources.push(DetailRow {
        resource: ResourceFacts {
            path: Some(Bytes::from_static(b"/var/log/pay\nments.log")),
            acquired: None,
            ..resource(Kind::File, 9, 0.0, Op::NONE, 0)
        },
        shared_with: vec![Pid(8124), Pid(8125)],
        inherited: true,
    });
    resources.push(DetailRow {
        resource: ResourceFacts {
            fd: None,
            ipc_id: Some(32_769),
            bytes: Some(64 << 20),
            ..resource(Kind::SysvShm, 0, 8_040.0, Op::SHMGET, 8123)
        },
        shared_with: vec![Pid(8124)],
        inherited: false,
    });
    Detail {
        key: key(8123, 8_040.0),
        exe: Some(Bytes::from_static(b"/usr/bin/payments")),
        argv: ["payments", "--port", "8443"]
            .map(|word| Bytes::from_static(word.as_bytes()))
            .to_vec(),
        uid: 1000,
        resources,
        handled: vec![15, 2],
        ignored: vec![13],
        ..Detail::default()
    }
}

fn exit(pid: u32, comm: &'static str, verdict: Verdict, counts: [u64; 3], ns: u64) -> ExitRow {
    let [released, held, residue] = counts;
    ExitRow {
        key: key(pid, 5.0),
        comm: Bytes::from_static(comm.as_bytes()),
        at: ago(2.0),
        summary: Summary {
            acquired: released + held,
            released,
            held,
            residue,
            ..Summary::default()
        },
        teardown_ns: Some(ns),
        kernel_ns: Some(ns / 3),
        verdict: Some(verdict),
        first: None,
    }
}

fn exits() -> Vec<ExitRow> {
    let mut rows = vec![
        exit(9087, "worker", Verdict::Findings, [17, 3, 1], 1_200_000),
        exit(9085, "ls", Verdict::Clean, [2, 0, 0], 210_000),
        exit(9061, "java", Verdict::Inconclusive, [214, 9, 0], 48_000_000),
        exit(9060, "sh", Verdict::Clean, [3, 0, 0], 90_000),
    ];
    let first = |rule: &str, level, clause: &str| Some((rule.into(), level, clause.into()));
    rows[3].verdict = None;
    rows[0].first = first("LT103", Level::Error, "sysv-shm-left id 32770");
    rows[2].first = first("", Level::Note, "214 records lost");
    rows
}

fn residue() -> Vec<ResidueRow> {
    let left = |kind, path: Option<&'static str>, ipc_id, bytes| ResidueRow {
        resource: ResourceFacts {
            kind,
            path: path.map(|path| Bytes::from_static(path.as_bytes())),
            ipc_id,
            bytes: Some(bytes),
            acquired: Some(ago(4.0)),
            ..ResourceFacts::default()
        },
        creator: key(9087, 5.0),
        comm: Bytes::from_static(b"worker"),
    };
    vec![
        left(Kind::SysvShm, None, Some(32_770), 4096),
        left(Kind::File, Some("/tmp/upl\u{202e}oad.1"), None, 17),
        left(Kind::Unix, Some("/run/user/1000/worker.sock"), None, 0),
    ]
}

fn timing() -> Vec<TimingRow> {
    let row = |sample, class, n, percentiles: Option<[u64; 3]>| TimingRow {
        sample,
        class,
        n,
        min_ns: 800,
        max_ns: 52_000_000,
        p50_ns: percentiles.map(|p| p[0]),
        p90_ns: percentiles.map(|p| p[1]),
        p99_ns: percentiles.map(|p| p[2]),
        ..TimingRow::default()
    };
    vec![
        row("release", "fd", 48_210, Some([1_400, 6_000, 90_000])),
        row("release", "socket", 19, None),
        row(
            "teardown",
            "",
            1_902,
            Some([200_000, 1_200_000, 48_000_000]),
        ),
    ]
}

fn coverage() -> Vec<Coverage> {
    let row = |family: &str, status, reason: Option<&str>| Coverage {
        family: family.into(),
        status,
        reason: reason.map(Into::into),
    };
    vec![
        row("file", CoverageStatus::Full, None),
        row("socket", CoverageStatus::Full, None),
        row(
            "ring",
            CoverageStatus::Partial,
            Some("no tracepoint io_uring_task_add"),
        ),
        row(
            "ipc",
            CoverageStatus::None,
            Some("no member ipc_ids in the kernel's BTF"),
        ),
    ]
}

/// The picture of a busy machine.
pub fn picture() -> Snapshot {
    Snapshot {
        at: NOW,
        live: processes(),
        detail: Some(detail()),
        exits: exits(),
        ended: (1_902, 1_897, 4, 1),
        received: 482_100,
        lost: 0,
        lost_since: None,
        not_run: Some(0),
        coverage: coverage(),
        probes: (31, 33),
        residue: residue(),
        timing: timing(),
        ..Snapshot::default()
    }
}
