//! LT401 bad-close.

use leaktrace_common::abi::Op;

use super::{Group, Remedy, RuleInfo, double_release};
use crate::{
    audit::{
        case::{Case, Observation},
        resource,
    },
    id::Fd,
    model::facts::{Kind, ProcessFacts, Refused, ResourceFacts},
    report::{Level, Resource},
};

const EBADF: i32 = 9;

/// LT401.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT401",
    name: "bad-close",
    group: Group::Misuse,
    level: Level::Note,
    title: "close was called with a number that was not open.",
    why: "Alone it does nothing. But the number came from somewhere: a variable that was never set, or \
          an fd of another process. Once another thread or a later line opens a file under that \
          number, the same call closes that one. Runs of ascending closes over unused numbers, as \
          daemons do before exec, are not in here; a second close of the same fd is LT403.",
    fix: "Let one owner close each fd, and set the variable to -1 after it.",
    allow: "LT401:comm=python3",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Misuse) {
        let bad = process
            .refused
            .iter()
            .filter(|refused| refused.op == Op::CLOSE && refused.errno == EBADF)
            .filter(|refused| !double_release::is_again(refused));
        seen.extend(bad.map(|refused| observation(process, refused)));
    }
    seen
}

/// A refused release with what is known of its argument.
pub(super) fn observation(process: &ProcessFacts, refused: &Refused) -> Observation {
    let is_fd = matches!(refused.op, Op::CLOSE | Op::DUP2 | Op::DUP3);
    let unknown = ResourceFacts {
        kind: meant(refused.op),
        fd: is_fd.then_some(Fd(refused.argument as i32)),
        address: (!is_fd).then_some(refused.argument),
        ..ResourceFacts::default()
    };
    let mut told = resource::report(refused.resource.as_ref().unwrap_or(&unknown));
    // The site of a misuse is the call that failed, not the one that acquired.
    told.syscall = Some(refused.op.name().to_owned());
    told.released_ns = Some(refused.at.0);
    Observation {
        process: process.key,
        resource: told,
        errno: Some(refused.errno),
        ..Observation::default()
    }
}

/// What a call releases, where the thing itself is not known.
fn meant(op: Op) -> Kind {
    match op {
        Op::MUNMAP | Op::MREMAP => Kind::Anonymous,
        Op::SHMDT => Kind::ShmAttach,
        Op::SHMCTL => Kind::SysvShm,
        Op::SEMCTL => Kind::SysvSem,
        Op::MSGCTL => Kind::SysvMsg,
        Op::MQ_UNLINK => Kind::PosixMq,
        _ => Kind::Other,
    }
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let fd = seen.resource.fd.unwrap_or(-1);
    format!("close({fd}) of a number that was not open")
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "let one owner close each fd, and forget the number after it".to_owned(),
        now: None,
    }
}
