//! LT403 double-release.

use leaktrace_common::abi::Op;

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::case::{Case, Observation},
    model::facts::{ProcessFacts, Refused},
    report::{Level, Resource},
};

/// LT403.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT403",
    name: "double-release",
    group: Group::Misuse,
    level: Level::Note,
    title: "Something was released that the program had released before.",
    why: "The second call fails, and nobody looks. But as soon as another thread or a later line takes the number or the id again in between, the second release takes away what belongs to somebody else: data goes to the wrong file, or vanishes.",
    fix: "Let one owner release each thing, once, and forget the number after it (set the variable to -1).",
    allow: "LT403:comm=app",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    let mut seen = Vec::new();
    for process in case.judged(Group::Misuse) {
        let again = process
            .refused
            .iter()
            .filter(|refused| is_again(refused))
            .filter(|refused| refused.op != Op::CLOSE || !is_bash(process));
        seen.extend(again.map(|refused| super::bad_close::observation(process, refused)));
    }
    seen
}

/// bash closes its end of a pipe twice in every command substitution (make_child, jobs.c, and
/// command_substitute, subst.c, of bash 5.2): thousands of notes about a script whose author can
/// do nothing about it. It has one thread, and nothing is opened between the two.
fn is_bash(process: &ProcessFacts) -> bool {
    let exe = process.exe.as_deref().unwrap_or_default();
    exe.rsplit(|byte| *byte == b'/').next() == Some(b"bash")
}

/// Whether a refused release is of something that was released before.
pub(super) fn is_again(refused: &Refused) -> bool {
    refused.again
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let resource = &seen.resource;
    let call = resource.syscall.as_deref().unwrap_or("?");
    let what = match (resource.fd, resource.address, resource.id) {
        (Some(fd), ..) => fd.to_string(),
        (None, Some(address), _) if call == "shmdt" => format!("{address:#x}"),
        (None, Some(number), _) => number.to_string(),
        (None, None, id) => id.map(|id| id.to_string()).unwrap_or_default(),
    };
    format!("{call}({what}) of what had been released before")
}

fn remedy(_: &Resource) -> Remedy {
    Remedy {
        fix: "let one owner release it, and forget the number after it".to_owned(),
        now: None,
    }
}
