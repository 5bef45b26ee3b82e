//! The report as text for a terminal: what matters first, at most 40 lines, and at the end the
//! verdict, the exit code and whose it is.
//!
//! Everything that a process or a file has named goes through [`super::escape()`].

mod block;
mod paint;
mod tail;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    audit::{cleanup_line, teardown_line},
    id::ProcessKey,
    report::{Finding, Level, Process, Report, Verdict},
    sink::{escape_str, human},
};

/// Lines in all.
const AT_MOST: usize = 40;

/// Lines that processes get even if findings would fill all.
const FOR_PROCESSES: usize = 10;

/// How much to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Processes with an error, and findings.
    #[default]
    Errors,
    /// Every process, and what is off as notes.
    All,
}

/// Whether to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// No.
    #[default]
    Never,
    /// As ANSI sequences.
    Ansi,
}

/// How the text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// How much it tells.
    pub detail: Detail,
    /// Its colours.
    pub colour: Colour,
    /// Columns of the terminal that it is for; lines that are longer are broken. `None`: they
    /// are not.
    pub width: Option<usize>,
}

impl From<Detail> for Look {
    fn from(detail: Detail) -> Look {
        Look {
            detail,
            ..Look::default()
        }
    }
}

/// The whole text, each line ended.
pub fn render(report: &Report, look: impl Into<Look>) -> String {
    let look = look.into();
    let detail = look.detail;
    let page = Page::new(report, look.width);
    let findings = shown(report, detail);
    let tail = page.fold(tail::lines(report, &findings));
    // Two blank lines: before the blocks and behind them.
    let room = AT_MOST.saturating_sub(tail.len() + 2);
    let processes = page.fold(process_lines(report, detail, &findings));
    let reserved = processes.len().min(FOR_PROCESSES);
    let blocks = block_lines(&page, &findings, room.saturating_sub(reserved));
    let mut lines = cut_processes(processes, room.saturating_sub(blocks.len()));
    if !lines.is_empty() && !blocks.is_empty() {
        lines.push(String::new());
    }
    lines.extend(blocks);
    if !findings.is_empty() {
        lines.push(String::new());
    }
    lines.extend(tail);
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| paint::line(line, look.colour))
        .collect();
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// What is told of one finding, a line each, unbroken and without colour.
pub(super) fn block(page: &Page<'_>, finding: &Finding) -> Vec<String> {
    block::lines(page, finding)
}

/// The one last line, ended: the verdict, the exit code and whose it is.
pub fn last_line(report: &Report) -> String {
    let findings = shown(report, Detail::Errors);
    let mut line = tail::lines(report, &findings).pop().unwrap_or_default();
    line.push('\n');
    line
}

/// A report with its processes by key.
pub(super) struct Page<'a> {
    report: &'a Report,
    processes: BTreeMap<ProcessKey, &'a Process>,
    width: Option<usize>,
}

impl<'a> Page<'a> {
    pub(super) fn new(report: &'a Report, width: Option<usize>) -> Self {
        let processes = report.processes.iter().map(|p| (p.key, p)).collect();
        Page {
            report,
            processes,
            width,
        }
    }

    /// Lines as they fit on the screen.
    fn fold(&self, lines: Vec<String>) -> Vec<String> {
        match self.width {
            None => lines,
            Some(width) => lines
                .into_iter()
                .flat_map(|line| paint::fold(line, width))
                .collect(),
        }
    }

    /// Time zero of the moments that are shown.
    fn start_ns(&self) -> u64 {
        self.report.clock.boottime_ns
    }
}

/// What is shown, errors first, each group in the order of the report.
fn shown(report: &Report, detail: Detail) -> Vec<&Finding> {
    let mut findings: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.suppressed_by.is_none())
        .collect();
    if detail == Detail::All {
        let off = report.off.iter();
        findings.extend(off.filter(|finding| finding.suppressed_by.is_none()));
    }
    findings.sort_by_key(|finding| finding.level != Level::Error);
    findings
}

/// `PID 42 (worker) cleanup: …`, the names padded to one width.
fn process_lines(report: &Report, detail: Detail, findings: &[&Finding]) -> Vec<String> {
    let guilty: BTreeSet<_> = findings
        .iter()
        .filter(|finding| finding.level == Level::Error)
        .flat_map(|finding| finding.instances.iter().map(|instance| instance.process))
        .collect();
    let processes: Vec<_> = report
        .processes
        .iter()
        .filter(|process| {
            detail == Detail::All
                || guilty.contains(&process.key)
                || process.verdict == Verdict::Findings
        })
        .collect();
    let names: Vec<_> = processes
        .iter()
        .map(|process| {
            format!(
                "PID {} ({})",
                human::pid(process),
                escape_str(&process.comm)
            )
        })
        .collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0).min(32);
    names
        .into_iter()
        .zip(processes)
        .map(|(name, process)| {
            let how = match detail {
                Detail::All => how_it_ended(process),
                Detail::Errors => String::new(),
            };
            format!("{name:<width$} {}{how}", what_it_did(process))
        })
        .collect()
}

fn what_it_did(process: &Process) -> String {
    let line = cleanup_line(
        &process.summary,
        process.timing_ns.teardown,
        process.order.score,
    );
    match process.end_ns {
        Some(_) => format!("cleanup: {line}"),
        None => format!("still running: {line}"),
    }
}

/// `; SIGTERM from 4126 (sh), obeyed after 1.2 ms`
fn how_it_ended(process: &Process) -> String {
    let line = process.teardown.as_ref().map(teardown_line);
    match line.filter(|line| !line.is_empty()) {
        Some(line) => format!("; {}", escape_str(&line)),
        None => String::new(),
    }
}

fn cut_processes(mut lines: Vec<String>, at_most: usize) -> Vec<String> {
    if lines.len() > at_most {
        let keep = at_most.saturating_sub(1);
        let more = lines.len() - keep;
        lines.truncate(keep);
        lines.push(format!(
            "… and {} more processes (all in -f json:FILE)",
            human::count(more as u64)
        ));
    }
    lines
}

/// Blocks of findings with a blank line between, as long as there is room; then what is missing.
fn block_lines(page: &Page<'_>, findings: &[&Finding], at_most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (i, finding) in findings.iter().enumerate() {
        let block = page.fold(block::lines(page, finding));
        // One line is kept for what is missing; the first block is always shown.
        if i > 0 && lines.len() + 1 + block.len() + 1 > at_most {
            lines.push(missing(&findings[i..]));
            break;
        }
        if i > 0 {
            lines.push(String::new());
        }
        lines.extend(block);
    }
    lines
}

fn missing(findings: &[&Finding]) -> String {
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    for finding in findings {
        *by_rule.entry(&finding.rule).or_default() += finding.count;
    }
    let of: Vec<_> = by_rule
        .iter()
        .map(|(rule, n)| format!("{} more of {rule}", human::count(*n)))
        .collect();
    format!("… and {} (all in -f json:FILE)", of.join(", "))
}
