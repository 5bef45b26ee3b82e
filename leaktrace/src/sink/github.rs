//! Annotations for a GitHub workflow: workflow commands in its log (docs.github.com, "Workflow
//! commands for GitHub Actions"). GitHub shows ten of each level and step, so at most ten are
//! written; the whole report goes to the job summary, which the caller has as markdown.

use crate::{
    report::{Finding, Level, Report, Verdict},
    sink::{
        escape_str, finding, human,
        text::{self, Page},
    },
};

/// Annotations.
const AT_MOST: usize = 10;
/// Lines of one annotation.
const LINES: usize = 12;

/// The commands, and the last line of the text report.
pub fn render(report: &Report) -> String {
    let findings = finding::shown(report);
    let inconclusive =
        report.verdict == Verdict::Inconclusive || !report.inconclusive_because.is_empty();
    let complaints = &report.policy.complaints;
    let room = AT_MOST - usize::from(inconclusive) - usize::from(!complaints.is_empty());
    let page = Page::new(report, None);
    let mut out = String::new();
    if inconclusive {
        let why: Vec<_> = report
            .inconclusive_because
            .iter()
            .take(LINES)
            .map(|why| escape_str(why))
            .collect();
        let properties = [("title", "leaktrace: inconclusive".to_owned())];
        out.push_str(&command("warning", &properties, &why.join("\n")));
    }
    if !complaints.is_empty() {
        let lines: Vec<_> = complaints
            .iter()
            .take(LINES)
            .map(|it| escape_str(it))
            .collect();
        let properties = [("title", "leaktrace: suppressions".to_owned())];
        out.push_str(&command("error", &properties, &lines.join("\n")));
    }
    for finding in findings.iter().take(room) {
        out.push_str(&annotation(&page, finding));
    }
    let more = findings.len().saturating_sub(room);
    if more > 0 {
        out.push_str(&format!(
            "leaktrace: {} in the job summary, or in -f json:FILE\n",
            human::counted(more as u64, "further finding is", "further findings are")
        ));
    }
    out.push_str(&log_line(&text::last_line(report)));
    out
}

fn annotation(page: &Page<'_>, finding: &Finding) -> String {
    let level = match finding.level {
        Level::Error => "error",
        Level::Note | Level::Off => "notice",
    };
    let place = finding::place(finding);
    let mut lines = vec![finding::sentence(finding)];
    // The first line of the block says the same.
    lines.extend(text::block(page, finding).into_iter().skip(1).take(LINES));
    let properties = [
        ("file", escape_str(&place.file)),
        ("line", place.line.to_string()),
        ("title", finding::title(finding)),
    ];
    command(level, &properties, &lines.join("\n"))
}

/// `::error file=a,line=1::message`; what means something there is percent-encoded as the
/// runner decodes it (actions/runner, ActionCommand.cs).
fn command(name: &str, properties: &[(&str, String)], message: &str) -> String {
    let properties: Vec<_> = properties
        .iter()
        .map(|(key, value)| {
            let value = data(value).replace(':', "%3A").replace(',', "%2C");
            format!("{key}={value}")
        })
        .collect();
    format!("::{name} {}::{}\n", properties.join(","), data(message))
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A line that is no command. The runner still looks for the older form, `##[error]`, anywhere
/// in a line.
fn log_line(line: &str) -> String {
    line.replace("##[", "#\\x23[")
}
