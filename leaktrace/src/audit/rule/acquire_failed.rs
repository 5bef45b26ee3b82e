//! LT504 acquire-failed.

use leaktrace_common::abi::Op;

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::{Kind, ProcessFacts, Refused, ResourceFacts},
    report::{Level, Resource},
    sink::human,
};

/// LT504.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT504",
    name: "acquire-failed",
    group: Group::Time,
    level: Level::Note,
    title: "An acquisition failed for want of room: EMFILE, ENFILE, ENOMEM or ENOSPC.",
    why: "Something is full: the process's fd table, the system's, memory or a limit on it, a disk or a pool of ids. What fails next is whatever asks next, and seldom handles it.",
    fix: "Find out what fills it (by_kind in the report, LT505 for what grows), release it earlier, or raise the limit.",
    allow: "LT504:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Time) {
        let failed = process.conduct.no_room.iter();
        seen.extend(failed.map(|failed| observation(process, failed)));
    }
    seen
}

fn observation(process: &ProcessFacts, failed: &Refused) -> Observation {
    let facts = ResourceFacts {
        kind: kind_of(failed.op),
        op: Some(failed.op),
        acquired: Some(failed.at),
        ..ResourceFacts::default()
    };
    Observation {
        process: process.key,
        resource: crate::audit::resource::report(&facts),
        errno: Some(failed.errno),
        ..Observation::default()
    }
}

/// What a call acquires.
fn kind_of(op: Op) -> Kind {
    match op {
        Op::SOCKET | Op::SOCKETPAIR | Op::ACCEPT | Op::ACCEPT4 => Kind::Socket,
        Op::PIPE | Op::PIPE2 => Kind::Pipe,
        Op::MEMFD_CREATE => Kind::Memfd,
        Op::EPOLL_CREATE | Op::EPOLL_CREATE1 | Op::EPOLL_CTL => Kind::Epoll,
        Op::EVENTFD | Op::EVENTFD2 => Kind::Eventfd,
        Op::TIMERFD_CREATE => Kind::Timerfd,
        Op::SIGNALFD | Op::SIGNALFD4 => Kind::Signalfd,
        Op::INOTIFY_INIT | Op::INOTIFY_INIT1 | Op::INOTIFY_ADD_WATCH => Kind::Inotify,
        Op::PIDFD_OPEN => Kind::Pidfd,
        Op::MMAP | Op::MREMAP => Kind::Anonymous,
        Op::MLOCK | Op::MLOCK2 | Op::MLOCKALL => Kind::LockedMemory,
        Op::IO_URING_SETUP | Op::IO_URING_ENTER | Op::IO_URING_REGISTER => Kind::IoUring,
        Op::IO_SETUP => Kind::Aio,
        Op::SHMGET => Kind::SysvShm,
        Op::SHMAT => Kind::ShmAttach,
        Op::SEMGET => Kind::SysvSem,
        Op::MSGGET => Kind::SysvMsg,
        Op::MQ_OPEN => Kind::PosixMq,
        Op::MKDIR | Op::MKDIRAT => Kind::Directory,
        Op::TIMER_CREATE => Kind::PosixTimer,
        _ => Kind::File,
    }
}

fn message(_: &Case<'_>, seen: &Observation, process: &ProcessFacts) -> String {
    let call = seen.resource.syscall.as_deref().unwrap_or("?");
    let errno = human::errno(seen.errno.unwrap_or(0));
    let nearest = process.conduct.nearest;
    let full = match errno.as_str() {
        "EMFILE" if nearest.limit > 0 => {
            format!(": RLIMIT_NOFILE is {}", human::count(nearest.limit))
        }
        _ => String::new(),
    };
    format!("{call} failed with {errno}{full}")
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "find out what fills it, and release that earlier".to_owned(),
        now: None,
    }
}
