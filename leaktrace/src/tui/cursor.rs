//! Cursors: moving, staying with a process while rows move, scrolling.

use super::{
    input::Move,
    layout,
    state::{Cursor, Pane, State, View},
};
use crate::id::ProcessKey;

/// Moves the cursor of the pane that has it.
pub fn go(state: &mut State, by: Move) {
    let (count, height) = extent(state);
    let cursor = current(state);
    let last = count.saturating_sub(1);
    let page = height.max(1);
    let index = match by {
        Move::Up => cursor.index.saturating_sub(1),
        Move::Down => (cursor.index + 1).min(last),
        Move::PageUp => cursor.index.saturating_sub(page),
        Move::PageDown => (cursor.index + page).min(last),
        Move::First => 0,
        Move::Last => last,
    };
    place(state, index, by);
}

fn place(state: &mut State, index: usize, by: Move) {
    match state.pane {
        Pane::Detail => state.detail_cursor.index = index,
        Pane::List => {
            state.cursors[state.view as usize].index = index;
            match by {
                // Back at the top the cursor follows whatever comes first.
                Move::First => state.cursors[state.view as usize].pinned = None,
                Move::Up | Move::Down | Move::PageUp | Move::PageDown | Move::Last => pin(state),
            }
        }
    }
}

/// Ties the cursor of the view to the process that it is on.
pub fn pin(state: &mut State) {
    let index = state.cursor().index;
    let pinned = key_at(state, state.view, index);
    state.cursors[state.view as usize].pinned = pinned;
}

/// Moves to the next row whose comm or pid has the text; false if there is none.
pub fn find(state: &mut State, text: &str) -> bool {
    let count = match state.view {
        View::Live => state.rows.len(),
        View::Exits => state.exits.len(),
        View::Timing | View::Residue | View::Coverage => 0,
    };
    let start = state.cursor().index;
    let found = (1..=count)
        .map(|step| (start + step) % count)
        .find(|index| name_at(state, *index).contains(text));
    if let Some(index) = found {
        state.pane = Pane::List;
        state.cursors[state.view as usize].index = index;
        pin(state);
    }
    found.is_some()
}

fn name_at(state: &State, index: usize) -> String {
    let picture = state.picture();
    let named = match state.view {
        View::Live => state
            .rows
            .get(index)
            .and_then(|row| picture.live.get(row.index))
            .map(|row| (row.key.pid, &row.comm)),
        View::Exits => state
            .exits
            .get(index)
            .and_then(|i| picture.exits.get(*i))
            .map(|row| (row.key.pid, &row.comm)),
        View::Timing | View::Residue | View::Coverage => None,
    };
    named.map_or_else(String::new, |(pid, comm)| {
        format!("{pid} {}", String::from_utf8_lossy(comm))
    })
}

fn key_at(state: &State, view: View, index: usize) -> Option<ProcessKey> {
    let picture = state.picture();
    match view {
        View::Live => Some(picture.live.get(state.rows.get(index)?.index)?.key),
        View::Exits => Some(picture.exits.get(*state.exits.get(index)?)?.key),
        View::Timing | View::Residue | View::Coverage => None,
    }
}

/// After every change: pinned cursors go where their process went, all stay inside their lists,
/// and the rows under them are on the screen.
pub fn settle(state: &mut State) {
    for view in [View::Live, View::Exits] {
        follow(state, view);
    }
    let (count, height) = extent(state);
    let mut cursor = current(state);
    cursor.index = cursor.index.min(count.saturating_sub(1));
    cursor.offset = scrolled(cursor, count, height);
    match state.pane {
        Pane::Detail => state.detail_cursor = cursor,
        Pane::List => state.cursors[state.view as usize] = cursor,
    }
    if state.pane == Pane::Detail && state.selected().is_none() {
        state.pane = Pane::List;
    }
}

fn follow(state: &mut State, view: View) {
    let cursor = state.cursors[view as usize];
    let count = match view {
        View::Live => state.rows.len(),
        View::Exits => state.exits.len(),
        View::Timing | View::Residue | View::Coverage => return,
    };
    let last = count.saturating_sub(1);
    let Some(key) = cursor.pinned else {
        state.cursors[view as usize].index = 0;
        return;
    };
    let found = (0..count).find(|index| key_at(state, view, *index) == Some(key));
    let index = found.unwrap_or(cursor.index.min(last));
    state.cursors[view as usize].index = index;
    if found.is_none() {
        // The process is gone: the cursor stays where it is, on whatever is there now.
        state.cursors[view as usize].pinned = key_at(state, view, index);
        leave_detail(state, view);
    }
}

fn leave_detail(state: &mut State, view: View) {
    if view == View::Live && state.pane == Pane::Detail {
        state.pane = Pane::List;
        state.notice = Some("the process is gone: see view 2".to_owned());
    }
}

fn current(state: &State) -> Cursor {
    match state.pane {
        Pane::Detail => state.detail_cursor,
        Pane::List => state.cursor(),
    }
}

/// Rows in the pane that has the cursor, and how many the screen shows of them.
fn extent(state: &State) -> (usize, usize) {
    let areas = layout::areas(state);
    match state.pane {
        Pane::List => (state.row_count(), usize::from(areas.list.height)),
        Pane::Detail => {
            let rows = layout::detail_rows(areas.detail);
            (state.detail_count(), rows)
        }
    }
}

fn scrolled(cursor: Cursor, count: usize, height: usize) -> usize {
    let height = height.max(1);
    let last_offset = count.saturating_sub(height);
    let least = (cursor.index + 1).saturating_sub(height);
    cursor
        .offset
        .clamp(least, cursor.index.max(least))
        .min(last_offset.max(least))
}
