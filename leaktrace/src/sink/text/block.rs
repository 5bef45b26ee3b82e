//! One finding as a block of lines.

use crate::{
    audit::{
        location,
        rule::{self, RuleInfo},
        stack,
    },
    id::ProcessKey,
    policy::fail_on,
    report::{Finding, Instance, Level, Location, Process, Resource},
    sink::{escape::is_plain, escape_str, human},
};

use super::Page;

/// Instances named in text, the first included.
const INSTANCES: usize = 3;

/// Longest command line shown.
const COMMAND: usize = 60;

/// Frames of a stack that are shown.
const FRAMES: usize = 8;

/// Column at which the right half of a line begins.
const RIGHT: usize = 46;

pub(super) fn lines(page: &Page<'_>, finding: &Finding) -> Vec<String> {
    let mut lines = vec![headline(finding)];
    lines.push(field("by", &by(page, finding)));
    if finding.group == "order" {
        lines.extend(judged(page, finding).map(|text| field("judged", &text)));
    } else {
        lines.extend(since(page, finding).map(|text| field("since", &text)));
    }
    lines.extend(frames(&finding.resource));
    // The policy's file stands in where nothing is known; that helps nobody who reads.
    let policy = page.report.policy.path.as_deref().unwrap_or_default();
    let known = |at: &&Location| at.file != location::POLICY && !policy.ends_with(&at.file);
    if let Some(at) = finding.location.as_ref().filter(known) {
        lines.push(field(
            "at",
            &escape_str(&format!("{}:{}", at.file, at.line)),
        ));
    }
    lines.extend(caused(finding).map(|text| field("holds", &text)));
    lines.extend(kept(finding).map(|text| field("kept by", &text)));
    lines.extend(also(page, finding));
    if finding.level == Level::Error {
        if let Some(info) = fail_on::find(&finding.rule) {
            lines.push(remedy(info, finding));
        }
        lines.push(allow(finding));
    }
    lines
}

fn headline(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Error => "error",
        Level::Note | Level::Off => "note ",
    };
    let times = match finding.count {
        1 => String::new(),
        n => format!("   [x{}]", human::count(n)),
    };
    format!(
        "{level} {} {}: {}{times}",
        finding.rule,
        finding.name,
        escape_str(&finding.message)
    )
}

fn field(name: &str, text: &str) -> String {
    format!("      {name:<8}{text}")
}

/// Left and right half of a line.
fn halves(left: &str, right: &str) -> String {
    format!("{left:<RIGHT$}  {right}")
}

/// `4127 ipcmk -M 4096  <- 4126 sh ./ci/test.sh`; for an order breach also what happened when.
fn by(page: &Page<'_>, finding: &Finding) -> String {
    let who = command(page, finding.process, finding.pid, &finding.comm);
    if let Some(other) = &finding.other {
        return format!("{who}  {}", breach(page, &finding.resource, other));
    }
    let parent = page
        .processes
        .get(&finding.process)
        .and_then(|process| page.processes.get(&process.parent?))
        .map(|parent| format!("  <- {}", of(parent)))
        .unwrap_or_default();
    match &finding.scope {
        Some(scope) => halves(
            &format!("{who}{parent}"),
            &format!("scope {}", escape_str(scope)),
        ),
        None => format!("{who}{parent}"),
    }
}

fn command(page: &Page<'_>, key: ProcessKey, pid: u32, comm: &str) -> String {
    match page.processes.get(&key) {
        Some(process) => of(process),
        None => format!("{pid} {}", escape_str(comm)),
    }
}

fn of(process: &Process) -> String {
    let words = match process.argv.is_empty() {
        true => process.comm.clone(),
        false => process.argv.join(" "),
    };
    let escaped = escape_str(&words);
    let mut cut: String = escaped.chars().take(COMMAND).collect();
    if cut.len() < escaped.len() {
        cut.push('…');
    }
    format!("{} {cut}", human::pid(process))
}

/// `opened fd 3 +0.050 s, fd 5 +0.061 s; closed fd 3 +0.200 s, fd 5 +0.210 s`
fn breach(page: &Page<'_>, released: &Resource, other: &Resource) -> String {
    let at = |ns: Option<u64>| {
        ns.map_or_else(|| "?".to_owned(), |ns| human::moment(ns, page.start_ns()))
    };
    let (a, b) = (short(released), short(other));
    let opened = match released.fd {
        Some(_) => "opened",
        None => "acquired",
    };
    format!(
        "{opened} {a} {}, {b} {}; {} {a} {}, {b} {}",
        at(released.acquired_ns),
        at(other.acquired_ns),
        rule::released(released),
        at(released.released_ns),
        at(other.released_ns),
    )
}

fn short(resource: &Resource) -> String {
    match resource.fd {
        Some(fd) => format!("fd {fd}"),
        None => escape_str(&rule::name(resource)),
    }
}

