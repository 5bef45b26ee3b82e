//! What the screen depends on: the pictures of the model, and what the user chose.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    filter::Filter,
    fold::{self, Alike},
};
use crate::{
    id::{KtimeNs, ProcessKey},
    model::snapshot::{Detail, Snapshot},
    report::Clock,
};

/// What does not change while the UI runs.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Name of the host, as uname(2) tells, or of the capture.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Ties CLOCK_BOOTTIME to the wall clock.
    pub clock: Clock,
    /// Local time less UTC, seconds.
    pub utc_offset_s: i64,
}

/// The five views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// Live processes.
    #[default]
    Live,
    /// Processes that ended.
    Exits,
    /// Durations.
    Timing,
    /// What ended processes left.
    Residue,
    /// What this kernel lets us see.
    Coverage,
}

impl View {
    /// In the order of their digits.
    pub const ALL: [View; 5] = [
        View::Live,
        View::Exits,
        View::Timing,
        View::Residue,
        View::Coverage,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            View::Live => "Live",
            View::Exits => "Exits",
            View::Timing => "Timing",
            View::Residue => "Residue",
            View::Coverage => "Coverage",
        }
    }
}

/// What live processes are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortKey {
    /// Change per second.
    #[default]
    Rate,
    /// Open fds.
    Fd,
    /// Sockets.
    Sock,
    /// Mappings.
    Map,
    /// Rings.
    Ring,
    /// Threads.
    Task,
    /// ipc.
    Ipc,
    /// Time until full.
    FullIn,
    /// Start.
    Age,
    /// pid.
    Pid,
    /// Name.
    Comm,
}

impl SortKey {
    /// In the order in which `s` goes through them.
    pub const ALL: [SortKey; 11] = [
        SortKey::Rate,
        SortKey::Fd,
        SortKey::Sock,
        SortKey::Map,
        SortKey::Ring,
        SortKey::Task,
        SortKey::Ipc,
        SortKey::FullIn,
        SortKey::Age,
        SortKey::Pid,
        SortKey::Comm,
    ];

    /// The column's title.
    pub fn title(self) -> &'static str {
        match self {
            SortKey::Rate => "FD/s",
            SortKey::Fd => "FD",
            SortKey::Sock => "SOCK",
            SortKey::Map => "MAP",
            SortKey::Ring => "RING",
            SortKey::Task => "TASK",
            SortKey::Ipc => "IPC",
            SortKey::FullIn => "FULL IN",
            SortKey::Age => "AGE",
            SortKey::Pid => "PID",
            SortKey::Comm => "COMM",
        }
    }
}

/// Direction of sorting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// As the column suggests: most, soonest, youngest, or first in the alphabet on top.
    #[default]
    Natural,
    /// The other way round.
    Reversed,
}

/// How live processes are arranged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// One list.
    #[default]
    Flat,
    /// Children below their parents.
    Tree,
}

/// Which pane the cursor keys move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The list.
    #[default]
    List,
    /// The opened detail.
    Detail,
}

/// Something drawn over the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// Keys and columns.
    Help,
    /// A text with a title: lines that the user asked for.
    Text(String, Vec<String>),
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What for.
    pub purpose: Purpose,
    /// So far.
    pub text: String,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// What a prompt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Find a process.
    Find,
    /// Filter.
    Filter,
}

/// A place in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The process it stays with; `None` until the user moves: it stays on the first row then.
    pub pinned: Option<ProcessKey>,
    /// Row.
    pub index: usize,
    /// First row on the screen.
    pub offset: usize,
}

/// One row of the list of live processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Index into the picture's `live`.
    pub index: usize,
    /// Depth in the tree; 0 when flat.
    pub depth: usize,
}

/// Whether evidence was lost that the user has not yet seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossMark {
    /// Records lost and handlers not run when the user last reset the mark.
    pub seen: (u64, u64),
    /// When records were first lost after that.
    pub lost_since: Option<KtimeNs>,
    /// When a handler was first found not to have run after that.
    pub not_run_since: Option<KtimeNs>,
}

