//! GitLab's code quality report: an array of issues in Code Climate's form, of which GitLab reads
//! `description`, `check_name`, `fingerprint`, `severity` and `location`
//! (docs.gitlab.com/ci/testing/code_quality, "Code Quality report format").

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    report::{Level, Report},
    sink::{escape_str, finding, json},
};

#[derive(Serialize)]
struct Issue {
    r#type: &'static str,
    check_name: String,
    description: String,
    severity: &'static str,
    fingerprint: String,
    location: Place,
}

#[derive(Serialize)]
struct Place {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

/// The array. What is suppressed is not in it: GitLab has no word for that.
///
/// # Errors
/// As serde_json's.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let issues: Vec<Issue> = finding::shown(report)
        .into_iter()
        .map(|finding| {
            let place = finding::place(finding);
            let fingerprint = finding::fingerprint(finding);
            let times = seen.entry(fingerprint.clone()).or_default();
            *times += 1;
            Issue {
                r#type: "issue",
                check_name: finding::title(finding),
                description: finding::sentence(finding),
                severity: match finding.level {
                    Level::Error => "major",
                    Level::Note | Level::Off => "info",
                },
                // GitLab shows one issue of those that share a fingerprint.
                fingerprint: match times {
                    1 => fingerprint,
                    n => format!("{fingerprint}-{n}"),
                },
                location: Place {
                    path: escape_str(&place.file),
                    lines: Lines { begin: place.line },
                },
            }
        })
        .collect();
    json::pretty(&issues)
}
