//! Processes that ended: the verdict and what it rests on.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    nothing,
    paint::{self, BAD, BOLD, DIM, PLAIN, WARN},
};
use crate::{
    model::snapshot::ExitRow,
    report::{Level, Verdict},
    sink::human,
    tui::{format, layout::Areas, state::State, update::exit_under_cursor},
};

/// Draws the view.
pub fn draw(state: &State, areas: &Areas, buffer: &mut Buffer) {
    paint::lines(buffer, areas.titles, vec![titles()]);
    paint::lines(buffer, areas.list, list(state, areas.list.height));
    if areas.detail.height > 0 {
        let lines = one(state, areas.detail.width);
        paint::lines(buffer, areas.detail, lines);
    }
}

/// The last few below the live processes.
pub fn draw_last(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let mut lines = vec![paint::rule("last exits", area.width)];
    let shown = state.exits.iter().take(usize::from(area.height) - 1);
    let picture = state.picture();
    lines.extend(shown.filter_map(|i| Some(brief(picture.exits.get(*i)?))));
    if state.exits.is_empty() {
        lines.push(nothing("none yet"));
    }
    paint::lines(buffer, area, lines);
}

fn brief(row: &ExitRow) -> Line<'static> {
    let (verdict, style) = paint::verdict(row.verdict);
    let mut spans = vec![
        Span::raw(format!(
            " {} {} ",
            format::right(&row.key.pid.to_string(), 7),
            format::left(&format::name(&row.comm), 12)
        )),
        Span::styled(format!("{verdict:<8}"), style),
    ];
    // Without a verdict the counts are not to be relied on: the reason takes their place.
    if row.verdict != Some(Verdict::Inconclusive) {
        spans.extend(tallies(row));
        let time = format::maybe_nanos(row.teardown_ns.or(row.kernel_ns));
        spans.push(Span::raw(format!(" {}", format::right(&time, 7))));
    }
    if let Some((text, style)) = first(row) {
        spans.push(Span::styled(format!("  {text}"), style));
    }
    Line::from(spans)
}

fn tallies(row: &ExitRow) -> Vec<Span<'static>> {
    let summary = &row.summary;
    [
        (summary.released, 4, "released", PLAIN),
        (summary.held, 3, "held", PLAIN),
        (summary.residue, 3, "residue", BAD),
    ]
    .into_iter()
    .map(|(n, width, word, style)| {
        let style = if n == 0 { DIM } else { style };
        let text = format!(
            " {} {word}",
            format::right(&format::column(n, width), width)
        );
        Span::styled(text, style)
    })
    .collect()
}

/// The first observation, and the colour of its level.
fn first(row: &ExitRow) -> Option<(String, ratatui::style::Style)> {
    let (rule, level, clause) = row.first.as_ref()?;
    let style = match level {
        Level::Error => BAD,
        Level::Note => WARN,
        Level::Off => DIM,
    };
    let text = [rule.as_str(), clause.as_str()].map(format::text);
    Some((text.join(" ").trim().to_owned(), style))
}

fn titles() -> Line<'static> {
    let text = format!(
        " {} {} {} {} {} {} {} {} {}  WHAT",
        format::right("PID", 7),
        format::left("COMM", 12),
        format::left("VERDICT", 12),
        format::right("REL", 5),
        format::right("HELD", 5),
        format::right("RES", 4),
        format::right("TEARDOWN", 8),
        format::right("KERNEL", 7),
        format::right("AGO", 6),
    );
    Line::styled(text, DIM)
}

fn list(state: &State, height: u16) -> Vec<Line<'static>> {
    let picture = state.picture();
    let cursor = state.cursor();
    if state.exits.is_empty() {
        return vec![nothing("no process has ended, or none passes the filter")];
    }
    state
        .exits
        .iter()
        .enumerate()
        .skip(cursor.offset)
        .take(usize::from(height))
        .filter_map(|(i, index)| {
            let row = picture.exits.get(*index)?;
            Some(line(state, row, i == cursor.index))
        })
        .collect()
}

fn line(state: &State, row: &ExitRow, under_cursor: bool) -> Line<'static> {
    let (verdict, style) = paint::verdict(row.verdict);
    let mark = if under_cursor { "▶" } else { " " };
    let summary = &row.summary;
    let mut spans = vec![
        Span::styled(mark, BOLD),
        Span::raw(format!(
            "{} {} ",
            format::right(&row.key.pid.to_string(), 7),
            format::left(&format::name(&row.comm), 12)
        )),
        Span::styled(format::left(verdict, 12), style),
    ];
    let residue = paint::number(summary.residue, 4);
    let residue = if summary.residue > 0 {
        residue.style(BAD)
    } else {
        residue
    };
    for (number, gap) in [
        (paint::number(summary.released, 5), " "),
        (paint::number(summary.held, 5), " "),
        (residue, " "),
    ] {
        spans.push(Span::raw(gap));
        spans.push(number);
    }
    let ago = format::age(state.picture().at, row.at);
    spans.push(Span::raw(format!(
        " {} {} {}",
        format::right(&format::maybe_nanos(row.teardown_ns), 8),
        format::right(&format::maybe_nanos(row.kernel_ns), 7),
        format::right(&ago, 6),
    )));
    if let Some((text, style)) = first(row) {
        spans.push(Span::styled(format!("  {text}"), style));
    }
    let line = Line::from(spans);
    if under_cursor {
        line.patch_style(BOLD)
    } else {
        line
    }
}

/// The ended process under the cursor, in full.
fn one(state: &State, width: u16) -> Vec<Line<'static>> {
    let Some(row) = exit_under_cursor(state) else {
        return vec![paint::rule("no ended process", width)];
    };
    let who = format!("{} {}", row.key.pid, format::name(&row.comm));
    let site = &state.site;
    let at = format::time_of_day(&site.clock, site.utc_offset_s, row.at);
    let summary = &row.summary;
    let (verdict, style) = paint::verdict(row.verdict);
    let mut lines = vec![
        paint::rule(&format!("{who} · ended {at}"), width),
        Line::from(vec![
            Span::raw("   verdict   "),
            Span::styled(verdict, style),
        ]),
        Line::raw(format!(
            "   cleanup   {} acquired, {} released, {} held, {} residue, {}, {}",
            human::count(summary.acquired),
            human::count(summary.released),
            human::count(summary.held),
            human::count(summary.residue),
            human::size(summary.bytes_released),
            human::counted(summary.errors, "error", "errors"),
        )),
        Line::raw(format!(
            "   time      teardown {}, of it in the kernel {}",
            format::maybe_nanos(row.teardown_ns),
            format::maybe_nanos(row.kernel_ns)
        )),
    ];
    if let Some((text, style)) = first(row) {
        lines.push(Line::from(vec![
            Span::raw("   first     "),
            Span::styled(text, style),
        ]));
    }
    lines
}
