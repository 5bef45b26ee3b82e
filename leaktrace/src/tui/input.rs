//! What a key means. Total: an event that means nothing is `None`.

use std::sync::Arc;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::View;
use crate::model::snapshot::Snapshot;

/// What is wanted, whatever key or task it came from.
#[derive(Clone, Debug)]
pub enum Intent {
    /// Leave.
    Quit,
    /// Show or hide the help.
    Help,
    /// Move the cursor.
    Move(Move),
    /// Open what the cursor is on.
    Open,
    /// Back out of the innermost thing.
    Back,
    /// Next view.
    NextView,
    /// Previous view.
    PreviousView,
    /// One view.
    Show(View),
    /// Type a text to find.
    Find,
    /// Type a filter.
    Filter,
    /// Sort by the next column.
    Sort,
    /// Turn the order round.
    Reverse,
    /// Show as a tree, or flat.
    Tree,
    /// Freeze the picture, or let it go on.
    Freeze,
    /// Say what the rule of the selected finding means.
    Explain,
    /// Show the `--allow` that suppresses what the cursor is on.
    Suppression,
    /// Write the picture into a file.
    Save,
    /// The loss has been seen.
    ResetLoss,
    /// Draw everything anew.
    Redraw,
    /// Stop, as job control does.
    Suspend,
    /// A character for the prompt.
    Type(char),
    /// Remove the prompt's last character.
    Erase,
    /// The prompt is complete.
    Submit,
    /// The terminal has this size now: columns, rows.
    Resize(u16, u16),
    /// A new picture of the model.
    Arrived(Arc<Snapshot>),
    /// There will be no more pictures; why.
    Over(String),
    /// Something to tell, in one line.
    Tell(String),
}

/// A cursor movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// One up.
    Up,
    /// One down.
    Down,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// To the first.
    First,
    /// To the last.
    Last,
}

/// Where keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are commands.
    Browse,
    /// They are typed into the prompt.
    Prompt,
}

/// What the event asks for.
pub fn intent(event: &Event, mode: Mode) -> Option<Intent> {
    match event {
        Event::Resize(columns, rows) => Some(Intent::Resize(*columns, *rows)),
        Event::Key(key) if key.kind != KeyEventKind::Release => chord(key).or_else(|| match mode {
            Mode::Browse => command(key),
            Mode::Prompt => typed(key),
        }),
        Event::Key(_)
        | Event::FocusGained
        | Event::FocusLost
        | Event::Mouse(_)
        | Event::Paste(_) => None,
    }
}

/// Keys with Ctrl mean the same everywhere.
fn chord(key: &KeyEvent) -> Option<Intent> {
    if !key.modifiers.contains(KeyModifiers::CONTROL) {
        return None;
    }
    match key.code {
        KeyCode::Char('c') => Some(Intent::Quit),
        KeyCode::Char('l') => Some(Intent::Redraw),
        KeyCode::Char('z') => Some(Intent::Suspend),
        _ => None,
    }
}

fn command(key: &KeyEvent) -> Option<Intent> {
    if key
        .modifiers
        .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
    {
        return None;
    }
    match key.code {
        KeyCode::Up => Some(Intent::Move(Move::Up)),
        KeyCode::Down => Some(Intent::Move(Move::Down)),
        KeyCode::PageUp => Some(Intent::Move(Move::PageUp)),
        KeyCode::PageDown => Some(Intent::Move(Move::PageDown)),
        KeyCode::Home => Some(Intent::Move(Move::First)),
        KeyCode::End => Some(Intent::Move(Move::Last)),
        KeyCode::Enter => Some(Intent::Open),
        KeyCode::Esc => Some(Intent::Back),
        KeyCode::Tab => Some(Intent::NextView),
        KeyCode::BackTab => Some(Intent::PreviousView),
        KeyCode::Char(c) => letter(c),
        _ => None,
    }
}

fn letter(c: char) -> Option<Intent> {
    Some(match c {
        'q' => Intent::Quit,
        '?' => Intent::Help,
        'k' => Intent::Move(Move::Up),
        'j' => Intent::Move(Move::Down),
        'g' => Intent::Move(Move::First),
        'G' => Intent::Move(Move::Last),
        '1'..='5' => Intent::Show(View::ALL[c as usize - '1' as usize]),
        '/' => Intent::Find,
        'f' => Intent::Filter,
        's' => Intent::Sort,
        'S' => Intent::Reverse,
        't' => Intent::Tree,
        ' ' => Intent::Freeze,
        'e' => Intent::Explain,
        'y' => Intent::Suppression,
        'w' => Intent::Save,
        'r' => Intent::ResetLoss,
        _ => return None,
    })
}

fn typed(key: &KeyEvent) -> Option<Intent> {
    match key.code {
        KeyCode::Enter => Some(Intent::Submit),
        KeyCode::Esc => Some(Intent::Back),
        KeyCode::Backspace => Some(Intent::Erase),
        KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => Some(Intent::Type(c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, modifiers: KeyModifiers, mode: Mode) -> Option<Intent> {
        intent(&Event::Key(KeyEvent::new(code, modifiers)), mode)
    }

    #[test]
    fn the_same_key_is_a_command_or_a_letter() {
        let q = KeyCode::Char('q');
        let none = KeyModifiers::NONE;
        assert!(matches!(press(q, none, Mode::Browse), Some(Intent::Quit)));
        assert!(matches!(
            press(q, none, Mode::Prompt),
            Some(Intent::Type('q'))
        ));
    }

    #[test]
    fn control_c_quits_even_while_typing() {
        let c = KeyCode::Char('c');
        for mode in [Mode::Browse, Mode::Prompt] {
            let got = press(c, KeyModifiers::CONTROL, mode);
            assert!(matches!(got, Some(Intent::Quit)), "{mode:?}");
        }
        assert!(press(KeyCode::Char('x'), KeyModifiers::CONTROL, Mode::Prompt).is_none());
        assert!(press(KeyCode::Char('q'), KeyModifiers::ALT, Mode::Browse).is_none());
    }

    #[test]
    fn digits_choose_views() {
        let five = press(KeyCode::Char('5'), KeyModifiers::NONE, Mode::Browse);
        assert!(matches!(five, Some(Intent::Show(View::Coverage))));
        assert!(press(KeyCode::Char('6'), KeyModifiers::NONE, Mode::Browse).is_none());
    }
}
