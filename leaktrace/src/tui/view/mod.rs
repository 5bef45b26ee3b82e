//! Draws a state. Pure: the same state gives the same cells.

mod coverage;
mod detail;
mod exits;
mod footer;
mod header;
mod help;
mod live;
mod paint;
mod residue;
mod timing;

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use super::{
    layout,
    state::{Extent, Pane, State, View},
};

/// Draws the state into the buffer, which has the state's size.
pub fn draw(state: &State, buffer: &mut Buffer) {
    if layout::too_small(state.size) {
        let area = Rect::new(0, 0, state.size.0, state.size.1);
        paint::lines(buffer, area, header::instead(state));
        return;
    }
    let areas = layout::areas(state);
    paint::lines(buffer, areas.header, header::lines(state));
    match state.view {
        View::Live => live::draw(state, &areas, buffer),
        View::Exits => exits::draw(state, &areas, buffer),
        View::Timing => timing::draw(state, &areas, buffer),
        View::Residue => residue::draw(state, &areas, buffer),
        View::Coverage => coverage::draw(state, &areas, buffer),
    }
    paint::lines(buffer, areas.footer, vec![footer::line(state)]);
    help::draw(state, &areas, buffer);
}

/// The state as plain text, with every row of its list: what `w` writes.
pub fn page(state: &State) -> String {
    const COLUMNS: u16 = 200;
    let mut state = State {
        extent: Extent::Page,
        pane: Pane::List,
        prompt: None,
        overlay: None,
        ..state.clone()
    };
    for cursor in &mut state.cursors {
        cursor.offset = 0;
    }
    state.size = (COLUMNS, layout::page_rows(&state));
    let mut buffer = Buffer::empty(Rect::new(0, 0, state.size.0, state.size.1));
    draw(&state, &mut buffer);
    text(&buffer)
}

/// The characters of a buffer, without trailing blanks.
pub fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width.max(1));
    let rows = buffer.content.chunks(width).map(|cells| {
        let row: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        row.trim_end().to_owned()
    });
    let mut rows: Vec<String> = rows.collect();
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    rows.join("\n") + "\n"
}

/// A line for an empty list.
fn nothing(text: &str) -> Line<'static> {
    Line::styled(format!("  {text}"), paint::DIM)
}
