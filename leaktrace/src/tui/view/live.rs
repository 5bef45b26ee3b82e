//! Live processes: who holds how much, how fast it grows, when it is full.

use ratatui::{
    buffer::Buffer,
    text::{Line, Span},
};

use super::{
    detail, exits,
    header::near_limit,
    nothing,
    paint::{self, BAD, BOLD, DIM, PLAIN, WARN},
};
use crate::{
    id::KtimeNs,
    model::snapshot::{LiveRow, State as ProcessState},
    tui::{
        format,
        layout::Areas,
        state::{Arrangement, Pane, Row, SortKey, State},
    },
};

/// Red below this many seconds to full, yellow below the other.
const SOON_S: f64 = 60.0;
const LATER_S: f64 = 3_600.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Pid,
    Comm,
    State,
    Age,
    Fd,
    Sock,
    Map,
    Ring,
    Task,
    Ipc,
    Rate,
    Limit,
    FullIn,
}

impl Column {
    const ALL: [Column; 13] = [
        Column::Pid,
        Column::Comm,
        Column::State,
        Column::Age,
        Column::Fd,
        Column::Sock,
        Column::Map,
        Column::Ring,
        Column::Task,
        Column::Ipc,
        Column::Rate,
        Column::Limit,
        Column::FullIn,
    ];

    fn title(self) -> &'static str {
        match self {
            Column::Pid => "PID",
            Column::Comm => "COMM",
            Column::State => "STATE",
            Column::Age => "AGE",
            Column::Fd => "FD",
            Column::Sock => "SOCK",
            Column::Map => "MAP",
            Column::Ring => "RING",
            Column::Task => "TASK",
            Column::Ipc => "IPC",
            Column::Rate => "FD/s",
            Column::Limit => "LIMIT",
            Column::FullIn => "FULL IN",
        }
    }

    fn width(self) -> usize {
        match self {
            // pids go up to 4,194,304 (PID_MAX_LIMIT, include/linux/threads.h, 6.18).
            Column::Pid | Column::Rate | Column::Limit => 7,
            Column::Comm => 15,
            Column::State => 8,
            Column::Age => 6,
            Column::Fd | Column::Sock | Column::Map => 5,
            Column::Ring | Column::Task => 4,
            Column::Ipc => 3,
            Column::FullIn => 9,
        }
    }

    /// The columns of the terminal below which this one is left out.
    fn least_terminal(self) -> u16 {
        match self {
            Column::FullIn => 98,
            Column::Limit => 90,
            Column::Ipc => 85,
            Column::Ring => 81,
            Column::Map => 76,
            Column::Task => 72,
            Column::Pid
            | Column::Comm
            | Column::State
            | Column::Age
            | Column::Fd
            | Column::Sock
            | Column::Rate => 0,
        }
    }

    fn sorted_by(self, key: SortKey) -> bool {
        self.title() == key.title()
    }
}

/// The columns shown and the width of the comm.
struct Columns {
    shown: Vec<Column>,
    comm: usize,
}

fn columns(state: &State) -> Columns {
    let shown: Vec<Column> = Column::ALL
        .into_iter()
        .filter(|column| column.least_terminal() <= state.size.0)
        .collect();
    let used: usize = shown.iter().map(|column| column.width() + 1).sum();
    let spare = usize::from(state.size.0).saturating_sub(used + 1);
    let most = match state.arrangement {
        Arrangement::Flat => 16,
        // Depth is shown by indentation, so a tree takes what it can get.
        Arrangement::Tree => 40,
    };
    let comm = (Column::Comm.width() + spare).min(most);
    Columns { shown, comm }
}

/// Draws list, detail and last exits.
pub fn draw(state: &State, areas: &Areas, buffer: &mut Buffer) {
    let columns = columns(state);
    if state.pane == Pane::List {
        paint::lines(buffer, areas.titles, vec![titles(state, &columns)]);
        paint::lines(buffer, areas.list, list(state, &columns, areas.list.height));
    }
    detail::draw(state, areas.detail, buffer);
    exits::draw_last(state, areas.exits, buffer);
}

