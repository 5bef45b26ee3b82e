//! The report as lines of JSON, for what reads a stream: one for the run, one for each process,
//! each scope and each finding. `line` says which; all else is as in `leaktrace.report/1`.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    report::{Finding, Report},
    sink::escape,
};

/// Name of the key that says what a line is.
pub(super) const LINE: &str = "line";
/// What lines there are, and the key of the report that each of them is of.
pub(super) const KINDS: [(&str, &str); 3] = [
    ("process", "processes"),
    ("scope", "scopes"),
    ("finding", "findings"),
];

/// One line: what it is, then its content.
#[derive(Serialize)]
struct Line<'a, T> {
    line: &'static str,
    #[serde(flatten)]
    content: &'a T,
}

/// The lines, each ended.
///
/// # Errors
/// As serde_json's.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    lines(report).collect()
}

/// The same, line by line.
///
/// # Errors
/// Those of writing.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for line in lines(report) {
        out.write_all(line?.as_bytes())?;
    }
    Ok(())
}

fn lines(report: &Report) -> impl Iterator<Item = Result<String, serde_json::Error>> {
    let head = std::iter::once_with(|| line("run", &head(report)?));
    let processes = report.processes.iter();
    let processes = processes.map(|process| line("process", process));
    let scopes = report.scopes.iter().map(|scope| line("scope", scope));
    let findings = report.findings.iter().map(finding);
    head.chain(processes).chain(scopes).chain(findings)
}

/// The line of one finding, ended: for a stream that has no run to end with.
///
/// # Errors
/// As serde_json's.
pub fn finding(finding: &Finding) -> Result<String, serde_json::Error> {
    line("finding", finding)
}

fn line<T: Serialize>(line: &'static str, content: &T) -> Result<String, serde_json::Error> {
    let mut text = escape::json(serde_json::to_string(&Line { line, content })?);
    text.push('\n');
    Ok(text)
}

/// The run without what has lines of its own.
fn head(report: &Report) -> Result<serde_json::Value, serde_json::Error> {
    let mut head = serde_json::to_value(report.head())?;
    if let Some(head) = head.as_object_mut() {
        for (_, key) in KINDS {
            head.remove(key);
        }
    }
    Ok(head)
}
