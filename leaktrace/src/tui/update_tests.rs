//! What keys and pictures do to the state.

use std::sync::Arc;

use super::{
    fixture::{self, NOW, SECOND},
    input::{Intent, Mode, Move},
    state::{Direction, Overlay, Pane, SortKey, State, View},
    update::{Effect, mode, update},
};
use crate::{id::KtimeNs, model::snapshot::Snapshot};

fn arrived(picture: Snapshot) -> Intent {
    Intent::Arrived(Arc::new(picture))
}

fn start() -> State {
    let state = State::new(fixture::site(), (100, 30));
    update(state, arrived(fixture::picture())).0
}

fn then(state: State, intents: impl IntoIterator<Item = Intent>) -> State {
    intents
        .into_iter()
        .fold(state, |state, intent| update(state, intent).0)
}

fn typed(text: &str) -> Vec<Intent> {
    text.chars().map(Intent::Type).collect()
}

fn selected(state: &State) -> u32 {
    state.selected().expect("a row").pid.0
}

fn shown(state: &State) -> Vec<u32> {
    let live = &state.picture().live;
    state
        .rows
        .iter()
        .map(|row| live[row.index].key.pid.0)
        .collect()
}

#[test]
fn the_cursor_follows_the_first_row_until_it_is_moved() {
    let state = start();
    assert_eq!(selected(&state), 8123);
    let mut picture = fixture::picture();
    picture.live[2].rate = 99.0;
    let state = then(state, [arrived(picture.clone())]);
    assert_eq!(selected(&state), 7710);

    let state = then(state, [Intent::Move(Move::Down)]);
    assert_eq!(selected(&state), 8123);
    picture.live[1].rate = -50.0;
    let state = then(state, [arrived(picture)]);
    assert_eq!(
        selected(&state),
        8123,
        "a moved cursor stays with its process"
    );
    let state = then(state, [Intent::Move(Move::First)]);
    assert_eq!(selected(&state), 7710);
}

#[test]
fn the_cursor_stays_in_the_list_when_its_process_ends() {
    let state = then(start(), [Intent::Move(Move::Last), Intent::Open]);
    assert_eq!(state.pane, Pane::Detail);
    let gone = state.selected();
    let mut picture = fixture::picture();
    picture.live.retain(|row| Some(row.key) != gone);
    let state = then(state, [arrived(picture)]);
    assert_eq!(state.pane, Pane::List);
    assert!(state.selected().is_some());
    let state = then(state, [arrived(Snapshot::default())]);
    assert_eq!(state.selected(), None);
}

#[test]
fn frozen_rows_keep_their_places_while_totals_go_on() {
    let state = then(start(), [Intent::Freeze]);
    let before = shown(&state);
    let mut picture = fixture::picture();
    picture.at = KtimeNs(NOW.0 + 12 * SECOND);
    picture.received += 1_000;
    picture.live.reverse();
    picture.live[0].rate = 1e6;
    picture.live.truncate(3);
    let state = then(state, [arrived(picture)]);
    assert_eq!(shown(&state), before);
    assert_eq!(state.latest.received, 483_100);
    let state = then(state, [Intent::Freeze]);
    assert_eq!(shown(&state).len(), 3);
}

#[test]
fn sorting_goes_round_and_turns() {
    let state = then(start(), [Intent::Sort]);
    assert_eq!(
        (state.sort, state.direction),
        (SortKey::Fd, Direction::Natural)
    );
    assert_eq!(shown(&state)[..2], [8123, 7710]);
    let state = then(state, [Intent::Reverse]);
    assert_eq!(shown(&state)[0], 9090);
    let state = then(state, std::iter::repeat_n(Intent::Sort, SortKey::ALL.len()));
    assert_eq!(
        (state.sort, state.direction),
        (SortKey::Fd, Direction::Natural)
    );
}

