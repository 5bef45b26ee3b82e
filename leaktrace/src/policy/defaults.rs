//! Known caches and daemons: `defaults.toml`, shipped.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::{Arc, LazyLock},
};

use globset::{Glob, GlobMatcher};
use serde::Deserialize;

const SHIPPED: &str = include_str!("defaults.toml");

/// The shipped table. Its default is the table as shipped.
#[derive(Clone, Debug)]
pub struct Known {
    table: Arc<Table>,
}

#[derive(Debug)]
struct Table {
    caches: Vec<Cache>,
    daemons: Vec<Daemon>,
}

/// Something that tools keep below a temp root.
#[derive(Debug)]
pub struct Cache {
    /// As written in the table.
    pub pattern: String,
    /// Why it is there.
    pub reason: String,
    glob: GlobMatcher,
    directory: bool,
}

/// A process that tools leave running.
#[derive(Debug)]
pub struct Daemon {
    /// Its usual name.
    pub name: String,
    /// Why it is there.
    pub reason: String,
    comm: Option<GlobMatcher>,
    exe: Option<GlobMatcher>,
    argv: Option<GlobMatcher>,
    made: Option<Made>,
}

/// What is known of a surviving process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survivor<'a> {
    /// Its comm.
    pub comm: &'a [u8],
    /// Its executable.
    pub exe: Option<&'a [u8]>,
    /// Its arguments, joined by single spaces.
    pub argv: &'a [u8],
    /// What it has made, as far as the table asks.
    pub made: Option<Made>,
}

