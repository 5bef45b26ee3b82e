//! The report as a table.

use std::fmt::Write;

use super::{By, Group, HistReport, Quantiles};
use crate::{
    model::facts::SampleKind,
    sink::{
        escape_str,
        human::{count, counted, nanos},
    },
};

/// The whole table, ending with a line break. Names are escaped.
pub fn render(report: &HistReport) -> String {
    let mut out = String::new();
    let label_width = report
        .groups
        .iter()
        .map(|group| label(report.by, group).chars().count())
        .max();
    let width = label_width.unwrap_or(0).clamp(8, 48);
    push(
        &mut out,
        width,
        [
            report.by.name(),
            "SAMPLE",
            "N",
            "MIN",
            "P50",
            "P90",
            "P99",
            "MAX",
        ],
    );
    for group in &report.groups {
        let mut name = label(report.by, group);
        for (what, quantiles) in rows(group) {
            let [n, min, p50, p90, p99, max] = cells(&quantiles);
            push(
                &mut out,
                width,
                [&name, &what, &n, &min, &p50, &p90, &p99, &max],
            );
            // Said once.
            name.clear();
        }
        if group.samples.is_empty() {
            push(&mut out, width, [&name, "-", "0", "-", "-", "-", "-", "-"]);
        }
    }
    let processes = report.groups.iter().map(|group| group.processes).sum();
    let groups = counted(report.groups.len() as u64, "group", "groups");
    let what = match report.by {
        By::Class => groups,
        By::Pid | By::Comm | By::Exe | By::Cgroup => {
            format!("{groups}, {}", counted(processes, "process", "processes"))
        }
    };
    let _ = writeln!(out, "{what}; percentiles from 20 samples on");
    out
}

fn push(out: &mut String, width: usize, cells: [&str; 8]) {
    let [name, what, n, min, p50, p90, p99, max] = cells;
    let line =
        format!("{name:<width$}  {what:<16} {n:>9} {min:>8} {p50:>8} {p90:>8} {p99:>8} {max:>8}");
    out.push_str(line.trim_end());
    out.push('\n');
}

fn label(by: By, group: &Group) -> String {
    match (by, group.pid, &group.comm) {
        (By::Pid, Some(pid), Some(comm)) => format!("{pid} {}", escape_str(comm)),
        _ => escape_str(&group.key),
    }
}

/// Each kind of sample in its order, followed by its classes where there are several.
fn rows(group: &Group) -> Vec<(String, Quantiles)> {
    let mut rows = Vec::new();
    for kind in SampleKind::ALL {
        let Some(all) = group.samples.get(kind.name()) else {
            continue;
        };
        rows.push((kind.name().to_owned(), *all));
        let classes: Vec<(String, Quantiles)> = group
            .by_class
            .iter()
            .filter_map(|(class, kinds)| Some((format!("  {class}"), *kinds.get(kind.name())?)))
            .collect();
        if classes.len() > 1 {
            rows.extend(classes);
        }
    }
    rows
}

fn cells(quantiles: &Quantiles) -> [String; 6] {
    let percentile = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), nanos);
    [
        count(quantiles.n),
        nanos(quantiles.min_ns),
        percentile(quantiles.p50_ns),
        percentile(quantiles.p90_ns),
        percentile(quantiles.p99_ns),
        nanos(quantiles.max_ns),
    ]
}