fn titles(state: &State, columns: &Columns) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for column in &columns.shown {
        let text = match column {
            Column::Comm => format::left(column.title(), columns.comm),
            Column::State => format::left(column.title(), column.width()),
            _ => format::right(column.title(), column.width()),
        };
        let style = if column.sorted_by(state.sort) {
            BOLD
        } else {
            DIM
        };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

fn list(state: &State, columns: &Columns, height: u16) -> Vec<Line<'static>> {
    let picture = state.picture();
    let cursor = state.cursor();
    if state.rows.is_empty() {
        let text = if picture.live.is_empty() {
            "no live process"
        } else {
            "no process passes the filter (f changes it, Esc removes it)"
        };
        return vec![nothing(text)];
    }
    let shown = state.rows.iter().enumerate().skip(cursor.offset);
    shown
        .take(usize::from(height))
        .filter_map(|(i, row)| {
            let process = picture.live.get(row.index)?;
            let line = line(process, *row, picture.at, columns, i == cursor.index);
            Some(line)
        })
        .collect()
}

fn line(
    process: &LiveRow,
    row: Row,
    now: KtimeNs,
    columns: &Columns,
    under_cursor: bool,
) -> Line<'static> {
    let mark = if under_cursor { "▶" } else { " " };
    let mut spans = vec![Span::styled(mark, BOLD)];
    for column in &columns.shown {
        spans.push(cell(*column, process, row, now, columns.comm));
        spans.push(Span::raw(" "));
    }
    let line = Line::from(spans);
    if under_cursor {
        line.patch_style(BOLD)
    } else {
        line
    }
}

fn cell(column: Column, process: &LiveRow, row: Row, now: KtimeNs, comm: usize) -> Span<'static> {
    let width = column.width();
    match column {
        Column::Pid => Span::raw(format::right(&process.key.pid.to_string(), width)),
        Column::Comm => {
            let indent = "  ".repeat(row.depth.min(comm / 4));
            Span::raw(format::left(
                &format!("{indent}{}", format::name(&process.comm)),
                comm,
            ))
        }
        Column::State => {
            let (text, style) = paint::state(process.state);
            Span::styled(format::left(text, width), style)
        }
        Column::Age => Span::raw(format::right(&format::age(now, process.key.start), width)),
        Column::Fd => open(process, width),
        Column::Sock => paint::number(process.sockets, width),
        Column::Map => paint::number(process.mappings, width),
        Column::Ring => paint::number(process.rings, width),
        Column::Task => paint::number(process.tasks, width),
        Column::Ipc => paint::number(process.ipc, width),
        Column::Rate => rate(process.rate, width),
        Column::Limit => limit(process, width),
        Column::FullIn => full_in(process, width),
    }
}

/// `~` says that the table may not be exact.
fn open(process: &LiveRow, width: usize) -> Span<'static> {
    if process.trusted {
        return paint::number(process.open, width);
    }
    let text = format!("~{}", format::column(process.open, width - 1));
    Span::styled(format::right(&text, width), WARN)
}

fn rate(per_second: f64, width: usize) -> Span<'static> {
    let text = format::rate(per_second);
    let style = match text.as_bytes() {
        b"0.0" => DIM,
        [b'+', ..] => WARN,
        _ => PLAIN,
    };
    Span::styled(format::right(&text, width), style)
}

fn limit(process: &LiveRow, width: usize) -> Span<'static> {
    if process.limit == 0 {
        return Span::styled(format::right("—", width), DIM);
    }
    let style = if near_limit(process) { BAD } else { PLAIN };
    let text = format::column(process.limit, width);
    Span::styled(format::right(&text, width), style)
}

/// `—`: nothing is said (no limit known, growing unsteadily, or a zombie); `∞`: it does not grow.
fn full_in(process: &LiveRow, width: usize) -> Span<'static> {
    // The last two cells are for the arrow.
    let number = width - 2;
    match process.full_in_s {
        Some(seconds) if seconds < SOON_S => {
            let text = format!("{} ▲", format::right(&format::until_full(seconds), number));
            Span::styled(text, BAD)
        }
        Some(seconds) => {
            let style = if seconds < LATER_S { WARN } else { PLAIN };
            let text = format::right(&format::until_full(seconds), number);
            Span::styled(format::left(&text, width), style)
        }
        None => {
            let says_nothing =
                process.limit == 0 || process.rate >= 0.05 || process.state == ProcessState::Zombie;
            let text = format::right(if says_nothing { "—" } else { "∞" }, number);
            Span::styled(format::left(&text, width), DIM)
        }
    }
}
