//! The overlay: all keys and what the columns mean, or a text that was asked for.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::paint::{self, BOLD};
use crate::tui::{
    format,
    layout::Areas,
    state::{Overlay, State},
};

const KEYS: [(&str, &str); 20] = [
    ("q  ^C", "quit"),
    ("?", "this help"),
    ("↑ ↓  j k", "move; PgUp PgDn a page; g G first, last"),
    ("Enter", "open the process; fold or unfold alike resources"),
    ("Esc", "back; in the list: remove the filter"),
    ("Tab  1-5", "views: Live, Exits, Timing, Residue, Coverage"),
    ("/", "find by comm or pid"),
    ("f", "filter: comm=py* fd>100 state=teardown"),
    ("s  S", "sort by the next column; turn the order round"),
    ("t", "tree or flat"),
    ("Space", "freeze the rows; totals go on"),
    ("e", "Exits: what the rule of the selected finding means"),
    ("y", "Exits: the --allow for the selected finding"),
    ("w", "save the picture as text here"),
    ("r", "reset the loss marker"),
    ("^L  ^Z", "redraw; suspend"),
    (
        "FD",
        "open fds of the table, SOCK and RING among them; ~ not exact",
    ),
    ("FD/s", "change of FD per second over 10 s"),
    (
        "FULL IN",
        "time until FD reaches LIMIT; ∞ does not grow; — unsteady",
    ),
    (
        "REL RES",
        "Exits: released; residue, what is left of what it made",
    ),
];

/// Draws the overlay, if there is one, over the body.
pub fn draw(state: &State, areas: &Areas, buffer: &mut Buffer) {
    let top = areas.header.bottom();
    let body = Rect::new(0, top, state.size.0, areas.footer.top().saturating_sub(top));
    let (title, lines) = match &state.overlay {
        None => return,
        Some(Overlay::Help) => ("help · ? or Esc closes".to_owned(), help()),
        Some(Overlay::Text(title, text)) => {
            let lines = text
                .iter()
                .map(|line| Line::raw(format!("   {}", format::text(line))));
            (
                format!("{} · Esc closes", format::text(title)),
                lines.collect(),
            )
        }
    };
    for y in body.top()..body.bottom() {
        buffer.set_stringn(
            0,
            y,
            " ".repeat(usize::from(body.width)),
            usize::from(body.width),
            paint::PLAIN,
        );
    }
    buffer.set_style(body, ratatui::style::Style::reset());
    let mut all = vec![paint::rule(&title, body.width)];
    all.extend(lines);
    paint::lines(buffer, body, all);
}

fn help() -> Vec<Line<'static>> {
    let key = |(key, what): (&str, &str)| {
        Line::from(vec![
            Span::styled(format!("   {}", format::left(key, 10)), BOLD),
            Span::raw(what.to_owned()),
        ])
    };
    KEYS.into_iter().map(key).collect()
}
