//! What this kernel lets us see, family by family.

use ratatui::{
    buffer::Buffer,
    text::{Line, Span},
};

use super::{
    nothing,
    paint::{self, BAD, DIM, GOOD, WARN},
};
use crate::{
    report::{Coverage, CoverageStatus},
    sink::human,
    tui::{format, layout::Areas, state::State},
};

/// Draws the view.
pub fn draw(state: &State, areas: &Areas, buffer: &mut Buffer) {
    let title = format!(
        "   {} {} WHY",
        format::left("FAMILY", 10),
        format::left("SEEN", 8)
    );
    paint::lines(buffer, areas.titles, vec![Line::styled(title, DIM)]);
    let picture = state.picture();
    let mut lines: Vec<Line<'static>> = picture
        .coverage
        .iter()
        .skip(state.cursor().offset)
        .map(line)
        .collect();
    if picture.coverage.is_empty() {
        lines.push(nothing("nothing known"));
    }
    lines.push(Line::raw(""));
    lines.push(probes(state));
    paint::lines(buffer, areas.list, lines);
}

fn line(row: &Coverage) -> Line<'static> {
    let (word, style) = match row.status {
        CoverageStatus::Full => ("full", GOOD),
        CoverageStatus::Partial => ("partial", WARN),
        CoverageStatus::None => ("none", BAD),
    };
    let reason = row.reason.as_deref().unwrap_or("");
    Line::from(vec![
        Span::raw(format!(
            "   {} ",
            format::left(&format::text(&row.family), 10)
        )),
        Span::styled(format::left(word, 8), style),
        Span::raw(format!(" {}", format::text(reason))),
    ])
}

fn probes(state: &State) -> Line<'static> {
    let picture = &state.latest;
    let (attached, known) = picture.probes;
    let not_run = match picture.not_run {
        Some(n) => format!("{} handlers not run", human::count(n)),
        None => "handlers that did not run are not counted here".to_owned(),
    };
    Line::raw(format!(
        "   {attached} of {known} probes attached · {} records read, {} lost · {not_run}",
        human::count(picture.received),
        human::count(picture.lost),
    ))
}
