//! The report as markdown (GitHub's dialect), for a comment on a change or a job summary.
//!
//! Names stand in code, where nothing but the code's own end means anything; that end is made
//! longer than any run of backticks in the name.

use crate::{
    report::{Finding, Level, Report, Verdict},
    sink::{
        escape_str, finding, human,
        text::{self, Page},
    },
};

/// Rows of the table.
const ROWS: usize = 200;
/// Findings told in full.
const BLOCKS: usize = 20;
/// Characters of a cell.
const CELL: usize = 300;
/// Reasons for being inconclusive.
const REASONS: usize = 20;

/// The document. Far below the 1 MiB that a job summary may have.
pub fn render(report: &Report) -> String {
    let findings = finding::shown(report);
    let mut out = format!("### leaktrace: {}\n\n", outcome(report, &findings));
    out.push_str(&list("inconclusive", &report.inconclusive_because));
    out.push_str(&list("suppressions", &report.policy.complaints));
    if !findings.is_empty() {
        out.push_str(&table(&findings));
        out.push_str(&details(&Page::new(report, None), &findings));
    }
    out.push_str(&code(text::last_line(report).trim_end()));
    out.push('\n');
    out
}

fn outcome(report: &Report, findings: &[&Finding]) -> String {
    let errors = findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .count();
    let notes = findings.len() - errors;
    let counts = format!(
        "{}, {}",
        human::counted(errors as u64, "error", "errors"),
        human::counted(notes as u64, "note", "notes")
    );
    match report.verdict {
        Verdict::Clean if findings.is_empty() => "clean".to_owned(),
        Verdict::Clean => format!("clean, {counts}"),
        Verdict::Findings => counts,
        Verdict::Inconclusive => format!("inconclusive, {counts}"),
    }
}

/// One sentence each.
fn list(what: &str, sentences: &[String]) -> String {
    let mut out = String::new();
    for sentence in sentences.iter().take(REASONS) {
        out.push_str(&format!(
            "- {what}: {}\n",
            code(&cut(&escape_str(sentence)))
        ));
    }
    if sentences.len() > REASONS {
        out.push_str(&format!("- and {} more\n", sentences.len() - REASONS));
    }
    if !sentences.is_empty() {
        out.push('\n');
    }
    out
}

fn table(findings: &[&Finding]) -> String {
    let mut out = "| level | rule | what | by | where | times |\n\
                   |---|---|---|---|---|---:|\n"
        .to_owned();
    for finding in findings.iter().take(ROWS) {
        let level = match finding.level {
            Level::Error => "error",
            Level::Note | Level::Off => "note",
        };
        let place = finding::place(finding);
        let place = format!("{}:{}", escape_str(&place.file), place.line);
        let by = format!("{} {}", finding.pid, escape_str(&finding.comm));
        out.push_str(&format!(
            "| {level} | {} | {} | {} | {} | {} |\n",
            cell(&finding::title(finding)),
            cell(&escape_str(&finding.message)),
            cell(&by),
            cell(&place),
            human::count(finding.count)
        ));
    }
    if findings.len() > ROWS {
        let more = human::count((findings.len() - ROWS) as u64);
        out.push_str(&format!(
            "| | | and {more} more (all in `-f json:FILE`) | | | |\n"
        ));
    }
    out.push('\n');
    out
}

fn details(page: &Page<'_>, findings: &[&Finding]) -> String {
    let blocks: Vec<_> = findings
        .iter()
        .take(BLOCKS)
        .map(|finding| text::block(page, finding).join("\n"))
        .collect();
    let text = blocks.join("\n\n");
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("<details><summary>Details</summary>\n\n{fence}text\n{text}\n{fence}\n\n</details>\n\n")
}

fn cell(text: &str) -> String {
    // Within a table `|` ends a cell even in code (GFM, section 4.10).
    code(&cut(text)).replace('|', "\\|")
}

/// Inline code that shows `text`.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let end = "`".repeat(longest_run(text) + 1);
    // One blank on both sides is taken away again; without, a backtick at an end would join.
    format!("{end} {text} {end}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
