//! State x Intent -> State. Pure: what has to be done outside comes back as an [`Effect`].

use std::sync::Arc;

use super::{
    arrange::arrange,
    cursor,
    filter::Filter,
    fold::{self, Entry},
    input::{Intent, Mode},
    state::{
        Arrangement, Cursor, Direction, LossMark, Overlay, Pane, Prompt, Purpose, SortKey, State,
        View,
    },
};
use crate::{
    audit::explain,
    model::snapshot::{ExitRow, Snapshot},
    sink::escape::shell_word,
};

/// Something to be done outside of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Leave.
    Quit,
    /// Clear the terminal before drawing.
    Redraw,
    /// Give the terminal back and stop until continued.
    Suspend,
    /// Write the picture into a file.
    Save,
}

/// Pictures over which records per second are counted span at most this time.
const PACE_NS: u64 = 2_000_000_000;

const CHOOSE: &str = "choose an ended process with a finding (view 2) first";

/// Where keys go in this state.
pub fn mode(state: &State) -> Mode {
    match state.prompt {
        Some(_) => Mode::Prompt,
        None => Mode::Browse,
    }
}

/// The next state.
pub fn update(mut state: State, intent: Intent) -> (State, Option<Effect>) {
    let effect = apply(&mut state, intent);
    cursor::settle(&mut state);
    (state, effect)
}

fn apply(state: &mut State, intent: Intent) -> Option<Effect> {
    let from_user = !matches!(
        intent,
        Intent::Arrived(_) | Intent::Over(_) | Intent::Tell(_) | Intent::Resize(..)
    );
    if from_user {
        state.notice = None;
    }
    match intent {
        Intent::Quit => return Some(Effect::Quit),
        Intent::Redraw => return Some(Effect::Redraw),
        Intent::Suspend => return Some(Effect::Suspend),
        Intent::Save => return Some(Effect::Save),
        Intent::Help => toggle_help(state),
        Intent::Move(by) => cursor::go(state, by),
        Intent::Open => open(state),
        Intent::Back => back(state),
        Intent::NextView => show(state, neighbour(state.view, 1)),
        Intent::PreviousView => show(state, neighbour(state.view, View::ALL.len() - 1)),
        Intent::Show(view) => show(state, view),
        Intent::Find => prompt(state, Purpose::Find),
        Intent::Filter => prompt(state, Purpose::Filter),
        Intent::Sort => sort(state),
        Intent::Reverse => reverse(state),
        Intent::Tree => toggle_tree(state),
        Intent::Freeze => freeze(state),
        Intent::Explain => explain_rule(state),
        Intent::Suppression => suppression(state),
        Intent::ResetLoss => reset_loss(state),
        Intent::Type(c) => edit(state, |text| text.push(c)),
        Intent::Erase => edit(state, |text| {
            text.pop();
        }),
        Intent::Submit => submit(state),
        Intent::Resize(columns, rows) => state.size = (columns, rows),
        Intent::Arrived(picture) => arrived(state, picture),
        Intent::Over(why) => {
            state.is_over = true;
            state.notice = Some(why);
        }
        Intent::Tell(what) => state.notice = Some(what),
    }
    None
}

fn toggle_help(state: &mut State) {
    state.overlay = match state.overlay {
        Some(Overlay::Help) => None,
        Some(Overlay::Text(..)) | None => Some(Overlay::Help),
    };
}

fn show(state: &mut State, view: View) {
    state.view = view;
    state.pane = Pane::List;
    state.overlay = None;
}

fn neighbour(view: View, steps: usize) -> View {
    View::ALL[(view as usize + steps) % View::ALL.len()]
}

fn open(state: &mut State) {
    match (state.view, state.pane) {
        (View::Live, Pane::List) if state.selected().is_some() => {
            cursor::pin(state);
            state.pane = Pane::Detail;
            state.detail_cursor = Cursor::default();
        }
        (View::Live, Pane::Detail) => toggle_fold(state),
        (View::Live | View::Exits | View::Timing | View::Residue | View::Coverage, _) => {}
    }
}

/// On a folded group: show it in full. On a member of one shown in full: fold it again.
fn toggle_fold(state: &mut State) {
    let now = state.picture().at;
    let Some(detail) = state.detail() else { return };
    let entries = fold::fold(&detail.resources, &state.unfolded, now);
    let alike = match entries.get(state.detail_cursor.index) {
        Some(Entry::Folded(fold)) => fold.alike.clone(),
        Some(Entry::Resource(row)) => fold::alike(&row.resource),
        None => return,
    };
    if !state.unfolded.remove(&alike) {
        state.unfolded.insert(alike);
    }
}

fn back(state: &mut State) {
    if state.prompt.take().is_some() || state.overlay.take().is_some() {
        return;
    }
    if state.pane == Pane::Detail {
        state.pane = Pane::List;
    } else if !state.filter.text.is_empty() {
        state.filter = Filter::default();
        arrange(state);
    }
}

fn prompt(state: &mut State, purpose: Purpose) {
    let text = match purpose {
        Purpose::Find => String::new(),
        Purpose::Filter => state.filter.text.clone(),
    };
    state.overlay = None;
    state.prompt = Some(Prompt {
        purpose,
        text,
        error: None,
    });
}

