//! What a run said, and claims about it.

use std::os::unix::process::ExitStatusExt as _;
use std::panic::Location;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;

use crate::run::Files;
use crate::table::{Proof, proved};

/// The end of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How leaktrace ended.
    pub status: ExitStatus,
    /// From its start to its end.
    pub elapsed: Duration,
    /// The report; null if none was asked for.
    pub report: Value,
    /// What the command and leaktrace wrote.
    pub stdout: String,
    /// What the command and leaktrace wrote.
    pub stderr: String,
    /// Whether the options name rules or a policy.
    asked: bool,
}

impl Outcome {
    pub(crate) fn new(
        status: ExitStatus,
        elapsed: Duration,
        files: &Files,
        json: bool,
        asked: bool,
    ) -> Self {
        let stderr = read(&files.stderr);
        let report = match std::fs::read(&files.report) {
            // Opened, to see that it can be written, before the command was found wanting.
            Ok(bytes) if bytes.is_empty() => Value::Null,
            Ok(bytes) => serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| panic!("report is no JSON: {error}\n{stderr}")),
            Err(_) if !json => Value::Null,
            Err(error) => {
                // Usage errors and the like end before there is a report.
                assert!(
                    status.code().is_none_or(|code| code > 1),
                    "{error}: {stderr}"
                );
                Value::Null
            }
        };
        Self {
            status,
            elapsed,
            report,
            stdout: read(&files.stdout),
            stderr,
            asked,
        }
    }

    /// Exit status, as a shell shows it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or_default())
    }

    /// The unsuppressed errors.
    #[must_use]
    pub fn errors(&self) -> Vec<&Value> {
        self.findings()
            .into_iter()
            .filter(|finding| finding["level"] == "error" && finding["suppressed_by"].is_null())
            .collect()
    }

    /// All findings, notes too.
    #[must_use]
    pub fn findings(&self) -> Vec<&Value> {
        self.report["findings"]
            .as_array()
            .map(|findings| findings.iter().collect())
            .unwrap_or_default()
    }

    /// Findings of `rule`.
    #[must_use]
    pub fn of_rule(&self, rule: &str) -> Vec<&Value> {
        let mut findings = self.findings();
        findings.retain(|finding| finding["rule"] == rule);
        findings
    }

    /// The first finding of `rule`, error or note, which nothing suppresses. Notes for the table of
    /// rules that it fired.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn fired(&self, rule: &str) -> &Value {
        let unsuppressed = |finding: &&Value| finding["suppressed_by"].is_null();
        let Some(finding) = self.of_rule(rule).into_iter().find(unsuppressed) else {
            panic!("{rule} was not reported\n{self}");
        };
        proved(rule, Proof::Fired, self.asked, Location::caller());
        finding
    }

    /// Clean, and not even a note of `rule`: the program does what one does that makes the rule
    /// fire, and cleans up. Notes that for the table of rules. A rule that is off by default has
    /// to be asked for, or the twin proves nothing.
    ///
    /// # Panics
    /// If there is another outcome.
    #[track_caller]
    pub fn twin_clean(&self, rule: &str) {
        self.clean();
        assert!(
            self.of_rule(rule).is_empty(),
            "{rule} where it should not be\n{self}"
        );
        proved(rule, Proof::Twin, self.asked, Location::caller());
    }

    /// The one error there is, which is one of `rule` and made the run exit 100.
    ///
    /// # Panics
    /// If there is another outcome.
    #[track_caller]
    pub fn only_error(&self, rule: &str) -> &Value {
        let errors = self.errors();
        assert!(
            errors.len() == 1,
            "{} errors, not one {rule}\n{self}",
            errors.len()
        );
        assert_eq!(errors[0]["rule"], rule, "{self}");
        assert_eq!(self.code(), 100, "{self}");
        assert_eq!(self.report["exit"]["because"], "findings", "{self}");
        assert_eq!(self.report["verdict"], "findings", "{self}");
        self.nothing_lost();
        self.fired(rule);
        errors[0]
    }

    /// No error, nothing inconclusive, exit 0.
    ///
    /// # Panics
    /// If there is another outcome.
    #[track_caller]
    pub fn clean(&self) {
        assert!(
            self.errors().is_empty(),
            "errors where none should be\n{self}"
        );
        assert_eq!(self.report["verdict"], "clean", "{self}");
        assert_eq!(self.code(), 0, "{self}");
        self.nothing_lost();
    }

    /// Clean, and not even a note.
    ///
    /// # Panics
    /// If there is another outcome.
    #[track_caller]
    pub fn spotless(&self) {
        self.clean();
        assert!(
            self.findings().is_empty(),
            "findings where none should be\n{self}"
        );
    }

    #[track_caller]
    fn nothing_lost(&self) {
        let events = &self.report["events"];
        assert_eq!(events["lost"], 0, "{self}");
        assert_eq!(events["produced"], events["received"], "{self}");
    }

    /// The one process named `comm`.
    ///
    /// # Panics
    /// If there is none, or more than one.
    #[track_caller]
    #[must_use]
    pub fn process(&self, comm: &str) -> &Value {
        let named = self.processes(comm);
        assert_eq!(named.len(), 1, "processes named `{comm}`\n{self}");
        named[0]
    }

    /// The processes named `comm`.
    #[must_use]
    pub fn processes(&self, comm: &str) -> Vec<&Value> {
        self.report["processes"]
            .as_array()
            .map(|processes| processes.iter().filter(|it| it["comm"] == comm).collect())
            .unwrap_or_default()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "status: {}, {:?}\nstdout: {}\nstderr: {}\nreport: {:#}",
            self.status, self.elapsed, self.stdout, self.stderr, self.report
        )
    }
}

fn read(path: &std::path::Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