/// Something that a daemon has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// A bound unix socket.
    Socket,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    cache: Vec<RawCache>,
    daemon: Vec<RawDaemon>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCache {
    pattern: String,
    reason: String,
    test: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDaemon {
    name: String,
    reason: String,
    comm: Option<String>,
    exe: Option<String>,
    argv: Option<String>,
    made: Option<Made>,
    test: Example,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    comm: String,
    argv: String,
    made: Option<Made>,
}

impl Default for Known {
    fn default() -> Self {
        static TABLE: LazyLock<Arc<Table>> = LazyLock::new(|| {
            // SANITY: the text is compiled in and parsed by a test.
            Arc::new(parse(SHIPPED).expect("the shipped table parses"))
        });
        Known {
            table: Arc::clone(&TABLE),
        }
    }
}

impl Known {
    /// The cache that a path belongs to, given relative to its temp root.
    pub fn cache(&self, inside: &[u8], itself_directory: bool) -> Option<&Cache> {
        self.table
            .caches
            .iter()
            .find(|cache| cache.covers(inside, itself_directory))
    }

    /// The daemon that a surviving process is.
    pub fn daemon(&self, process: Survivor<'_>) -> Option<&Daemon> {
        self.table.daemons.iter().find(|d| d.is(process))
    }

    /// The table as text, for `policy show --defaults`.
    pub fn show(&self) -> String {
        let mut out = String::from(
            "Left behind on purpose by ordinary tools: counted, not findings.\n\ncaches (below a temp root)\n",
        );
        for cache in &self.table.caches {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {:<22}{}", cache.pattern, cache.reason);
        }
        out.push_str("\ndaemons\n");
        for daemon in &self.table.daemons {
            let _ = writeln!(out, "  {:<22}{}", daemon.name, daemon.reason);
            for (key, glob) in [
                ("comm", &daemon.comm),
                ("exe", &daemon.exe),
                ("argv", &daemon.argv),
            ] {
                if let Some(glob) = glob {
                    let _ = writeln!(out, "  {:<24}{key} = {}", "", glob.glob());
                }
            }
            if daemon.made == Some(Made::Socket) {
                let _ = writeln!(out, "  {:<24}and it has bound a unix socket", "");
            }
        }
        out
    }
}

impl Cache {
    fn covers(&self, inside: &[u8], itself_directory: bool) -> bool {
        let slash = inside.iter().position(|&byte| byte == b'/');
        let top = &inside[..slash.unwrap_or(inside.len())];
        let directory = itself_directory || slash.is_some();
        (directory || !self.directory) && matches(&self.glob, top)
    }
}

impl Daemon {
    fn is(&self, process: Survivor<'_>) -> bool {
        let fits = |glob: &Option<GlobMatcher>, text: Option<&[u8]>| match (glob, text) {
            (None, _) => true,
            (Some(glob), Some(text)) => matches(glob, text),
            (Some(_), None) => false,
        };
        fits(&self.comm, Some(process.comm))
            && fits(&self.exe, process.exe)
            && fits(&self.argv, Some(process.argv))
            && (self.made.is_none() || self.made == process.made)
    }
}

/// Whether raw bytes match a glob. `*` matches `/` too.
pub(crate) fn matches(glob: &GlobMatcher, bytes: &[u8]) -> bool {
    glob.is_match(Path::new(OsStr::from_bytes(bytes)))
}

/// Parses a table and holds each entry against its test.
fn parse(text: &str) -> Result<Table, String> {
    let raw: RawTable = toml::from_str(text).map_err(|error| error.to_string())?;
    let table = Table {
        caches: raw.cache.iter().map(cache).collect::<Result<_, _>>()?,
        daemons: raw.daemon.iter().map(daemon).collect::<Result<_, _>>()?,
    };
    Ok(table)
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    Glob::new(text)
        .map(|glob| glob.compile_matcher())
        .map_err(|error| error.to_string())
}

fn cache(raw: &RawCache) -> Result<Cache, String> {
    let cache = Cache {
        pattern: raw.pattern.clone(),
        reason: raw.reason.clone(),
        glob: glob(raw.pattern.trim_end_matches('/'))?,
        directory: raw.pattern.ends_with('/'),
    };
    match cache.covers(raw.test.as_bytes(), false) {
        true => Ok(cache),
        false => Err(format!("`{}` does not match its test", raw.pattern)),
    }
}

fn daemon(raw: &RawDaemon) -> Result<Daemon, String> {
    let optional = |text: &Option<String>| text.as_deref().map(glob).transpose();
    let daemon = Daemon {
        name: raw.name.clone(),
        reason: raw.reason.clone(),
        comm: optional(&raw.comm)?,
        exe: optional(&raw.exe)?,
        argv: optional(&raw.argv)?,
        made: raw.made,
    };
    let narrow = [&daemon.comm, &daemon.exe, &daemon.argv]
        .into_iter()
        .any(Option::is_some);
    let test = Survivor {
        comm: raw.test.comm.as_bytes(),
        exe: None,
        argv: raw.test.argv.as_bytes(),
        made: raw.test.made,
    };
    match narrow && daemon.is(test) {
        true => Ok(daemon),
        false => Err(format!("daemon `{}` does not match its test", raw.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_shipped_table_matches_its_test() {
        let known = Known::default();
        assert!(known.table.caches.len() >= 6);
        assert!(known.table.daemons.len() >= 14);
    }

    #[test]
    fn an_entry_that_does_not_match_its_test_is_refused() {
        let table = |pattern: &str| {
            format!(
                "daemon = []\n[[cache]]\npattern = \"{pattern}\"\nreason = \"r\"\ntest = \"a/b\"\n"
            )
        };
        assert!(parse(&table("a/")).is_ok());
        assert!(parse(&table("b/")).is_err());
        assert!(parse(SHIPPED).is_ok());
    }

    #[test]
    fn ordinary_names_match_nothing() {
        let known = Known::default();
        for path in ["tmp.1a2b", "pytest", "xpytest-of-me", "perf-1.mapx"] {
            assert!(known.cache(path.as_bytes(), true).is_none(), "{path}");
        }
        assert!(known.cache(b"pytest-of-me", false).is_none(), "a file");
        assert!(known.cache(b"pytest-of-me", true).is_some());
        for (comm, argv) in [
            ("sleep", "sleep 30"),
            ("java", "java -jar app.jar"),
            ("ssh", "ssh -N host"),
            ("git", "git fetch"),
            ("adb", "adb shell"),
        ] {
            let survivor = Survivor {
                comm: comm.as_bytes(),
                argv: argv.as_bytes(),
                ..Survivor::default()
            };
            assert!(known.daemon(survivor).is_none(), "{comm}");
        }
    }

    #[test]
    fn the_table_is_shown_with_patterns_and_reasons() {
        let text = Known::default().show();
        assert!(text.contains("pytest-of-*/"));
        assert!(text.contains("gpg-agent"));
        assert!(text.lines().count() > 30);
    }
}
