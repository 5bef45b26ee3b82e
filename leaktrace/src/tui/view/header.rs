//! The lines on top: what is seen, what was lost, what lives, what ended, which view.

use ratatui::text::{Line, Span};

use super::paint::{self, BAD, BOLD, DIM, PLAIN, WARN};
use crate::{
    id::KtimeNs,
    model::snapshot::LiveRow,
    sink::human,
    tui::{
        format,
        layout::LEAST,
        state::{Direction, State, View},
    },
};

/// A process is near its limit from this share of it on.
const NEAR_LIMIT: f64 = 0.8;
/// A process grows from this many fds per second on.
const GROWING: f64 = 0.5;

/// Below this many columns what can be spared is left out.
const NARROW: u16 = 90;

/// All that fits when the terminal is too small: one line, or one a phrase where that is too long;
/// what was lost comes first, so that it is seen even on a single row.
pub fn instead(state: &State) -> Vec<Line<'static>> {
    let (columns, rows) = LEAST;
    let mut whole = Line::from(loss(state));
    whole.push_span(format!(" · leaktrace needs {columns}x{rows} · q quit"));
    if whole.width() <= usize::from(state.size.0) {
        return vec![whole];
    }
    vec![
        Line::from(loss(state)),
        Line::from(format!("needs {columns}x{rows}")),
        Line::from("q quit"),
    ]
}

/// The two lines of totals, the line of views, a rule.
pub fn lines(state: &State) -> Vec<Line<'static>> {
    let width = usize::from(state.size.0);
    vec![
        spread(origin(state), seen(state), width),
        spread(living(state), ended(state), width),
        spread(views(state), chosen(state), width),
        paint::rule("", state.size.0),
    ]
}

/// Two groups of spans, at the left and at the right edge. When both do not fit, the right one
/// is kept: loss stands there.
fn spread(left: Vec<Span<'static>>, right: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let length = |spans: &[Span<'_>]| -> usize {
        spans.iter().map(|span| span.content.chars().count()).sum()
    };
    let room = width.saturating_sub(length(&right) + 1);
    let mut spans = cut(left, room.saturating_sub(1));
    let gap = room.saturating_sub(length(&spans));
    spans.push(Span::raw(" ".repeat(gap)));
    spans.extend(right);
    Line::from(spans)
}

fn cut(spans: Vec<Span<'static>>, width: usize) -> Vec<Span<'static>> {
    let mut room = width;
    let mut out = Vec::with_capacity(spans.len());
    for span in spans {
        let text = format::clip(&span.content, room);
        room -= text.chars().count();
        out.push(Span::styled(text, span.style));
    }
    out
}

fn origin(state: &State) -> Vec<Span<'static>> {
    vec![
        Span::styled(" leaktrace", BOLD),
        Span::raw(format!(
            " · {} · Linux {}",
            format::text(&state.site.host),
            format::text(&state.site.kernel)
        )),
    ]
}

fn seen(state: &State) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    if let Some(pace) = state.pace.per_second() {
        spans.push(Span::raw(format!("{} ev/s   ", format::short(pace as u64))));
    }
    spans.extend(loss(state));
    let (attached, known) = state.latest.probes;
    let style = if attached < known { WARN } else { PLAIN };
    spans.push(Span::styled(
        format!("   coverage {attached}/{known} [5]"),
        style,
    ));
    spans
}

/// Always there; red with the time from the first loss on until the user resets it.
fn loss(state: &State) -> Vec<Span<'static>> {
    let picture = &state.latest;
    let mut spans = tally(state, "lost", picture.lost, state.loss.lost_since);
    spans.push(Span::raw("   "));
    match picture.not_run {
        Some(n) => spans.extend(tally(state, "not run", n, state.loss.not_run_since)),
        None => spans.push(Span::styled("not run —", DIM)),
    }
    spans
}

fn tally(state: &State, what: &str, n: u64, since: Option<KtimeNs>) -> Vec<Span<'static>> {
    match since {
        Some(at) => {
            let time = format::time_of_day(&state.site.clock, state.site.utc_offset_s, at);
            let text = format!("{what} {} since {time}", human::count(n));
            vec![Span::styled(text, BAD)]
        }
        None => vec![Span::raw(format!("{what} {}", human::count(n)))],
    }
}

fn living(state: &State) -> Vec<Span<'static>> {
    let live = &state.latest.live;
    let growing = live.iter().filter(|row| row.rate >= GROWING).count();
    let near = live.iter().filter(|row| near_limit(row)).count();
    vec![
        Span::raw(format!(" {} live · ", human::count(live.len() as u64))),
        Span::styled(
            format!("{growing} growing"),
            if growing > 0 { WARN } else { PLAIN },
        ),
        Span::raw(" · "),
        Span::styled(
            format!("{near} near limit"),
            if near > 0 { BAD } else { PLAIN },
        ),
    ]
}

/// Whether most of the process's fd numbers are taken.
pub fn near_limit(row: &LiveRow) -> bool {
    row.limit > 0 && row.open as f64 >= row.limit as f64 * NEAR_LIMIT
}

fn ended(state: &State) -> Vec<Span<'static>> {
    let (all, clean, findings, inconclusive) = state.latest.ended;
    let clean = if state.size.0 < NARROW {
        String::new()
    } else {
        format!("{} clean · ", human::count(clean))
    };
    let bad = if findings > 0 { BAD } else { PLAIN };
    let unsure = if inconclusive > 0 { WARN } else { PLAIN };
    vec![
        Span::raw(format!("exited {}: {clean}", human::count(all))),
        Span::styled(format!("{} findings", human::count(findings)), bad),
        Span::raw(" · "),
        Span::styled(
            format!("{} inconclusive", human::count(inconclusive)),
            unsure,
        ),
        Span::raw(" [2]"),
    ]
}

fn views(state: &State) -> Vec<Span<'static>> {
    let mut spans = vec![Span::raw(" ")];
    for (number, view) in (1..).zip(View::ALL) {
        if view == state.view {
            spans.push(Span::styled(format!("[{number} {}]  ", view.name()), BOLD));
        } else {
            spans.push(Span::raw(format!("{number} {}  ", view.name())));
        }
    }
    spans
}

fn chosen(state: &State) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    if state.view == View::Live {
        let arrow = match state.direction {
            Direction::Natural => '▼',
            Direction::Reversed => '▲',
        };
        spans.push(Span::raw(format!("sort {} {arrow}   ", state.sort.title())));
    }
    let filters = matches!(state.view, View::Live | View::Exits | View::Residue);
    let room = state.size.0 >= NARROW || !state.filter.text.is_empty();
    if filters && room {
        let (text, style) = match state.filter.text.as_str() {
            "" => ("—".to_owned(), PLAIN),
            text => (format::clip(&format::text(text), 30), WARN),
        };
        spans.push(Span::styled(format!("filter {text}   "), style));
    }
    spans.push(time(state));
    spans
}

fn time(state: &State) -> Span<'static> {
    if let Some(frozen) = &state.frozen {
        let seconds = state.latest.at.since(frozen.at).unwrap_or(0) / 1_000_000_000;
        return Span::styled(format!("FROZEN {seconds} s"), BAD);
    }
    let site = &state.site;
    let text = format::time_of_day(&site.clock, site.utc_offset_s, state.latest.at);
    match state.is_over {
        true => Span::styled(format!("ENDED {text}"), WARN),
        false => Span::raw(text),
    }
}
