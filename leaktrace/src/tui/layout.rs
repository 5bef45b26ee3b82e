//! Where everything is. One function of size and state, used by update (how far does a page
//! go?) and by view (where to draw?), so that the two cannot differ.

use ratatui::layout::Rect;

use super::state::{Extent, Pane, State, View};

/// Below this many columns or rows there is one line only.
pub const LEAST: (u16, u16) = (60, 10);

/// Lines 1 to 3 and the rule below them.
const HEADER: u16 = 4;
/// Ended processes shown below the live ones.
const LAST_EXITS: u16 = 3;

/// The parts of the screen. Heights may be 0: the part is not shown then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas {
    /// Two lines of totals, the line of views, a rule.
    pub header: Rect,
    /// Titles of the list's columns.
    pub titles: Rect,
    /// Rows of the list.
    pub list: Rect,
    /// The selected process or ended process: a title, then lines.
    pub detail: Rect,
    /// The last ended processes: a title, then lines.
    pub exits: Rect,
    /// Keys, prompt or notice.
    pub footer: Rect,
}

/// Whether the terminal is too small for more than a line.
pub fn too_small(size: (u16, u16)) -> bool {
    size.0 < LEAST.0 || size.1 < LEAST.1
}

/// The parts for this state.
pub fn areas(state: &State) -> Areas {
    let (width, height) = state.size;
    let body = height.saturating_sub(HEADER + 1);
    let (titles, list, detail, exits) = match state.extent {
        Extent::Screen => split(state, body),
        Extent::Page => whole(state),
    };
    let mut y = 0;
    let mut take = |rows: u16| {
        let rows = rows.min(height - y);
        let area = Rect::new(0, y, width, rows);
        y += rows;
        area
    };
    Areas {
        header: take(HEADER),
        titles: take(titles),
        list: take(list),
        detail: take(detail),
        exits: take(exits),
        footer: Rect::new(0, height.saturating_sub(1), width, 1.min(height)),
    }
}

/// Rows of a page on which everything is shown, as far as a page goes.
pub fn page_rows(state: &State) -> u16 {
    let (titles, list, detail, exits) = whole(state);
    HEADER + titles + list + detail + exits + 1
}

/// Rows of the parts, as [`split`], when there is room for everything.
fn whole(state: &State) -> (u16, u16, u16, u16) {
    /// The cells of a page stand in memory, 200 a row.
    const MOST_ROWS: usize = 5_000;
    let rows = |n: usize| u16::try_from(n.min(MOST_ROWS)).unwrap_or(u16::MAX);
    let list = rows(state.row_count() + 3);
    match state.view {
        View::Live => (1, list, rows(state.detail_count() + 3), LAST_EXITS + 1),
        View::Exits => (1, list, 6, 0),
        View::Timing | View::Residue | View::Coverage => (1, list, 0, 0),
    }
}

/// Rows of the body for: titles, list, detail, last exits.
fn split(state: &State, body: u16) -> (u16, u16, u16, u16) {
    match (state.view, state.pane) {
        (View::Live, Pane::Detail) => (0, 0, body, 0),
        (View::Live, Pane::List) => {
            let exits = if body >= 15 { LAST_EXITS + 1 } else { 0 };
            let rest = body.saturating_sub(1 + exits);
            // At 30 rows: 9 processes, 11 lines of detail, as much to look at as to choose from.
            let detail = if rest >= 10 { rest * 11 / 20 } else { 0 };
            (1, rest - detail, detail, exits)
        }
        (View::Exits, _) => {
            let detail = if body >= 15 { 6 } else { 0 };
            (1, body.saturating_sub(1 + detail), detail, 0)
        }
        (View::Timing | View::Residue | View::Coverage, _) => (1, body.saturating_sub(1), 0, 0),
    }
}

/// Rows for resources in the detail pane: all but its title, the titles of its columns and the
/// line on signals at its end.
pub fn detail_rows(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(3))
}
