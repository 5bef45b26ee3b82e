//! What each view looks like, at the sizes that matter, and which colours say what.

use std::sync::Arc;

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

use super::{
    fixture::{self, NOW, SECOND},
    input::{Intent, Move},
    state::{State, View},
    update::update,
    view,
};
use crate::{
    id::KtimeNs,
    model::snapshot::{Detail, Snapshot},
};

const SIZES: [(u16, u16); 4] = [(100, 30), (80, 24), (59, 9), (200, 50)];

fn after(size: (u16, u16), intents: impl IntoIterator<Item = Intent>) -> State {
    intents
        .into_iter()
        .fold(State::new(fixture::site(), size), |state, intent| {
            update(state, intent).0
        })
}

fn arrived(picture: Snapshot) -> Intent {
    Intent::Arrived(Arc::new(picture))
}

/// Two pictures, half a second apart, so that there is a pace.
fn pictures() -> [Intent; 2] {
    let mut before = fixture::picture();
    before.at = KtimeNs(NOW.0 - SECOND / 2);
    before.received -= 24_100;
    [arrived(before), arrived(fixture::picture())]
}

fn drawn(state: &State) -> Buffer {
    let (width, height) = state.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a test terminal");
    terminal
        .draw(|frame| view::draw(state, frame.buffer_mut()))
        .expect("drawing");
    terminal.backend().buffer().clone()
}

fn screen(state: &State) -> String {
    view::text(&drawn(state))
}

fn cell_of<'a>(buffer: &'a Buffer, row: u16, text: &str) -> &'a Cell {
    let width = buffer.area.width;
    let line: Vec<&str> = (0..width).map(|x| buffer[(x, row)].symbol()).collect();
    let at = (0..line.len())
        .find(|x| line[*x..].concat().starts_with(text))
        .unwrap_or_else(|| panic!("`{text}` in `{}`", line.concat()));
    &buffer[(u16::try_from(at).expect("small"), row)]
}

#[test]
fn every_view_at_every_size() {
    for view in View::ALL {
        for (width, height) in SIZES {
            let mut intents = pictures().to_vec();
            intents.push(Intent::Show(view));
            let state = after((width, height), intents);
            let name = format!("{}_{width}x{height}", view.name().to_lowercase());
            insta::assert_snapshot!(name, screen(&state));
        }
    }
}

#[test]
fn help_and_opened_detail() {
    let mut intents = pictures().to_vec();
    intents.push(Intent::Help);
    insta::assert_snapshot!("help_100x30", screen(&after((100, 30), intents.clone())));
    intents.extend([Intent::Back, Intent::Open]);
    let opened = after((100, 30), intents);
    insta::assert_snapshot!("detail_100x30", screen(&opened));
}

#[test]
fn a_tree_is_indented_and_a_filter_is_named() {
    let mut intents = pictures().to_vec();
    intents.extend([Intent::Tree, Intent::Filter]);
    intents.extend("comm=[!n]* fd>9".chars().map(Intent::Type));
    intents.push(Intent::Submit);
    insta::assert_snapshot!("tree_100x30", screen(&after((100, 30), intents)));
}

#[test]
fn nothing_yet_is_said_in_every_view() {
    for view in View::ALL {
        let state = after((80, 24), [Intent::Show(view)]);
        let text = screen(&state);
        assert!(
            text.contains("no") || text.contains("none"),
            "{view:?}\n{text}"
        );
    }
}

#[test]
fn no_size_panics_or_overflows() {
    for width in (0..130).step_by(7) {
        for height in 0..40 {
            for view in View::ALL {
                let mut intents = pictures().to_vec();
                intents.extend([Intent::Show(view), Intent::Open, Intent::Move(Move::Last)]);
                let state = after((width, height), intents);
                let mut buffer = Buffer::empty(ratatui::layout::Rect::new(0, 0, width, height));
                view::draw(&state, &mut buffer);
            }
        }
    }
}

#[test]
fn columns_go_in_their_order() {
    let titles = |width| {
        let text = screen(&after((width, 30), pictures()));
        text.lines().nth(4).expect("titles").to_owned()
    };
    let has = |width, title: &str| titles(width).contains(title);
    for (width, gone) in [(97, "FULL IN"), (89, "LIMIT"), (84, "IPC"), (80, "RING")] {
        assert!(has(width + 1, gone), "{gone} at {}", width + 1);
        assert!(!has(width, gone), "{gone} at {width}");
    }
    assert!(has(80, "TASK") && has(80, "FD/s"));
}

