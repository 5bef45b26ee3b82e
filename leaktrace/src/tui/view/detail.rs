//! One process: its resources, newest first, alike ones folded, and who shares them.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    nothing,
    paint::{self, BOLD, DIM, PLAIN},
};
use crate::{
    id::KtimeNs,
    model::{
        facts::ResourceFacts,
        snapshot::{Detail, DetailRow, LiveRow},
    },
    sink::human,
    tui::{
        fold::{self, Entry, Fold},
        format, layout,
        state::{Pane, State},
    },
};

/// Widths of the columns but WHAT, which takes the rest.
const KIND: usize = 10;
const FD: usize = 6;
const AGE: usize = 7;
const HELD_BY: usize = 14;
const ACQUIRED_BY: usize = 20;
/// Below this many columns there is no ACQUIRED BY.
const NARROW: u16 = 90;
/// From this share of RLIMIT_NOFILE on the limit is near.
const NEAR: f64 = 0.8;

/// Draws the selected process.
pub fn draw(state: &State, area: Rect, buffer: &mut Buffer) {
    if area.height < 3 {
        return;
    }
    let what = what_width(area.width);
    let mut lines = vec![paint::rule(&title(state), area.width), titles(what)];
    match state.detail() {
        Some(detail) => lines.extend(body(state, detail, area, what)),
        None if state.selected().is_none() => lines.push(nothing("no process selected")),
        None => lines.push(nothing("reading…")),
    }
    paint::lines(buffer, area, lines);
}

fn what_width(width: u16) -> usize {
    let acquired_by = if width < NARROW { 0 } else { 1 + ACQUIRED_BY };
    let others = 3 + KIND + 1 + FD + 2 + 1 + AGE + 2 + HELD_BY + acquired_by;
    usize::from(width).saturating_sub(others).max(12)
}

fn title(state: &State) -> String {
    let picture = state.picture();
    let row = state.rows.get(state.cursor().index);
    let Some(process) = row.and_then(|row| picture.live.get(row.index)) else {
        return "no process".to_owned();
    };
    let who = format!("{} {}", process.key.pid, format::name(&process.comm));
    let who = who.trim_end().to_owned();
    let command = state.detail().map_or_else(String::new, command);
    let uid = format!("uid {}", process.uid);
    let note = trust(process);
    let conduct = state.detail().map_or_else(String::new, conduct);
    let parts = [who, conduct, command, uid, note];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" · ")
}

fn trust(process: &LiveRow) -> String {
    if process.trusted {
        String::new()
    } else {
        "~ not exact: records were lost, or it was not seen from its start".to_owned()
    }
}

/// What goes wrong while it lives: the limit, refused acquisitions, calls that wait, budgets.
fn conduct(detail: &Detail) -> String {
    let conduct = &detail.conduct;
    let mut parts = Vec::new();
    if conduct.nearest.share() >= NEAR {
        parts.push(format!(
            "! {} of {} fds",
            human::count(u64::from(conduct.nearest.open)),
            human::count(conduct.nearest.limit)
        ));
    }
    if let Some(last) = conduct.no_room.last() {
        let count = human::count(conduct.no_room_count);
        let errno = human::errno(last.errno);
        parts.push(format!("! {count} refused, {} {errno}", last.op.name()));
    }
    for wait in conduct.waits.iter().filter(|wait| !wait.returned) {
        let took = human::nanos(wait.until.since(wait.begin).unwrap_or(0));
        parts.push(format!("{} waits for {took}", wait.op.name()));
    }
    for passed in &conduct.passed {
        parts.push(format!("! over {} {}", passed.most, passed.of));
    }
    parts.truncate(4);
    parts.join(" · ")
}

fn command(detail: &Detail) -> String {
    let exe = detail.exe.as_ref().map(|exe| format::name(exe));
    let arguments = detail.argv.iter().skip(1).map(|word| format::name(word));
    let first = exe.or_else(|| detail.argv.first().map(|word| format::name(word)));
    let words: Vec<String> = first.into_iter().chain(arguments).collect();
    format::clip(&words.join(" "), 120)
}

fn titles(what: usize) -> Line<'static> {
    let text = format!(
        "   {} {}  {} {}  {} ACQUIRED BY",
        format::left("KIND", KIND),
        format::right("FD", FD),
        format::left("WHAT", what),
        format::right("AGE", AGE),
        format::left("HELD BY", HELD_BY),
    );
    Line::styled(text, DIM)
}

fn body(state: &State, detail: &Detail, area: Rect, what: usize) -> Vec<Line<'static>> {
    let now = state.picture().at.max(state.latest.at);
    let entries = fold::fold(&detail.resources, &state.unfolded, now);
    let rows = layout::detail_rows(area);
    let (offset, cursor) = match state.pane {
        Pane::Detail => (state.detail_cursor.offset, Some(state.detail_cursor.index)),
        Pane::List => (0, None),
    };
    let signals = signals(detail);
    // Without a line on signals its row is free for one more resource.
    let rows = if signals.is_none() { rows + 1 } else { rows };
    let hidden = entries.len().saturating_sub(offset + rows);
    let mut lines: Vec<Line<'static>> = entries
        .iter()
        .enumerate()
        .skip(offset)
        .take(rows)
        .map(|(i, entry)| entry_line(entry, now, what, cursor == Some(i)))
        .collect();
    if entries.is_empty() {
        lines.push(nothing("nothing that leaktrace has seen"));
    }
    if hidden > 0
        && let Some(last) = lines.last_mut()
        && state.pane == Pane::List
    {
        let more = format!(
            "   … and {} more (Enter shows all)",
            human::count(hidden as u64 + 1)
        );
        *last = Line::styled(more, DIM);
    }
    lines.extend(signals);
    lines
}

