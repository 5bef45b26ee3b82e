//! Values of options.

use std::{path::PathBuf, time::Duration};

use crate::policy::OrderMode;

/// `-f FORMAT[:PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatSpec {
    /// What to write.
    pub format: Format,
    /// Where; `None`: where the call's reports go.
    pub path: Option<PathBuf>,
}

/// Report formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// `leaktrace.report/1` or `leaktrace.hist/1`.
    Json,
    /// The same, a line for the run, each process and each finding.
    Jsonl,
    /// For what shows tests.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations in the log of a GitHub workflow.
    Github,
    /// GitLab's code quality report.
    Gitlab,
    /// For a comment or a job summary.
    Markdown,
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Junit => "junit",
            Format::Sarif => "sarif",
            Format::Github => "github",
            Format::Gitlab => "gitlab",
            Format::Markdown => "markdown",
        }
    }

    const ALL: [Format; 8] = [
        Format::Text,
        Format::Json,
        Format::Jsonl,
        Format::Junit,
        Format::Sarif,
        Format::Github,
        Format::Gitlab,
        Format::Markdown,
    ];
}

/// Parses `FORMAT[:PATH]`.
///
/// # Errors
/// A sentence: unknown format, or nothing after the colon.
pub fn format(text: &str) -> Result<FormatSpec, String> {
    let (name, path) = match text.split_once(':') {
        None => (text, None),
        Some((_, "")) => return Err("a path is missing after the colon".into()),
        Some((name, path)) => (name, Some(PathBuf::from(path))),
    };
    match Format::ALL.into_iter().find(|known| known.name() == name) {
        Some(format) => Ok(FormatSpec { format, path }),
        None => {
            let names = Format::ALL.map(Format::name).join(", ");
            Err(format!("unknown format `{name}`, use one of {names}"))
        }
    }
}

/// Parses `2s`, `500ms`, `1.5s`, `3m`, `1h`; a bare number is seconds.
///
/// # Errors
/// A sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let wrong = || format!("`{text}` is not a duration, write it as 2s or 500ms");
    if digits.is_empty() {
        return Err(wrong());
    }
    let unit = match &text[digits.len()..] {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit `{unit}`, use ms, s, m or h")),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())
}

/// Parses an exit code that a process can have.
///
/// # Errors
/// A sentence.
pub fn exit_code(text: &str) -> Result<i32, String> {
    let wrong = || format!("`{text}` is not an exit code, use a number from 0 to 255");
    text.parse::<u8>().map(i32::from).map_err(|_| wrong())
}

/// Parses `--order`.
///
/// # Errors
/// A sentence with the modes there are.
pub fn order(text: &str) -> Result<OrderMode, String> {
    const MODES: [OrderMode; 4] = [
        OrderMode::Instance,
        OrderMode::Global,
        OrderMode::FdsFirst,
        OrderMode::MappingsFirst,
    ];
    MODES
        .into_iter()
        .find(|mode| mode.name() == text)
        .ok_or_else(|| {
            let names: Vec<&str> = MODES.iter().map(|mode| mode.name()).collect();
            format!("unknown order mode `{text}`, use {}", names.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_unit() {
        let ok = |text| duration(text).ok();
        assert_eq!(ok("2s"), Some(Duration::from_secs(2)));
        assert_eq!(ok("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(ok("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(ok("2m"), Some(Duration::from_secs(120)));
        assert_eq!(ok("0"), Some(Duration::ZERO));
        for wrong in [
            "",
            "s",
            "-1s",
            "1d",
            "inf",
            "nan",
            "1e3s",
            "1..2",
            "99999999999999999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_format_may_have_a_path_with_colons() {
        let spec = format("json:/tmp/a:b").ok();
        let path = spec.as_ref().and_then(|spec| spec.path.as_deref());
        assert_eq!(path, Some(std::path::Path::new("/tmp/a:b")));
        assert_eq!(format("text").ok().map(|spec| spec.path), Some(None));
        assert!(format("json:").is_err());
        assert!(format("yaml").is_err());
    }

    #[test]
    fn only_codes_of_one_byte_are_exit_codes() {
        assert_eq!(exit_code("0"), Ok(0));
        assert_eq!(exit_code("255"), Ok(255));
        assert!(exit_code("256").is_err());
        assert!(exit_code("-1").is_err());
    }
}