/// Records per second, over the last two seconds.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Times and counts of the recent pictures, oldest first.
    pub recent: VecDeque<(KtimeNs, u64)>,
}

impl Pace {
    /// Records per second; `None` before there are two pictures.
    pub fn per_second(&self) -> Option<f64> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let ns = last.0.since(first.0).filter(|ns| *ns > 0)?;
        Some(last.1.saturating_sub(first.1) as f64 * 1e9 / ns as f64)
    }
}

/// How much is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// What fits on the terminal.
    #[default]
    Screen,
    /// Every row, for a file.
    Page,
}

/// The whole state.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What does not change.
    pub site: Site,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// How much is drawn.
    pub extent: Extent,
    /// The newest picture.
    pub latest: Arc<Snapshot>,
    /// The picture that was newest when the user froze it.
    pub frozen: Option<Arc<Snapshot>>,
    /// View shown.
    pub view: View,
    /// Pane with the cursor.
    pub pane: Pane,
    /// Sorted by.
    pub sort: SortKey,
    /// Sorted which way.
    pub direction: Direction,
    /// Flat or tree.
    pub arrangement: Arrangement,
    /// What is shown of the processes.
    pub filter: Filter,
    /// Rows of the live view, sorted and filtered.
    pub rows: Vec<Row>,
    /// Rows of the exits view: indices into the picture's `exits`.
    pub exits: Vec<usize>,
    /// Rows of the residue view: indices into the picture's `residue`.
    pub residue: Vec<usize>,
    /// Cursors by view, in the order of [`View::ALL`].
    pub cursors: [Cursor; 5],
    /// Cursor in the detail pane.
    pub detail_cursor: Cursor,
    /// Groups shown in full.
    pub unfolded: BTreeSet<Alike>,
    /// Prompt, while something is typed.
    pub prompt: Option<Prompt>,
    /// Overlay, if any.
    pub overlay: Option<Overlay>,
    /// One line for the user, until the next key.
    pub notice: Option<String>,
    /// Whether nothing will change any more.
    pub is_over: bool,
    /// Loss.
    pub loss: LossMark,
    /// Records per second.
    pub pace: Pace,
}

impl State {
    /// At the start.
    pub fn new(site: Site, size: (u16, u16)) -> State {
        State {
            site,
            size,
            ..State::default()
        }
    }

    /// The picture whose rows are shown.
    pub fn picture(&self) -> &Snapshot {
        self.frozen.as_deref().unwrap_or(&self.latest)
    }

    /// The cursor of the view shown.
    pub fn cursor(&self) -> Cursor {
        self.cursors[self.view as usize]
    }

    /// The live process under the cursor.
    pub fn selected(&self) -> Option<ProcessKey> {
        let cursor = self.cursors[View::Live as usize];
        let row = self.rows.get(cursor.index)?;
        Some(self.picture().live.get(row.index)?.key)
    }

    /// The detail of the selected process: from the frozen picture if that has it.
    pub fn detail(&self) -> Option<&Detail> {
        let key = self.selected()?;
        [self.picture(), &*self.latest]
            .into_iter()
            .filter_map(|picture| picture.detail.as_ref())
            .find(|detail| detail.key == key)
    }

    /// Lines of the detail, alike resources folded.
    pub fn detail_count(&self) -> usize {
        self.detail().map_or(0, |detail| {
            fold::fold(&detail.resources, &self.unfolded, self.picture().at).len()
        })
    }

    /// Number of rows of the view shown.
    pub fn row_count(&self) -> usize {
        match self.view {
            View::Live => self.rows.len(),
            View::Exits => self.exits.len(),
            View::Timing => self.picture().timing.len(),
            View::Residue => self.residue.len(),
            View::Coverage => self.picture().coverage.len(),
        }
    }
}
