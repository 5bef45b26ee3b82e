//! LT402 release-failed.

use leaktrace_common::abi::Op;

use super::{Group, Remedy, RuleInfo, bad_close, double_release};
use crate::{
    audit::case::{Case, Observation},
    model::facts::{ProcessFacts, Refused},
    report::{Level, Resource},
    sink::human,
};

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EBADF: i32 = 9;

/// LT402.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT402",
    name: "release-failed",
    group: Group::Misuse,
    level: Level::Note,
    title: "The kernel refused a release. EIO from close is an error: written data was lost.",
    why: "What was to go is still there, unless the call is close(2), which frees the number \
          whatever it returns. EIO, and ENOSPC and EDQUOT on network file systems, say there that \
          earlier writes did not reach the disk, and this is the last moment at which anybody is \
          told.",
    fix: "Look at what the call returns. Before close, fsync(2) where the data matters.",
    allow: "LT402:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let judged = case.judged(Group::Misuse);
    let mut seen: Vec<_> = judged.flat_map(|it| failed(it, is_failure)).collect();
    // That data was lost is what the record of the close says, whatever other records say.
    let doubted = case.doubted(Group::Misuse);
    seen.extend(doubted.flat_map(|it| failed(it, is_data_loss)));
    seen
}

fn failed(
    process: &ProcessFacts,
    is: fn(&Refused) -> bool,
) -> impl Iterator<Item = Observation> + '_ {
    let failed = process.refused.iter().filter(move |refused| is(refused));
    failed.map(|refused| Observation {
        level: is_data_loss(refused).then_some(Level::Error),
        ..bad_close::observation(process, refused)
    })
}

/// Releases of things held. Names are left out: an unlink of what is not there, or an rmdir of
/// what is not empty, is how ordinary programs look. EINTR frees the number all the same, and
/// EBADF is LT401.
fn is_failure(refused: &Refused) -> bool {
    let of_held = matches!(
        refused.op,
        Op::CLOSE
            | Op::CLOSE_RANGE
            | Op::MUNMAP
            | Op::SHMDT
            | Op::SHMCTL
            | Op::SEMCTL
            | Op::MSGCTL
            | Op::MQ_UNLINK
    );
    of_held
        && !double_release::is_again(refused)
        && refused.errno != EBADF
        && !(refused.op == Op::CLOSE && refused.errno == EINTR)
}

fn is_data_loss(refused: &Refused) -> bool {
    refused.op == Op::CLOSE && refused.errno == EIO
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let call = seen.resource.syscall.as_deref().unwrap_or("?");
    let errno = human::errno(seen.errno.unwrap_or(0));
    let lost = match (call, seen.errno) {
        ("close", Some(EIO)) => ": written data was lost",
        _ => "",
    };
    format!(
        "{call} of {} failed with {errno}{lost}",
        super::name(&seen.resource)
    )
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "look at what the call returns; fsync before close where the data matters".to_owned(),
        now: None,
    }
}