#[test]
fn a_filter_is_typed_checked_and_removed() {
    let state = then(start(), [Intent::Filter]);
    assert_eq!(mode(&state), Mode::Prompt);
    let state = then(state, typed("comm=post* fd>a"));
    let error = state
        .prompt
        .as_ref()
        .and_then(|prompt| prompt.error.clone());
    assert_eq!(error.as_deref(), Some("`a` is not a number"));
    let state = then(state, [Intent::Submit]);
    assert!(state.prompt.is_some(), "a wrong filter stays in the prompt");
    let state = then(state, [Intent::Erase, Intent::Type('2'), Intent::Submit]);
    assert_eq!(shown(&state), [6120, 6121]);
    let state = then(state, [Intent::Back]);
    assert_eq!(shown(&state).len(), 9);
}

#[test]
fn find_goes_to_the_next_match_and_says_when_there_is_none() {
    let search = |state, text: &str| {
        let state = then(state, [Intent::Find]);
        then(then(state, typed(text)), [Intent::Submit])
    };
    let state = search(start(), "postgres");
    assert_eq!(selected(&state), 6120);
    let state = search(state, "postgres");
    assert_eq!(selected(&state), 6121);
    let state = search(state, "912345");
    assert_eq!(selected(&state), 6121);
    assert_eq!(state.notice.as_deref(), Some("`912345` is in no row"));
}

#[test]
fn opening_a_folded_group_shows_its_members_and_folds_again() {
    let down = std::iter::repeat_n(Intent::Move(Move::Down), 4);
    let state = then(start(), [Intent::Open]);
    let state = then(state, down);
    let state = then(state, [Intent::Open]);
    assert_eq!(state.unfolded.len(), 1);
    let state = then(state, [Intent::Move(Move::Last)]);
    assert_eq!(state.detail_cursor.index, 405);
    let state = then(
        state,
        [
            Intent::Move(Move::First),
            Intent::Open,
            Intent::Move(Move::Last),
        ],
    );
    assert_eq!(state.detail_cursor.index, 7);
    let state = then(state, [Intent::Back]);
    assert_eq!(state.pane, Pane::List);
}

#[test]
fn views_go_round_in_both_directions() {
    let state = then(start(), [Intent::PreviousView]);
    assert_eq!(state.view, View::Coverage);
    let state = then(state, [Intent::NextView, Intent::NextView]);
    assert_eq!(state.view, View::Exits);
}

#[test]
fn the_allow_of_a_finding_can_be_pasted() {
    let state = then(start(), [Intent::Show(View::Exits), Intent::Suppression]);
    assert_eq!(
        state.notice.as_deref(),
        Some("to allow it: --allow LT103:comm=worker")
    );
    let state = then(state, [Intent::Move(Move::Down), Intent::Suppression]);
    let notice = state.notice.unwrap_or_default();
    assert!(notice.starts_with("choose an ended process"), "{notice}");
}

#[test]
fn a_finding_is_explained_and_esc_closes_it() {
    let state = then(start(), [Intent::Show(View::Exits), Intent::Explain]);
    match &state.overlay {
        Some(Overlay::Text(title, lines)) => {
            assert_eq!(title, "LT103");
            assert!(lines[0].starts_with("LT103 sysv-shm-left"), "{lines:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(then(state, [Intent::Back]).overlay, None);
}

#[test]
fn effects_are_told_not_done() {
    for (intent, effect) in [
        (Intent::Quit, Effect::Quit),
        (Intent::Redraw, Effect::Redraw),
        (Intent::Suspend, Effect::Suspend),
        (Intent::Save, Effect::Save),
    ] {
        assert_eq!(update(start(), intent).1, Some(effect));
    }
}

#[test]
fn pace_is_counted_over_two_seconds() {
    let mut state = start();
    for quarter in 1..=20 {
        let mut picture = fixture::picture();
        picture.at = KtimeNs(NOW.0 + quarter * SECOND / 4);
        picture.received += quarter * 250;
        state = then(state, [arrived(picture)]);
    }
    assert_eq!(state.pace.per_second(), Some(1_000.0));
    assert!(state.pace.recent.len() <= 10);
}
