//! Where each report goes, and writing it there.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    Failure,
    args::OutputArgs,
    value::{Format, FormatSpec},
};
use crate::launch::User;

/// Whether this call runs CMD: its stdout is CMD's then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It does.
    RunsCommand,
    /// It attaches, or reads a capture.
    Reads,
}

/// A place for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// stdout.
    Stdout,
    /// stderr.
    Stderr,
    /// A file.
    File(PathBuf),
    /// The end of a file that others write to as well.
    EndOf(PathBuf),
}

impl Destination {
    /// Whether that is a terminal.
    pub fn is_terminal(&self) -> bool {
        match self {
            Destination::Stdout => io::stdout().is_terminal(),
            Destination::Stderr => io::stderr().is_terminal(),
            Destination::File(_) | Destination::EndOf(_) => false,
        }
    }
}

/// Whether the last line goes to stderr besides the reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLine {
    /// It does.
    Stderr,
    /// It does not: -q, or stderr has a report.
    Nowhere,
}

/// Which report goes where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// In the order given.
    pub reports: Vec<(Format, Destination)>,
    /// The last line.
    pub last_line: LastLine,
}

/// Decides where reports go. A text report ends with the last line, so one on stderr needs no
/// second.
///
/// # Errors
/// A sentence: two reports for one place, or a path for none.
pub fn route(args: &OutputArgs, call: Call) -> Result<Route, String> {
    let default = match (&args.output, call) {
        (Some(path), _) => destination(path),
        (None, Call::RunsCommand) => Destination::Stderr,
        (None, Call::Reads) => Destination::Stdout,
    };
    let implicit = args.format.is_empty();
    let mut reports: Vec<(Format, Destination)> = Vec::new();
    let text = [FormatSpec {
        format: Format::Text,
        path: None,
    }];
    let specs: &[FormatSpec] = match (implicit, args.quiet, &args.output) {
        (false, ..) => &args.format,
        (true, 0, _) | (true, _, Some(_)) => &text,
        (true, _, None) => &[],
    };
    if args.output.is_some() && specs.iter().all(|spec| spec.path.is_some()) {
        return Err("-o has no report to name: every -f has a path of its own; drop -o".into());
    }
    if specs.iter().filter(|spec| spec.path.is_none()).count() > 1 {
        return Err("two -f have no path; give all but one a path, as in -f json:FILE".into());
    }
    for spec in specs {
        let place = spec.path.as_deref().map_or(default.clone(), destination);
        if let Some((other, _)) = reports.iter().find(|(_, taken)| *taken == place) {
            return Err(format!(
                "the {} and the {} report go to the same place; give each its own",
                other.name(),
                spec.format.name()
            ));
        }
        reports.push((spec.format, place));
    }
    let on_stderr = reports
        .iter()
        .any(|(_, place)| *place == Destination::Stderr);
    let by_default = implicit && args.output.is_none();
    let last_line = if args.quiet > 0 || on_stderr || by_default {
        LastLine::Nowhere
    } else {
        LastLine::Stderr
    };
    Ok(Route { reports, last_line })
}

fn destination(path: &Path) -> Destination {
    match path.to_str() {
        Some("-" | "/dev/stdout") => Destination::Stdout,
        Some("/dev/stderr") => Destination::Stderr,
        Some(_) | None => Destination::File(path.to_owned()),
    }
}

impl Route {
    /// Adds the job summary of a GitHub workflow, if annotations are written at all: only ten
    /// of them are shown.
    #[must_use]
    pub fn with_job_summary(mut self, path: impl FnOnce() -> Option<PathBuf>) -> Route {
        let annotated = |(format, _): &(Format, Destination)| *format == Format::Github;
        if self.reports.iter().any(annotated)
            && let Some(path) = path()
        {
            let place = Destination::EndOf(path);
            self.reports.push((Format::Markdown, place));
        }
        self
    }
}

/// A report in its format.
pub enum Rendered<'a> {
    /// The whole of it: written at once.
    Text(String),
    /// What writes it piece by piece: it may be as large as there are processes.
    Pieces(Writer<'a>),
}

/// Writes a report.
pub type Writer<'a> = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + 'a>;

impl From<String> for Rendered<'_> {
    fn from(text: String) -> Self {
        Rendered::Text(text)
    }
}

impl<'a> Rendered<'a> {
    /// What is written piece by piece.
    pub fn pieces(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'a) -> Self {
        Rendered::Pieces(Box::new(write))
    }

    fn write(self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Rendered::Text(text) => out.write_all(text.as_bytes())?,
            Rendered::Pieces(write) => {
                let mut gathered = BufWriter::with_capacity(PIECE, &mut *out);
                write(&mut gathered)?;
                gathered.flush()?;
            }
        }
        out.flush()
    }
}

/// Bytes that are gathered before they are written.
const PIECE: usize = 64 << 10;

/// Reports waiting to be written; their files are open.
#[derive(Debug)]
pub struct Outputs {
    reports: Vec<Output>,
    last_line: LastLine,
}

/// One of them.
#[derive(Debug)]
struct Output {
    format: Format,
    place: Destination,
    file: Option<Opened>,
}

/// A file that is open for a report.
#[derive(Debug)]
struct Opened {
    file: File,
    path: PathBuf,
    /// Made by this call and empty: to be removed if there is no report after all, for an
    /// empty file is none in any format.
    unwritten: bool,
}

