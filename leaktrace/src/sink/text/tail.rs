//! The last lines: the verdict, what was not watched, the exit code and whose it is.

use crate::{
    report::{Because, Finding, Known, Level, Report, Verdict},
    sink::{escape_str, human},
};

/// Complaints about suppressions.
const COMPLAINTS: usize = 5;

/// Phrases of what was waited for.
const WAITED_FOR: usize = 3;

pub(super) fn lines(report: &Report, findings: &[&Finding]) -> Vec<String> {
    if report.verdict == Verdict::Clean && findings.is_empty() && nothing_known(&report.known) {
        let mut lines: Vec<_> = environment(report).collect();
        lines.push(clean(report));
        return lines;
    }
    let mut lines: Vec<_> = report
        .inconclusive_because
        .iter()
        .map(|why| format!("leaktrace: inconclusive: {}", escape_str(why)))
        .collect();
    let complaints = &report.policy.complaints;
    lines.extend(
        complaints
            .iter()
            .take(COMPLAINTS)
            .map(|it| format!("leaktrace: suppressions: {}", escape_str(it))),
    );
    if complaints.len() > COMPLAINTS {
        let more = human::count((complaints.len() - COMPLAINTS) as u64);
        lines.push(format!("leaktrace: suppressions: {more} more complaints"));
    }
    lines.extend(environment(report));
    lines.push(counts(report, findings));
    lines.push(outcome(report));
    lines
}

fn environment(report: &Report) -> impl Iterator<Item = String> {
    report
        .environment
        .iter()
        .map(|what| format!("leaktrace: note: {}", escape_str(what)))
}

fn nothing_known(known: &Known) -> bool {
    *known == Known::default()
}

fn clean(report: &Report) -> String {
    let not_watched = match report.not_judged.is_empty() {
        true => String::new(),
        false => format!(", not watched: {}", report.not_judged.join(", ")),
    };
    format!(
        "leaktrace: clean: {}, {}{not_watched}, {}",
        processes(report),
        events(report),
        exit(report)
    )
}

fn processes(report: &Report) -> String {
    human::counted(report.processes.len() as u64, "process", "processes")
}

fn events(report: &Report) -> String {
    let stacks = match report.events.stacks_left_out {
        0 => String::new(),
        left_out => format!(", {} left out", human::counted(left_out, "stack", "stacks")),
    };
    let evicted = match report.events.evicted {
        0 => String::new(),
        count => format!(", {} not kept", human::counted(count, "fact", "facts")),
    };
    format!(
        "{}, {} lost{stacks}{evicted}",
        human::counted(report.events.received, "event", "events"),
        human::count(report.events.lost)
    )
}

/// `1 error, 1 note in 3 processes, 412 events, 0 lost, settled in 8 ms (nothing to wait for)`
fn counts(report: &Report, findings: &[&Finding]) -> String {
    let errors = findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .count();
    format!(
        "leaktrace: {}, {} in {}, {}, settled in {} ({})",
        human::counted(errors as u64, "error", "errors"),
        human::counted((findings.len() - errors) as u64, "note", "notes"),
        processes(report),
        events(report),
        human::nanos(report.settle.waited_ns),
        waited_for(&report.settle.r#for),
    )
}

fn waited_for(what: &[String]) -> String {
    let named: Vec<_> = what
        .iter()
        .take(WAITED_FOR)
        .map(|w| escape_str(w))
        .collect();
    match what.len() {
        0 => "nothing to wait for".to_owned(),
        n if n > WAITED_FOR => {
            format!(
                "waited for {} and {} more",
                named.join(", "),
                n - WAITED_FOR
            )
        }
        _ => format!("waited for {}", named.join(", ")),
    }
}

/// `not watched: none.  left by known caches: none.  exit 100 (findings; sh itself exited 0)`
fn outcome(report: &Report) -> String {
    let not_watched = match report.not_judged.is_empty() {
        true => "none".to_owned(),
        false => report.not_judged.join(", "),
    };
    let Known {
        caches,
        daemons,
        suppressed,
    } = report.known;
    let or_none = |n: u64| match n {
        0 => "none".to_owned(),
        n => human::count(n),
    };
    let further = [("known daemons", daemons), ("suppressed", suppressed)]
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| format!("  {what}: {}.", human::count(n)))
        .collect::<String>();
    format!(
        "leaktrace: not watched: {not_watched}.  left by known caches: {}.{further}  {}",
        or_none(caches),
        exit(report)
    )
}

/// `exit 100 (findings; sh itself exited 0)`
fn exit(report: &Report) -> String {
    let code = report.exit.code;
    let name = report.command.first().map_or("CMD", |command| {
        command.rsplit('/').next().unwrap_or(command)
    });
    let name = escape_str(name);
    let itself = match (report.child.exit_code, report.child.signal) {
        (_, Some(signal)) => Some(format!("{name} was ended by {}", human::signal(signal))),
        (Some(status), None) => Some(format!("{name} itself exited {status}")),
        (None, None) => None,
    };
    let because = match (report.exit.because, itself) {
        // `run` does not change the code for what it found.
        (Because::Clean, itself) => match report.verdict {
            Verdict::Clean => None,
            Verdict::Findings => Some(with("findings", itself)),
            Verdict::Inconclusive => Some(with("inconclusive", itself)),
        },
        (Because::Child, Some(_)) if report.child.signal.is_none() => {
            Some(format!("{name}'s own{}", verdict(report)))
        }
        (Because::Child, Some(itself)) => Some(format!("{itself}{}", verdict(report))),
        (Because::Child, None) => Some(format!("{name} did not start")),
        (Because::Findings, itself) => Some(with("findings", itself)),
        (Because::Inconclusive, itself) => Some(with("inconclusive", itself)),
        (Because::Unavailable, _) => Some("cannot trace here".to_owned()),
        (Because::Internal, itself) => Some(with("leaktrace failed", itself)),
        (Because::Usage, _) => Some("usage".to_owned()),
    };
    match because {
        Some(because) => format!("exit {code} ({because})"),
        None => format!("exit {code}"),
    }
}

fn with(word: &str, itself: Option<String>) -> String {
    match itself {
        Some(itself) => format!("{word}; {itself}"),
        None => word.to_owned(),
    }
}

/// The verdict, where the code does not tell it.
fn verdict(report: &Report) -> &'static str {
    match report.verdict {
        Verdict::Clean => "",
        Verdict::Findings => "; findings too",
        Verdict::Inconclusive => "; inconclusive too",
    }
}