fn edit(state: &mut State, change: impl FnOnce(&mut String)) {
    if let Some(prompt) = &mut state.prompt {
        change(&mut prompt.text);
        prompt.error = match prompt.purpose {
            Purpose::Find => None,
            Purpose::Filter => Filter::parse(&prompt.text).err(),
        };
    }
}

fn submit(state: &mut State) {
    let Some(prompt) = state.prompt.take() else {
        return;
    };
    match prompt.purpose {
        Purpose::Find => {
            if !cursor::find(state, &prompt.text) {
                state.notice = Some(format!("`{}` is in no row", prompt.text));
            }
        }
        Purpose::Filter => match Filter::parse(&prompt.text) {
            Ok(filter) => {
                state.filter = filter;
                arrange(state);
            }
            Err(error) => {
                state.prompt = Some(Prompt {
                    error: Some(error),
                    ..prompt
                });
            }
        },
    }
}

fn sort(state: &mut State) {
    let at = SortKey::ALL.iter().position(|key| *key == state.sort);
    state.sort = SortKey::ALL[(at.unwrap_or(0) + 1) % SortKey::ALL.len()];
    state.direction = Direction::Natural;
    arrange(state);
}

fn reverse(state: &mut State) {
    state.direction = match state.direction {
        Direction::Natural => Direction::Reversed,
        Direction::Reversed => Direction::Natural,
    };
    arrange(state);
}

fn toggle_tree(state: &mut State) {
    state.arrangement = match state.arrangement {
        Arrangement::Flat => Arrangement::Tree,
        Arrangement::Tree => Arrangement::Flat,
    };
    arrange(state);
}

fn freeze(state: &mut State) {
    state.frozen = match state.frozen {
        Some(_) => None,
        None => Some(Arc::clone(&state.latest)),
    };
    arrange(state);
}

/// Shows what `leaktrace explain` says of the selected finding's rule.
fn explain_rule(state: &mut State) {
    let rule = finding(state).map(|(rule, _)| rule.to_owned());
    match rule.and_then(|rule| Some((explain(&rule)?, rule))) {
        Some((text, rule)) => {
            let lines = text.lines().map(ToOwned::to_owned).collect();
            state.overlay = Some(Overlay::Text(rule, lines));
        }
        None => state.notice = Some(CHOOSE.to_owned()),
    }
}

/// Tells the option that would suppress the first finding of the selected ended process.
fn suppression(state: &mut State) {
    state.notice = Some(match allow_option(state) {
        Some(option) => format!("to allow it: {option}"),
        None => CHOOSE.to_owned(),
    });
}

fn allow_option(state: &State) -> Option<String> {
    let (rule, comm) = finding(state)?;
    let word = shell_word(&format!("{rule}:comm={}", std::str::from_utf8(comm).ok()?))?;
    Some(format!("--allow {word}"))
}

/// Rule and comm of the first finding of the selected ended process.
fn finding(state: &State) -> Option<(&str, &[u8])> {
    match state.view {
        View::Exits => {
            let row = exit_under_cursor(state)?;
            let (rule, _, _) = row.first.as_ref()?;
            (!rule.is_empty()).then_some((rule.as_str(), &row.comm[..]))
        }
        View::Live | View::Timing | View::Residue | View::Coverage => None,
    }
}

/// The ended process under the cursor of the exits view.
pub fn exit_under_cursor(state: &State) -> Option<&ExitRow> {
    let index = state.cursors[View::Exits as usize].index;
    state.picture().exits.get(*state.exits.get(index)?)
}

fn reset_loss(state: &mut State) {
    state.loss = LossMark {
        seen: losses(&state.latest),
        ..LossMark::default()
    };
}

fn losses(picture: &Snapshot) -> (u64, u64) {
    (picture.lost, picture.not_run.unwrap_or(0))
}

fn arrived(state: &mut State, picture: Arc<Snapshot>) {
    state.latest = picture;
    mark_loss(state);
    keep_pace(state);
    // Frozen rows keep their places; only the totals go on.
    if state.frozen.is_none() {
        arrange(state);
    }
}

fn mark_loss(state: &mut State) {
    let (lost, not_run) = losses(&state.latest);
    let at = state.latest.at;
    if lost > state.loss.seen.0 && state.loss.lost_since.is_none() {
        // The model knows better when the first one was lost; after a reset only we know.
        let known = state.latest.lost_since.filter(|_| state.loss.seen.0 == 0);
        state.loss.lost_since = Some(known.unwrap_or(at));
    }
    if not_run > state.loss.seen.1 && state.loss.not_run_since.is_none() {
        state.loss.not_run_since = Some(at);
    }
}

fn keep_pace(state: &mut State) {
    let (at, received) = (state.latest.at, state.latest.received);
    let recent = &mut state.pace.recent;
    recent.push_back((at, received));
    while recent.len() > 2
        && recent
            .front()
            .is_some_and(|(first, _)| at.since(*first).is_some_and(|ns| ns > PACE_NS))
    {
        recent.pop_front();
    }
}
