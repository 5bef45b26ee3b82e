//! The report as JSON: the contract `leaktrace.report/1`.

use std::io::{self, Write};

use serde::Serialize;

use crate::{report::Report, sink::escape};

/// The report, indented, with a line break at its end.
///
/// # Errors
/// None in practice: a report holds nothing that JSON cannot say. Non-finite scores would be
/// null.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    pretty(report)
}

/// The same, piece by piece.
///
/// # Errors
/// Those of writing.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut out = escape::JsonWriter(out);
    serde_json::to_writer_pretty(&mut out, report)?;
    out.write_all(b"\n")
}

/// Any value, indented, with a line break at its end, safe to show on a terminal.
///
/// # Errors
/// As serde_json's.
pub fn pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = escape::json(serde_json::to_string_pretty(value)?);
    text.push('\n');
    Ok(text)
}