fn entry_line(entry: &Entry<'_>, now: KtimeNs, what: usize, under_cursor: bool) -> Line<'static> {
    let mark = if under_cursor { " ▶ " } else { "   " };
    let mut spans = vec![Span::styled(mark, BOLD)];
    match entry {
        Entry::Resource(row) => spans.extend(resource(row, now, what)),
        Entry::Folded(fold) => spans.push(Span::styled(folded(fold, now), BOLD)),
    }
    let line = Line::from(spans);
    if under_cursor {
        line.patch_style(BOLD)
    } else {
        line
    }
}

fn resource(row: &DetailRow, now: KtimeNs, what: usize) -> Vec<Span<'static>> {
    let resource = &row.resource;
    let fd = resource.fd.map_or("—".to_owned(), |fd| fd.to_string());
    let age = resource
        .acquired
        .map_or("—".to_owned(), |at| format::age(now, at));
    let shared = held_by(row);
    let shared_style = if row.shared_with.is_empty() {
        DIM
    } else {
        PLAIN
    };
    vec![
        Span::raw(format!("{} ", format::left(resource.kind.name(), KIND))),
        Span::raw(format!("{}  ", format::right(&fd, FD))),
        Span::raw(format!("{} ", format::left(&self::what(resource), what))),
        Span::raw(format!("{}  ", format::right(&age, AGE))),
        Span::styled(format!("{} ", format::left(&shared, HELD_BY)), shared_style),
        Span::raw(format::clip(&acquired_by(row), ACQUIRED_BY)),
    ]
}

/// What a resource is, in words for the screen.
pub fn what(resource: &ResourceFacts) -> String {
    let mut parts = Vec::new();
    if let Some(path) = &resource.path {
        parts.push(format::name(path));
    }
    match (&resource.local, &resource.peer) {
        (Some(local), Some(peer)) => {
            parts.push(format!("{} → {}", format::text(local), format::text(peer)));
        }
        (Some(local), None) => parts.push(format::text(local)),
        (None, Some(peer)) => parts.push(format!("→ {}", format::text(peer))),
        (None, None) => {}
    }
    if let Some(state) = resource.state {
        parts.push(state.to_owned());
    }
    if let Some(id) = resource.ipc_id {
        parts.push(format!("id {id}"));
    }
    if let (Some(address), None) = (resource.address, &resource.path) {
        parts.push(format!("{address:#x}"));
    }
    if let Some(bytes) = resource.bytes.filter(|bytes| *bytes > 0) {
        parts.push(human::size(bytes));
    }
    if parts.is_empty()
        && let Some(id) = resource.id
    {
        // As /proc/PID/fd names what has no name.
        parts.push(format!("[{}]", id.ino));
    }
    parts.join(" ")
}

fn held_by(row: &DetailRow) -> String {
    if row.shared_with.is_empty() {
        return "only here".to_owned();
    }
    let pids: Vec<String> = row.shared_with.iter().map(ToString::to_string).collect();
    format!("+{} ({})", pids.len(), pids.join(" "))
}

fn acquired_by(row: &DetailRow) -> String {
    let resource = &row.resource;
    let thread = resource.tid.map(|tid| format!("tid {tid}"));
    match (row.inherited, resource.op) {
        (true, _) => "inherited".to_owned(),
        (false, Some(op)) => match thread {
            Some(thread) => format!("{:<10} {thread}", op.name()),
            None => op.name().to_owned(),
        },
        (false, None) => "before".to_owned(),
    }
}

fn folded(fold: &Fold, now: KtimeNs) -> String {
    let mut text = format!(
        "… {} more {}",
        human::count(fold.count as u64),
        fold.alike.kind.name()
    );
    if !fold.alike.place.is_empty() {
        let word = match fold.alike.kind.class() {
            crate::model::facts::Class::Socket => "to",
            _ => "in",
        };
        text.push_str(&format!(" {word} {}", format::clip(&fold.alike.place, 40)));
    }
    if let Some(oldest) = fold.oldest {
        text.push_str(&format!(", oldest {}", format::age(now, oldest)));
    }
    if fold.per_second > 0.0 {
        text.push_str(&format!(", {}/s", format::rate(fold.per_second)));
    }
    text
}

fn signals(detail: &Detail) -> Option<Line<'static>> {
    let names = |signals: &[u32]| -> String {
        let names = signals
            .iter()
            .map(|signal| human::signal(i32::try_from(*signal).unwrap_or(i32::MAX)));
        names.collect::<Vec<_>>().join(" ")
    };
    let parts = [("handles", &detail.handled), ("ignores", &detail.ignored)];
    let told: Vec<String> = parts
        .into_iter()
        .filter(|(_, signals)| !signals.is_empty())
        .map(|(verb, signals)| format!("{verb} {}", names(signals)))
        .collect();
    (!told.is_empty()).then(|| Line::styled(format!("   {}", told.join(" · ")), DIM))
}