#[test]
fn loss_turns_red_with_its_time_and_stays_until_reset() {
    let mut picture = fixture::picture();
    picture.lost = 214;
    picture.lost_since = Some(KtimeNs(NOW.0 - 12 * SECOND));
    picture.not_run = Some(3);
    let mut later = picture.clone();
    later.at = KtimeNs(NOW.0 + SECOND);
    let state = after((100, 30), [arrived(picture), arrived(later.clone())]);
    let buffer = drawn(&state);
    let lost = cell_of(&buffer, 0, "lost 214 since 14:02:19");
    assert_eq!(lost.fg, Color::Red);
    let not_run = cell_of(&buffer, 0, "not run 3 since 14:02:31");
    assert_eq!(not_run.fg, Color::Red);

    let (reset, _) = update(state, Intent::ResetLoss);
    let lost = drawn(&reset);
    let lost = cell_of(&lost, 0, "lost 214   ");
    assert_eq!(lost.fg, Color::Reset);

    later.lost = 215;
    later.at = KtimeNs(NOW.0 + 2 * SECOND);
    let (again, _) = update(reset, arrived(later));
    let buffer = drawn(&again);
    assert_eq!(
        cell_of(&buffer, 0, "lost 215 since 14:02:33").fg,
        Color::Red
    );
}

#[test]
fn loss_is_seen_on_the_smallest_screen() {
    let mut picture = fixture::picture();
    picture.lost = 7;
    for (size, rows) in [((59, 1), 1), ((40, 3), 3), ((20, 5), 3), ((20, 1), 1)] {
        let state = after(size, [arrived(picture.clone())]);
        let text = screen(&state);
        assert_eq!(text.trim_end().lines().count(), rows, "{text}");
        let first = text.lines().next().unwrap_or_default();
        assert!(first.contains("lost 7"), "{size:?}: {text}");
    }
}

#[test]
fn zeros_are_dim_and_what_is_urgent_is_red() {
    let buffer = drawn(&after((100, 30), pictures()));
    // The second row is 7710 celery: its RING is 0.
    assert!(
        cell_of(&buffer, 6, "   0 ")
            .modifier
            .contains(Modifier::DIM)
    );
    assert_eq!(cell_of(&buffer, 5, "20.7 s ▲").fg, Color::Red);
    assert_eq!(cell_of(&buffer, 26, "FINDINGS").fg, Color::Red);
    assert_eq!(cell_of(&buffer, 6, "37 min").fg, Color::Yellow);
}

#[test]
fn hostile_names_reach_the_screen_escaped() {
    for view in [View::Live, View::Residue] {
        let mut intents = pictures().to_vec();
        intents.push(Intent::Show(view));
        let buffer = drawn(&after((200, 50), intents));
        for cell in &buffer.content {
            let plain = cell
                .symbol()
                .chars()
                .all(|c| !c.is_control() && c != '\u{202e}');
            assert!(plain, "{:?}", cell.symbol());
        }
    }
    let text = screen(&after((100, 30), pictures()));
    assert!(text.contains("a\\x1b[31mb\\u{4e…"), "{text}");
}

#[test]
fn a_detail_of_another_process_is_not_shown() {
    let mut picture = fixture::picture();
    picture.detail = Some(Detail {
        key: fixture::key(7710, 8_041.0),
        ..picture.detail.unwrap_or_default()
    });
    let text = screen(&after((100, 30), [arrived(picture)]));
    assert!(text.contains("8123 payments-api · uid"), "{text}");
    assert!(text.contains("reading…"), "{text}");
}

#[test]
fn the_saved_page_has_every_row() {
    let mut picture = fixture::picture();
    let row = picture.live[4].clone();
    picture.live = (0..300)
        .map(|n| {
            let mut row = row.clone();
            row.key.pid.0 = 10_000 + n;
            row
        })
        .collect();
    let text = view::page(&after((80, 24), [arrived(picture)]));
    for pid in 10_000..10_300 {
        assert!(text.contains(&pid.to_string()), "{pid}");
    }
}
