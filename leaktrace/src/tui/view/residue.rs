//! What ended processes left.

use ratatui::{
    buffer::Buffer,
    text::{Line, Span},
};

use super::{
    detail, nothing,
    paint::{self, BOLD, DIM},
};
use crate::{
    id::KtimeNs,
    model::snapshot::ResidueRow,
    tui::{format, layout::Areas, state::State},
};

/// Draws the view.
pub fn draw(state: &State, areas: &Areas, buffer: &mut Buffer) {
    paint::lines(buffer, areas.titles, vec![titles(areas.titles.width)]);
    let picture = state.picture();
    let cursor = state.cursor();
    let mut lines: Vec<Line<'static>> = state
        .residue
        .iter()
        .enumerate()
        .skip(cursor.offset)
        .take(usize::from(areas.list.height))
        .filter_map(|(i, index)| {
            let row = picture.residue.get(*index)?;
            Some(line(row, picture.at, areas.list.width, i == cursor.index))
        })
        .collect();
    if lines.is_empty() {
        lines.push(nothing("nothing is left, or nothing passes the filter"));
    }
    paint::lines(buffer, areas.list, lines);
}

fn what_width(width: u16) -> usize {
    usize::from(width).saturating_sub(52).max(12)
}

fn titles(width: u16) -> Line<'static> {
    let text = format!(
        "  {} {} {} {} MADE BY",
        format::left("KIND", 11),
        format::left("WHAT", what_width(width)),
        format::right("AGE", 6),
        format::right("PID", 7),
    );
    Line::styled(text, DIM)
}

fn line(row: &ResidueRow, now: KtimeNs, width: u16, under_cursor: bool) -> Line<'static> {
    let mark = if under_cursor { "▶ " } else { "  " };
    let resource = &row.resource;
    let age = resource
        .acquired
        .map_or("—".to_owned(), |at| format::age(now, at));
    let line = Line::from(vec![
        Span::styled(mark, BOLD),
        Span::raw(format!("{} ", format::left(resource.kind.name(), 11))),
        Span::raw(format!(
            "{} ",
            format::left(&detail::what(resource), what_width(width))
        )),
        Span::raw(format!("{} ", format::right(&age, 6))),
        Span::raw(format!(
            "{} ",
            format::right(&row.creator.pid.to_string(), 7)
        )),
        Span::raw(format::left(&format::name(&row.comm), 15)),
    ]);
    if under_cursor {
        line.patch_style(BOLD)
    } else {
        line
    }
}
