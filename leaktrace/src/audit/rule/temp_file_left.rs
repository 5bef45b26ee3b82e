//! LT109 temp-file-left.

use super::{Group, Remedy, RuleInfo};
use crate::{
    audit::{
        case::{Case, Observation},
        residue::Thing,
    },
    model::facts::ProcessFacts,
    report::{Level, Resource},
    sink::human,
};

/// LT109.
pub static RULE: RuleInfo = RuleInfo {
    id: "LT109",
    name: "temp-file-left",
    group: Group::Residue,
    level: Level::Error,
    title: "A file made below a temp root is left.",
    why: "Nobody else knows that the file is no longer needed. On a CI machine such files fill the disk or use up its inodes, one run at a time.",
    fix: "Remove it on every way out: a guard object, trap 'rm -f \"$f\"' EXIT in a shell, tempfile.NamedTemporaryFile. A file opened with O_TMPFILE, or unlinked right after it was opened, cannot be left. Output belongs into the working directory, where it is not temporary.",
    allow: "LT109:path=/tmp/my-cache-*",
    check: Some(check),
    message,
    remedy,
};

fn check(case: &Case<'_>) -> Vec<Observation> {
    super::left(case, Thing::TempFile)
}

fn message(_: &Case<'_>, seen: &Observation, _: &ProcessFacts) -> String {
    let path = seen.resource.path.as_deref().unwrap_or("?");
    let size = human::size(seen.resource.bytes.unwrap_or(0));
    format!("{path} ({size}) is left")
}

fn remedy(resource: &Resource) -> Remedy {
    Remedy {
        fix: "unlink it on every way out, also after an error or a signal".to_owned(),
        now: super::remove("rm", resource),
    }
}