impl Opened {
    fn new(path: &Path, content: Content) -> Result<Opened, Failure> {
        let made = path.symlink_metadata().is_err();
        Ok(Opened {
            file: open(path, content)?,
            path: path.to_owned(),
            unwritten: made,
        })
    }

    fn write(mut self, report: Rendered<'_>, content: Content) -> io::Result<()> {
        self.unwritten = false;
        if content == Content::Replaced && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        report.write(&mut self.file)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let is_it = || {
            let (ours, there) = (self.file.metadata(), self.path.symlink_metadata());
            matches!((ours, there), (Ok(ours), Ok(there))
                if (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        if self.unwritten && is_it() {
            // What cannot be removed is an empty file; the reason why there is no report is
            // told already.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

impl Outputs {
    /// Opens every file, so that a path that cannot be written is found before CMD runs. What
    /// is in a file stays until the report is there to replace it.
    ///
    /// # Errors
    /// Names the path and why it cannot be written.
    pub fn open(route: Route) -> Result<Outputs, Failure> {
        let mut reports = Vec::new();
        for (format, place) in route.reports {
            let file = match &place {
                Destination::Stdout | Destination::Stderr => None,
                Destination::File(path) => Some(Opened::new(path, Content::Replaced)?),
                Destination::EndOf(path) => Some(Opened::new(path, Content::Kept)?),
            };
            reports.push(Output {
                format,
                place,
                file,
            });
        }
        Ok(Outputs {
            reports,
            last_line: route.last_line,
        })
    }

    /// Writes each report, as rendered for its format, then the last line. A reader that went
    /// away (`| head`) has what it wanted.
    ///
    /// # Errors
    /// Names the place and why it cannot be written; the others are written all the same.
    pub fn write<'a, E: std::fmt::Display, R: Into<Rendered<'a>>>(
        self,
        mut render: impl FnMut(Format, &Destination) -> Result<R, E>,
        last_line: &str,
    ) -> Result<(), Failure> {
        let mut failure = None;
        for output in self.reports {
            let Output {
                format,
                place,
                file,
            } = output;
            let done = match render(format, &place) {
                Ok(report) => put(&place, file, report.into()).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = done {
                let name = format.name();
                failure = Some(format!("cannot write the {name} report to {place}: {why}"));
            }
        }
        match self.last_line {
            LastLine::Nowhere => {}
            LastLine::Stderr => drop(io::stderr().write_all(last_line.as_bytes())),
        }
        failure.map_or(Ok(()), |text| Err(Failure::internal(text)))
    }
}

/// What becomes of what is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The report takes its place.
    Replaced,
    /// The report goes behind it.
    Kept,
}

/// Opens a file for a report or capture without touching what is in it. One that is made is
/// for its owner alone, who is the user that ran sudo, if one did: a report names what other
/// users' processes do.
///
/// A symbolic link is refused: leaktrace often runs as root, and whoever may write to the
/// directory would choose the file that is overwritten.
///
/// # Errors
/// Names the path and why.
pub fn open(path: &Path, content: Content) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).append(content == Content::Kept);
    // Opening a terminal must not make it ours (open(2)).
    let flags = libc::O_NOCTTY
        | match is_own_fd(path) {
            true => 0,
            false => libc::O_NOFOLLOW,
        };
    options.custom_flags(flags);
    let made = options.clone().create_new(true).mode(0o600).open(path);
    let opened = match made {
        Ok(file) => give_to_user(&file).map(|()| file),
        // Made by somebody else, now or long ago.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    };
    opened.map_err(|error| {
        let path = crate::sink::escape_str(&path.to_string_lossy());
        let why = match error.raw_os_error() {
            Some(libc::ELOOP) => "it is a symbolic link".to_owned(),
            _ => error.to_string(),
        };
        Failure::internal(format!("cannot write {path}: {why}; give another path"))
    })
}

/// Whether a path names an open fd of this process, which is always a link.
fn is_own_fd(path: &Path) -> bool {
    ["/dev/fd", "/proc/self/fd"]
        .iter()
        .any(|dir| path.parent() == Some(Path::new(dir)))
}

fn give_to_user(file: &File) -> io::Result<()> {
    match User::invoking() {
        Ok(Some(user)) => std::os::unix::fs::fchown(file, Some(user.uid), Some(user.gid)),
        Ok(None) | Err(_) => Ok(()),
    }
}

fn put(place: &Destination, file: Option<Opened>, report: Rendered<'_>) -> io::Result<()> {
    let done = match (place, file) {
        (Destination::Stdout, _) => report.write(&mut io::stdout().lock()),
        (Destination::Stderr, _) | (Destination::File(_) | Destination::EndOf(_), None) => {
            report.write(&mut io::stderr())
        }
        (Destination::EndOf(_), Some(file)) => file.write(report, Content::Kept),
        (Destination::File(_), Some(file)) => file.write(report, Content::Replaced),
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Destination::Stdout => f.write_str("stdout"),
            Destination::Stderr => f.write_str("stderr"),
            Destination::File(path) | Destination::EndOf(path) => {
                f.write_str(&crate::sink::escape_str(&path.to_string_lossy()))
            }
        }
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
