//! `--gen-suppressions`: ready `[[allow]]` blocks for what a run found.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{date::Date, fingerprint::is_word};
use crate::report::{Finding, Instance, Level, Report};

/// Blocks for the errors that nothing suppresses, each once; empty if there are none.
pub fn blocks(report: &Report) -> String {
    let today = Date::of_realtime(report.clock.realtime_ns);
    let mut told = BTreeSet::new();
    let mut out = String::new();
    let errors = report
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Error && finding.suppressed_by.is_none());
    for finding in errors {
        for instance in &finding.instances {
            let block = block(finding, instance);
            if told.insert(block.clone()) {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    out,
                    "[[allow]]\n{block}reason = \"found on {today}; say why it is tolerated\"\n"
                );
            }
        }
    }
    out
}

fn block(finding: &Finding, instance: &Instance) -> String {
    let mut out = String::new();
    let mut put = |key: &str, value: &str| {
        let value = toml::Value::String(value.to_owned());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key} = {value}");
    };
    put("rule", &finding.rule);
    put("comm", &globset::escape(&instance.comm));
    // A process is named by its comm; what is its path is its executable.
    if instance.resource.kind != "process" {
        put("kind", &globset::escape(&instance.resource.kind));
        if let Some(path) = &instance.resource.path {
            put("path", &glob(path));
        }
    }
    out
}

/// A glob for a path, in which what looks random is `*`.
fn glob(path: &str) -> String {
    let parts: Vec<String> = path.split('/').map(glob_of_part).collect();
    parts.join("/")
}

fn glob_of_part(part: &str) -> String {
    let mut out = String::new();
    let mut rest = part;
    while !rest.is_empty() {
        let length = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (token, after) = rest.split_at(length);
        out.push_str(&glob_of_token(token));
        let separator = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(&globset::escape(&after[..separator]));
        rest = &after[separator..];
    }
    out
}

fn glob_of_token(token: &str) -> String {
    let has_digit = token.contains(|c: char| c.is_ascii_digit());
    let head = token.trim_end_matches(|c: char| c.is_ascii_digit());
    if !has_digit && (token.len() < 6 || is_word(token)) {
        globset::escape(token)
    } else if has_digit && (head.is_empty() || is_word(head)) {
        // A name and a number behind it.
        format!("{}*", globset::escape(head))
    } else if token.starts_with("tmp") {
        "tmp*".to_owned()
    } else {
        "*".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_random_is_a_star() {
        for (path, expected) in [
            ("/tmp/tmp.AbCdEfGhIj", "/tmp/tmp.*"),
            ("/tmp/tmpab_x9q2f", "/tmp/tmp*"),
            ("/tmp/leak.4711", "/tmp/leak.*"),
            (
                "/tmp/session_data/report.txt",
                "/tmp/session_data/report.txt",
            ),
            ("/dev/shm/worker12", "/dev/shm/worker*"),
            ("/tmp/a[b]", "/tmp/a[[]b[]]"),
        ] {
            assert_eq!(glob(path), expected);
        }
    }
}
