//! Values of options.

use std::path::PathBuf;

use crate::policy::OrderMode;
pub use crate::policy::duration::parse as duration;

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
    OrderMode::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

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