/// `+0.031 s shmget(2); creator gone +0.033 s; still there +0.041 s, 0 attached`
fn since(page: &Page<'_>, finding: &Finding) -> Option<String> {
    let at = |ns: u64| human::moment(ns, page.start_ns());
    let resource = &finding.resource;
    let mut parts = Vec::new();
    if let Some(ns) = resource.acquired_ns {
        parts.push(match (&resource.syscall, resource.kind.as_str()) {
            (_, "process") => format!("{} started", at(ns)),
            (Some(call), _) => format!("{} {}(2)", at(ns), escape_str(call)),
            (None, _) => at(ns),
        });
    }
    let ended = page.processes.get(&finding.process).and_then(|p| p.end_ns);
    if let Some(ns) = ended {
        let who = match resource.kind.as_str() {
            "process" => "ended",
            _ => "creator gone",
        };
        parts.push(format!("{who} {}", at(ns)));
    }
    if let Some(ns) = finding.confirmed_ns {
        parts.push(format!("still there {}{}", at(ns), users(resource)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn users(resource: &Resource) -> String {
    match (resource.kind.as_str(), resource.users) {
        ("sysv-shm", Some(n)) => format!(", {} attached", human::count(n)),
        ("sysv-msg", Some(n)) => format!(", {}", human::counted(n, "message", "messages")),
        _ => String::new(),
    }
}

/// `6 releases by one thread; teardown began at SIGTERM from 4126 (sh)`
fn judged(page: &Page<'_>, finding: &Finding) -> Option<String> {
    let process = page.processes.get(&finding.process)?;
    let order = &process.order;
    let threads = match order.threads {
        1 => "one thread".to_owned(),
        n => format!("{n} threads"),
    };
    let releases = human::counted(order.checked, "release", "releases");
    let began = process
        .trigger
        .as_ref()
        .map(|trigger| format!("; teardown began at {}", escape_str(&trigger.cause)))
        .unwrap_or_default();
    Some(format!("{releases} by {threads}{began}"))
}

/// The frames of the acquisition, innermost first.
fn frames(resource: &Resource) -> Vec<String> {
    let all: Vec<&String> = stack::essence(&resource.stack).collect();
    let frames = all.iter().take(FRAMES).enumerate();
    let frames = frames.map(|(place, frame)| {
        let name = if place == 0 { "stack" } else { "" };
        field(name, &escape_str(frame))
    });
    let mut lines: Vec<_> = frames.collect();
    let more = all.len().saturating_sub(FRAMES);
    if more > 0 {
        let more = human::counted(more as u64, "frame", "frames");
        lines.push(field("", &format!("… and {more} more")));
    }
    lines
}

/// What a survivor holds: three of them.
fn caused(finding: &Finding) -> Option<String> {
    let names: Vec<_> = finding
        .caused
        .iter()
        .take(INSTANCES)
        .map(|resource| escape_str(&rule::name(resource)))
        .collect();
    let more = finding.caused.len().saturating_sub(INSTANCES);
    let more = match more {
        0 => String::new(),
        n => format!(", and {} more", human::count(n as u64)),
    };
    (!names.is_empty()).then(|| format!("{}{more}", names.join(", ")))
}

/// Who keeps it: three of them, `4126 nginx (fd 9, passed over a socket)`.
fn kept(finding: &Finding) -> Option<String> {
    let who: Vec<_> = finding
        .kept_alive_by
        .iter()
        .take(INSTANCES)
        .map(|keeper| {
            let fd = keeper.fd.map(|fd| format!("fd {fd}, ")).unwrap_or_default();
            format!(
                "{} {} ({fd}{})",
                keeper.pid,
                escape_str(&keeper.comm),
                escape_str(&keeper.how)
            )
        })
        .collect();
    let more = finding.kept_alive_by.len().saturating_sub(INSTANCES);
    let more = match more {
        0 => String::new(),
        n => format!(", and {} more", human::count(n as u64)),
    };
    (!who.is_empty()).then(|| format!("{}{more}", who.join(", ")))
}

/// Further instances: two, then a count.
fn also(page: &Page<'_>, finding: &Finding) -> Vec<String> {
    let mut lines: Vec<_> = finding
        .instances
        .iter()
        .take(INSTANCES)
        .skip(1)
        .map(|instance| field("also", &instance_text(page, finding, instance)))
        .collect();
    let more = finding.count.saturating_sub(INSTANCES as u64);
    if more > 0 {
        let under = common_directory(finding)
            .map(|directory| format!(" under {}", escape_str(&directory)))
            .unwrap_or_default();
        lines.push(format!(
            "      … and {} more of {}{under} (all in -f json:FILE)",
            human::count(more),
            finding.rule
        ));
    }
    lines
}

fn instance_text(page: &Page<'_>, finding: &Finding, instance: &Instance) -> String {
    let name = escape_str(&rule::name(&instance.resource));
    let what = match &instance.other {
        Some(other) => format!("{name} before {}", escape_str(&rule::name(other))),
        None => name,
    };
    match instance.process == finding.process {
        true => what,
        false => {
            let who = command(page, instance.process, instance.pid, &instance.comm);
            format!("{what}  by {who}")
        }
    }
}

/// The directory that all instances lie in.
fn common_directory(finding: &Finding) -> Option<String> {
    let mut paths = finding.instances.iter().map(|i| i.resource.path.as_deref());
    let mut common: Vec<&str> = paths.next()??.split('/').collect();
    common.pop();
    for path in paths {
        let same = common
            .iter()
            .zip(path?.split('/'))
            .take_while(|(a, b)| *a == b)
            .count();
        common.truncate(same);
    }
    let directory = common.join("/");
    (!directory.is_empty()).then_some(directory)
}

fn remedy(info: &RuleInfo, finding: &Finding) -> String {
    let remedy = info.remedy(&finding.resource);
    let fix = escape_str(&remedy.fix);
    match remedy.now {
        // Made of words that show as themselves: may be pasted.
        Some(now) => field("fix", &halves(&fix, &format!("now: {now}"))),
        None => field("fix", &fix),
    }
}

fn allow(finding: &Finding) -> String {
    let why = format!("why: leaktrace explain {}", finding.rule);
    let plain = is_plain(&finding.comm) && !finding.comm.contains('\'');
    let allow = match plain && !finding.comm.is_empty() {
        true => format!(
            "--allow '{}:comm={}'",
            finding.rule,
            globset::escape(&finding.comm)
        ),
        false => format!("--allow {}", finding.rule),
    };
    field("allow", &halves(&allow, &why))
}
