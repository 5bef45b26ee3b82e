//! Files of what is tolerated: baselines and suppressions.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use super::{
    Failure,
    output::{self, Content},
};
use crate::{
    policy::{allow::Allow, baseline::Baseline, file, generate},
    report::Report,
    sink::escape_str,
};

/// Files of the user are read up to this size: above any that is meant.
const MAX_BYTES: u64 = 64 << 20;

/// A path as messages show it.
pub(super) fn shown(path: &Path) -> String {
    escape_str(&path.to_string_lossy())
}

/// Reads a file that the user wrote; `option` is what named it.
///
/// # Errors
/// It cannot be read, is too long, or is not text: a usage error.
pub(super) fn read(option: &str, path: &Path) -> Result<String, Failure> {
    let fail = |why: &str| Failure::usage(format!("{option}: {} {why}", shown(path)));
    let cannot = |error: std::io::Error| fail(&format!("cannot be read: {error}"));
    let bytes = bounded(path).map_err(cannot)?;
    let bytes = bytes.ok_or_else(|| fail("is too long to be the right file"))?;
    String::from_utf8(bytes).map_err(|_| fail("is not text"))
}

/// What is in a file, or `None` if that is too much: also of a device, which has no size.
///
/// # Errors
/// Those of open(2) and read(2).
pub(super) fn bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}

/// Reads `--baseline FILE`.
///
/// # Errors
/// It cannot be read or is no baseline: a usage error.
pub(super) fn read_baseline(path: &Path) -> Result<Baseline, Failure> {
    let text = read("--baseline", path)?;
    Baseline::parse(&path.to_string_lossy(), &text).map_err(|error| {
        let error = escape_str(&error.to_string());
        Failure::usage(format!(
            "--baseline: {} is no baseline: {error}",
            shown(path)
        ))
    })
}

/// Finds out before anything runs whether a file can be written, without touching what is in it.
///
/// # Errors
/// It cannot.
pub(super) fn can_be_written(path: &Path) -> Result<(), Failure> {
    let is_new = !path.exists();
    output::open(path, Content::Replaced)?;
    if is_new {
        // An empty file would not be a baseline, should the run not get to its end.
        drop(fs::remove_file(path));
    }
    Ok(())
}

/// Writes the errors of a run as a baseline.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_baseline(path: &Path, report: &Report) -> Result<Baseline, Failure> {
    let mut known = report.errors.clone();
    known.sort();
    let baseline = Baseline {
        path: path.to_string_lossy().into_owned(),
        known,
    };
    fs::write(path, baseline.write()).map_err(|error| {
        Failure::internal(format!(
            "cannot write the baseline {}: {error}",
            shown(path)
        ))
    })?;
    Ok(baseline)
}

/// Reads `--suppressions FILE`.
///
/// # Errors
/// It cannot be read or is wrong: a usage error with the line.
pub(super) fn read_suppressions(path: &Path) -> Result<Vec<Allow>, Failure> {
    let text = read("--suppressions", path)?;
    file::parse_suppressions(&path.to_string_lossy(), &text)
        .map_err(|error| super::policy::wrong(path, &error))
}

/// Writes `[[allow]]` blocks for what a run found: to a file, or to stderr, where stdout may be
/// CMD's.
///
/// # Errors
/// It cannot be written.
pub(super) fn write_suppressions(path: Option<&Path>, report: &Report) -> Result<(), Failure> {
    let blocks = generate::blocks(report);
    let Some(path) = path else {
        super::complain(&blocks);
        return Ok(());
    };
    fs::write(path, blocks).map_err(|error| {
        Failure::internal(format!(
            "cannot write suppressions to {}: {error}",
            shown(path)
        ))
    })
}
