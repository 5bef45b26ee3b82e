//! How a text report looks where it goes: on a terminal in colour and in its width.

use super::output::Destination;
use crate::sink::text::{Colour, Detail, Look};

/// The look for a place.
pub(super) fn of(detail: Detail, place: &Destination) -> Look {
    if !place.is_terminal() {
        return detail.into();
    }
    Look {
        detail,
        colour: colour(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())),
        // A serial line has no size of its own, and says 0: lines are as long as they are.
        width: crossterm::terminal::size()
            .ok()
            .map(|(columns, _)| usize::from(columns))
            .filter(|&columns| columns > 0),
    }
}

/// Colour unless $NO_COLOR is there and not empty (no-color.org), or the terminal is a dumb one.
fn colour(is_set: impl Fn(&str) -> bool) -> Colour {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match is_set("NO_COLOR") || dumb {
        true => Colour::Never,
        false => Colour::Ansi,
    }
}
