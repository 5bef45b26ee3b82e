//! The last line: a prompt, a notice, or the keys.

use ratatui::text::{Line, Span};

use super::paint::{BAD, BOLD, DIM, WARN};
use crate::tui::{
    format,
    state::{Pane, Purpose, State, View},
};

/// The line.
pub fn line(state: &State) -> Line<'static> {
    if let Some(prompt) = &state.prompt {
        let word = match prompt.purpose {
            Purpose::Find => "find",
            Purpose::Filter => "filter",
        };
        let mut spans = vec![
            Span::styled(format!(" {word}: "), BOLD),
            Span::raw(format::text(&prompt.text)),
            Span::styled("▏", BOLD),
        ];
        if let Some(error) = &prompt.error {
            spans.push(Span::styled(format!("  {}", format::text(error)), BAD));
        }
        return Line::from(spans);
    }
    if let Some(notice) = &state.notice {
        return Line::styled(format!(" {}", format::text(notice)), WARN);
    }
    keys(state)
}

fn keys(state: &State) -> Line<'static> {
    let mut keys = vec![("q", "quit"), ("?", "help"), ("↑↓", "move")];
    match (state.view, state.pane) {
        (View::Live, Pane::List) => keys.extend([
            ("⏎", "open"),
            ("/", "find"),
            ("f", "filter"),
            ("s", "sort"),
            ("t", "tree"),
        ]),
        (View::Live, Pane::Detail) => keys.extend([("⏎", "fold"), ("Esc", "back")]),
        (View::Exits, _) => {
            keys.extend([("/", "find"), ("f", "filter"), ("e", "why"), ("y", "allow")])
        }
        (View::Residue, _) => keys.extend([("f", "filter")]),
        (View::Timing | View::Coverage, _) => {}
    }
    keys.extend([("␣", "freeze"), ("w", "save")]);
    let mut spans = vec![Span::raw(" ")];
    let mut room = usize::from(state.size.0).saturating_sub(1);
    for (key, word) in keys {
        let needed = key.chars().count() + word.chars().count() + 3;
        // Half a key is no help; `?` has them all.
        if needed > room + 2 {
            break;
        }
        room = room.saturating_sub(needed);
        spans.push(Span::styled(key, BOLD));
        spans.push(Span::styled(format!(" {word}  "), DIM));
    }
    Line::from(spans)
}
