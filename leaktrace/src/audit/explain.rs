//! `explain`: what a rule sees, why it matters, how to fix it, how to allow it.

use std::fmt::Write as _;

use crate::{
    audit::rule::{self, Group, RuleInfo, Status},
    policy::fail_on,
    report::Level,
};

/// Columns of running text.
const WIDTH: usize = 78;

/// The text of one rule, by id or name; `None` if there is none.
pub fn explain(rule: &str) -> Option<String> {
    fail_on::find(rule).map(text)
}

/// The text of every rule.
pub fn explain_all() -> String {
    let texts: Vec<String> = rule::ALL.iter().map(|info| text(info)).collect();
    texts.join("\n")
}

/// The page of rules in the documentation, as Markdown.
pub fn page() -> String {
    let mut out = PAGE_HEAD.to_owned();
    for group in Group::ALL {
        let _ = writeln!(out, "\n## {}", group.name());
        for info in rule::ALL.iter().filter(|info| info.group == group) {
            page_of(&mut out, info);
        }
    }
    out
}

const PAGE_HEAD: &str = "# Rules

Made by `leaktrace explain --all --markdown`. Which scenario makes each rule fire, and which one stays
clean beside it, is in [rule-table.md](rule-table.md).
";

fn page_of(out: &mut String, info: &RuleInfo) {
    let _ = writeln!(out, "\n### {} {}\n\n{}", info.id, info.name, info.title);
    let _ = match info.status() {
        Status::Planned => writeln!(out, "\nNot judged yet: never reported."),
        Status::Judged => writeln!(
            out,
            "\n- **Level**: {}\n- **Why it matters**: {}\n- **Fix**: {}\n- **Allow**: `--allow '{}'`",
            level(info.level),
            info.why,
            info.fix,
            info.allow
        ),
    };
}

/// One line for each rule.
pub fn list() -> String {
    let mut out = String::new();
    for info in rule::ALL {
        let note = match info.status() {
            Status::Judged => level(info.level),
            Status::Planned => "not judged yet",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}  {:<30}{:<9}{note}",
            info.id,
            info.name,
            info.group.name()
        );
    }
    out
}

fn text(info: &RuleInfo) -> String {
    let mut out = format!("{} {}\n\n", info.id, info.name);
    section(&mut out, "what", info.title);
    match info.status() {
        Status::Planned => {
            section(
                &mut out,
                "status",
                "This version does not judge it yet: it is never reported, and --fail-on refuses \
                 it.",
            );
        }
        Status::Judged => {
            section(&mut out, "why", info.why);
            section(&mut out, "fix", info.fix);
            section(&mut out, "allow", &format!("--allow '{}'", info.allow));
            let level = format!(
                "{} by default, group {} (--fail-on {} makes it an error)",
                level(info.level),
                info.group.name(),
                info.id
            );
            section(&mut out, "level", &level);
        }
    }
    out
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Off => "off",
        Level::Note => "note",
        Level::Error => "error",
    }
}

/// A title and running text, wrapped.
fn section(out: &mut String, title: &str, text: &str) {
    let mut line = format!("{title:<8}");
    for word in text.split_whitespace() {
        if line.trim_end().len() + 1 + word.len() > WIDTH {
            out.push_str(line.trim_end());
            out.push_str("\n        ");
            line.clear();
        }
        line.push_str(word);
        line.push(' ');
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_explained_by_id_and_by_name() {
        for info in rule::ALL {
            assert_eq!(explain(info.id), explain(info.name));
            let text = explain(info.id).unwrap_or_default();
            assert!(text.starts_with(info.id), "{text}");
            assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        }
        assert_eq!(explain("LT999"), None);
        assert_eq!(list().lines().count(), rule::ALL.len());
        assert_eq!(explain_all().matches("\nwhat    ").count(), rule::ALL.len());
    }

    #[test]
    fn the_page_in_the_documentation_is_the_one_of_these_rules() {
        assert!(
            include_str!("../../docs/rules.md") == page(),
            "docs/rules.md is not up to date; write it anew: \
             leaktrace explain --all --markdown >leaktrace/docs/rules.md"
        );
    }

    #[test]
    fn a_judged_rule_says_what_why_fix_and_allow() {
        let text = explain("lt103").unwrap_or_default();
        for word in [
            "what    ",
            "why     ",
            "fix     ",
            "allow   --allow 'LT103:",
        ] {
            assert!(text.contains(word), "{text}");
        }
    }
}
