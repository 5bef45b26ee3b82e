//! The report as JSON: the contract `leaktrace.report/1`.

use crate::report::Report;

/// The report, indented, with a line break at its end.
///
/// # Errors
/// None in practice: a report holds nothing that JSON cannot say. Non-finite scores would be
/// null.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}
