//! Colours and small pieces that every view is made of.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use crate::{model::snapshot::State as ProcessState, report::Verdict, tui::format};

/// Nothing special.
pub const PLAIN: Style = Style::new();
/// Less important: zeros, rules, titles of columns.
pub const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// More important.
pub const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
/// In order.
pub const GOOD: Style = Style::new().fg(Color::Green);
/// Worth a look.
pub const WARN: Style = Style::new().fg(Color::Yellow);
/// Wrong.
pub const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
/// A different thing.
pub const ODD: Style = Style::new().fg(Color::Magenta);

/// Writes lines from the top of an area; what does not fit is left out.
pub fn lines(buffer: &mut Buffer, area: Rect, lines: Vec<Line<'_>>) {
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        buffer.set_line(area.x, y, &line, area.width);
    }
}

/// A rule over the whole width: ` ─ title ────`.
pub fn rule(title: &str, width: u16) -> Line<'static> {
    let width = usize::from(width);
    let mut text = if title.is_empty() {
        " ".to_owned()
    } else {
        format!(" ─ {} ", format::clip(title, width.saturating_sub(6)))
    };
    let used = text.chars().count() + 1;
    text.extend(std::iter::repeat_n('─', width.saturating_sub(used)));
    Line::styled(text, DIM)
}

/// A number in a column, dim when it is 0.
pub fn number(n: u64, width: usize) -> Span<'static> {
    let style = if n == 0 { DIM } else { PLAIN };
    Span::styled(format::right(&format::column(n, width), width), style)
}

/// Name and colour of a process's state.
pub fn state(state: ProcessState) -> (&'static str, Style) {
    match state {
        ProcessState::Run => ("run", PLAIN),
        ProcessState::Teardown => ("TEARDOWN", WARN),
        ProcessState::Exiting => ("EXITING", WARN),
        ProcessState::Zombie => ("ZOMBIE", ODD),
    }
}

/// Name and colour of a verdict.
pub fn verdict(verdict: Option<Verdict>) -> (&'static str, Style) {
    match verdict {
        None => ("settling", DIM),
        Some(Verdict::Clean) => ("clean", GOOD),
        Some(Verdict::Findings) => ("FINDINGS", BAD),
        Some(Verdict::Inconclusive) => ("INCONCLUSIVE", WARN),
    }
}
