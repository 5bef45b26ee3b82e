//! What leaktrace found in a suite.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// (level, rule, fingerprint) of a finding.
type Known = BTreeSet<[String; 3]>;

/// A report, as far as it matters.
#[derive(Clone)]
pub struct Found {
    verdict: String,
    code: i64,
    lost: u64,
    findings: Known,
    /// A line for people each.
    pub told: Vec<String>,
    /// How many processes there were.
    pub processes: usize,
    /// How many records there were.
    pub records: u64,
    left: Vec<Value>,
}

impl Found {
    /// Reads a report.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).context("read the report")?;
        let report: Value = serde_json::from_str(&text).context("parse the report")?;
        let all = report["findings"].as_array().cloned().unwrap_or_default();
        Ok(Self {
            verdict: text_of(&report["verdict"]),
            code: report["exit"]["code"].as_i64().unwrap_or(-1),
            lost: report["events"]["lost"].as_u64().unwrap_or(u64::MAX),
            findings: all
                .iter()
                .map(|it| ["level", "rule", "fingerprint"].map(|name| text_of(&it[name])))
                .collect(),
            told: all.iter().map(told).collect(),
            processes: report["processes"].as_array().map_or(0, Vec::len),
            records: report["events"]["received"].as_u64().unwrap_or(0),
            left: all,
        })
    }

    /// What a run of a suite must not have.
    pub fn faults(&self) -> impl Iterator<Item = String> {
        let faults = [
            (self.verdict != "clean").then(|| format!("the verdict is {}", self.verdict)),
            (self.code != 0).then(|| format!("exit {}", self.code)),
            (self.lost != 0).then(|| format!("{} records lost", self.lost)),
        ];
        faults.into_iter().flatten()
    }

    /// What one of the two has and the other has not.
    pub fn differs(&self, other: &Self) -> Vec<String> {
        let differing = self.findings.symmetric_difference(&other.findings);
        differing
            .map(|it| format!("not in every run: {}", it.join(" ")))
            .collect()
    }

    /// The rules of the errors.
    pub fn errors(&self) -> Vec<&str> {
        let errors = self.findings.iter().filter(|[level, ..]| level == "error");
        errors.map(|[_, rule, _]| rule.as_str()).collect()
    }

    /// The notes by rule, with how often each is told.
    pub fn notes(&self) -> String {
        let mut notes: BTreeMap<&str, u32> = BTreeMap::new();
        for [_, rule, _] in self.findings.iter().filter(|[level, ..]| level == "note") {
            *notes.entry(rule).or_default() += 1;
        }
        if notes.is_empty() {
            return "0".to_owned();
        }
        let words: Vec<_> = notes
            .iter()
            .map(|(rule, count)| format!("{count} {rule}"))
            .collect();
        words.join(", ")
    }

    /// Takes away what a leak of this rule has left on purpose: a survivor, a segment, or a name
    /// that the suite made in a temp root. Of other findings a path tells something else, of a
    /// survivor its program; and what was not put in stays where it is.
    pub fn clean_up(&self, leak: &str) {
        let of_leak = |it: &&Value| it["level"] == "error" && it["rule"] == leak;
        for finding in self.left.iter().filter(of_leak) {
            let resource = &finding["resource"];
            let number = |value: &Value| value.as_i64().and_then(|it| i32::try_from(it).ok());
            match finding["rule"].as_str().unwrap_or_default() {
                "LT101" => {
                    if let Some(pid @ 2..) = number(&finding["pid"]) {
                        // SAFETY: passes no memory. A survivor that leaktrace has just named.
                        unsafe { libc::kill(pid, libc::SIGKILL) };
                    }
                }
                "LT103" => {
                    if let Some(id) = number(&resource["id"]) {
                        // SAFETY: IPC_RMID needs no buffer.
                        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
                    }
                }
                "LT106" | "LT109" | "LT110" | "LT111" | "LT112" => {
                    if let Some(path) = resource["path"].as_str().filter(|it| is_temporary(it)) {
                        // What is already gone need not be removed; a directory that is not
                        // empty stays.
                        let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether a path lies in a temp root, and leads nowhere else.
fn is_temporary(path: &str) -> bool {
    let below = |root: &str| {
        let rest = path.strip_prefix(root).and_then(|it| it.strip_prefix('/'));
        rest.is_some_and(|rest| !rest.is_empty())
    };
    let leads_up = path.split('/').any(|part| part == "..");
    !leads_up && ["/tmp", "/var/tmp", "/dev/shm"].into_iter().any(below)
}

fn told(finding: &Value) -> String {
    format!(
        "{} {} {} times, {}: {}",
        text_of(&finding["level"]),
        text_of(&finding["rule"]),
        finding["count"],
        text_of(&finding["comm"]),
        text_of(&finding["message"]),
    )
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::is_temporary;

    #[test]
    fn only_what_lies_in_a_temp_root_may_be_taken_away() {
        for path in ["/tmp/a", "/tmp/a/b", "/dev/shm/x", "/var/tmp/y"] {
            assert!(is_temporary(path), "{path}");
        }
        for path in [
            "/bin/sleep",
            "/tmp",
            "/tmp/",
            "/tmpx/a",
            "/tmp/../bin/sleep",
            "tmp/a",
            "",
            "/dev/shm",
        ] {
            assert!(!is_temporary(path), "{path}");
        }
    }
}
