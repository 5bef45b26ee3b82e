//! Durations: each kind of sample with its count.

use ratatui::{
    buffer::Buffer,
    text::{Line, Span},
};

use super::{
    nothing,
    paint::{self, DIM},
};
use crate::{
    model::snapshot::TimingRow,
    sink::human,
    tui::{format, layout::Areas, state::State},
};

/// Draws the view.
pub fn draw(state: &State, areas: &Areas, buffer: &mut Buffer) {
    paint::lines(buffer, areas.titles, vec![titles()]);
    let rows = &state.picture().timing;
    let mut lines: Vec<Line<'static>> = rows.iter().skip(state.cursor().offset).map(line).collect();
    if rows.is_empty() {
        lines.push(nothing("nothing measured yet"));
    }
    paint::lines(buffer, areas.list, lines);
}

fn titles() -> Line<'static> {
    let mut text = format!(
        "   {} {} {}",
        format::left("SAMPLE", 9),
        format::left("CLASS", 8),
        format::right("N", 9)
    );
    for title in ["MIN", "P50", "P90", "P99", "MAX"] {
        text.push(' ');
        text.push_str(&format::right(title, 9));
    }
    Line::styled(text, DIM)
}

fn line(row: &TimingRow) -> Line<'static> {
    let class = if row.class.is_empty() {
        "—"
    } else {
        row.class
    };
    let mut spans = vec![
        Span::raw(format!(
            "   {} {} ",
            format::left(row.sample, 9),
            format::left(class, 8)
        )),
        paint::number(row.n, 9),
    ];
    // Below 20 samples there are no percentiles, only the extremes.
    for value in [
        Some(row.min_ns),
        row.p50_ns,
        row.p90_ns,
        row.p99_ns,
        Some(row.max_ns),
    ] {
        let text = value.map_or("—".to_owned(), human::nanos);
        spans.push(Span::raw(format!(" {}", format::right(&text, 9))));
    }
    Line::from(spans)
}
