//! Names from processes and files stay data in every format: each is read back by a parser that
//! is not ours, and says the same as before.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::Value;

use super::{
    escape_str, format_tests::mixed, github, gitlab, json, jsonl, junit, markdown, sarif, text,
};
use crate::report::{Location, Report};

/// What means something to one of the formats.
const PARTS: [&str; 32] = [
    "\n",
    "\r\n",
    "\t",
    "\u{1b}[31m",
    "\u{1b}]0;x\u{7}",
    "\u{9b}31m",
    "\u{202e}",
    "\u{2066}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{0}",
    "]]>",
    "<![CDATA[",
    "<!--",
    "</failure>",
    "&lt;",
    "\"",
    "'",
    "::error::x",
    "\n::set-output name=a::b",
    "##[error]",
    "%0A",
    "`",
    "```\n",
    "|",
    "\\",
    "](x)",
    "<script>",
    "a",
    "é中",
    "🙂",
    " ",
];

fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => select(&PARTS[..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(part, 1..8).prop_map(|parts| parts.concat())
}

/// A report in which everything that can be named from outside has such a name.
fn report(name: &str, other: &str) -> Report {
    let mut report = mixed();
    report.command = vec![name.to_owned(), other.to_owned()];
    report.inconclusive_because = vec![name.to_owned()];
    for process in &mut report.processes {
        process.comm = name.to_owned();
        process.exe = Some(other.to_owned());
        process.argv = std::sync::Arc::new(vec![other.to_owned(), name.to_owned()]);
    }
    for finding in &mut report.findings {
        finding.message = name.to_owned();
        finding.comm = other.to_owned();
        finding.site = Some(name.to_owned());
        finding.resource.path = Some(name.to_owned());
        finding.location = Some(Location {
            file: other.to_owned(),
            line: 7,
            column: Some(2),
        });
        if finding.suppressed_by.is_some() {
            finding.suppressed_by = Some(name.to_owned());
        }
        for instance in &mut finding.instances {
            instance.comm = name.to_owned();
            instance.resource.path = Some(other.to_owned());
        }
    }
    report
}

/// Nothing in it acts on a terminal, hides, or begins a line of its own.
fn is_harmless(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.replace(char::REPLACEMENT_CHARACTER, "");
        super::escape::is_plain(&line)
    })
}

fn shown(report: &Report) -> usize {
    report
        .findings
        .iter()
        .filter(|it| it.suppressed_by.is_none())
        .count()
}

/// Name, properties and message of a command.
type Command = (String, Vec<(String, String)>, String);

/// The runner's reading of a command (actions/runner, ActionCommand.cs).
fn command(line: &str) -> Option<Command> {
    let (head, message) = line.trim_start().strip_prefix("::")?.split_once("::")?;
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    let unescape = |text: &str| {
        text.replace("%0D", "\r")
            .replace("%0A", "\n")
            .replace("%3A", ":")
            .replace("%2C", ",")
            .replace("%25", "%")
    };
    let properties = properties
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), unescape(value)))
        .collect();
    let message = message
        .replace("%0D", "\r")
        .replace("%0A", "\n")
        .replace("%25", "%");
    Some((name.to_owned(), properties, message))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn json_and_its_lines(name in hostile(), other in hostile()) {
        let mut report = report(&name, &other);
        report.off.clear();
        report.errors.clear();
        let text = json::render(&report).unwrap_or_default();
        prop_assert!(is_harmless(&text));
        let mut pieces = Vec::new();
        json::write(&report, &mut pieces).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(String::from_utf8_lossy(&pieces), text.as_str());
        let read: Report = serde_json::from_str(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&read, &report);
        let lines = jsonl::render(&report).unwrap_or_default();
        prop_assert!(is_harmless(&lines));
        let mut pieces = Vec::new();
        jsonl::write(&report, &mut pieces).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(String::from_utf8_lossy(&pieces), lines.as_str());
        prop_assert_eq!(lines.lines().count(), 1 + report.processes.len() + report.findings.len());
    }

    #[test]
    fn xml(name in hostile(), other in hostile()) {
        let report = report(&name, &other);
        let text = junit::render(&report);
        prop_assert!(is_harmless(&text));
        let document = roxmltree::Document::parse(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let of = |tag: &'static str| document.descendants().filter(move |node| node.has_tag_name(tag));
        // Evidence, and the program.
        prop_assert_eq!(of("testcase").count(), 2);
        let program = of("testcase").nth(1).and_then(|node| node.attribute("name"));
        prop_assert_eq!(program.map(str::to_owned), Some(escape_str(&other)));
        let why = of("error").next().and_then(|node| node.text());
        prop_assert_eq!(why.map(str::to_owned), Some(escape_str(&name)));
        let failure = of("failure").next().and_then(|node| node.text()).unwrap_or_default();
        prop_assert!(failure.contains(&escape_str(&name)), "{}", failure);
    }

    #[test]
    fn json_of_others(name in hostile(), other in hostile()) {
        let report = report(&name, &other);
        let text = sarif::render(&report).unwrap_or_default();
        prop_assert!(is_harmless(&text));
        let log: Value = serde_json::from_str(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let first = &log["runs"][0]["results"][0];
        prop_assert!(first["message"]["text"].as_str().is_some_and(|it| it.starts_with(&escape_str(&name))));
        let uri = first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap_or_default();
        prop_assert!(uri.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.-_~%".contains(&b)), "{}", uri);
        let decoded = percent_encoding::percent_decode_str(uri).decode_utf8_lossy().into_owned();
        prop_assert_eq!(&decoded, &other);
        let text = gitlab::render(&report).unwrap_or_default();
        prop_assert!(is_harmless(&text));
        let issues: Value = serde_json::from_str(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(issues.as_array().map(Vec::len), Some(shown(&report)));
        let path = issues[0]["location"]["path"].as_str();
        prop_assert_eq!(path.map(str::to_owned), Some(escape_str(&other)));
    }

    #[test]
    fn commands(name in hostile(), other in hostile()) {
        let report = report(&name, &other);
        let text = github::render(&report);
        prop_assert!(is_harmless(&text));
        let commands: Vec<_> = text.lines().filter_map(command).collect();
        prop_assert_eq!(commands.len(), 1 + shown(&report));
        for (command, properties, message) in &commands {
            prop_assert!(["error", "notice", "warning"].contains(&command.as_str()), "{}", command);
            prop_assert!(message.contains(&escape_str(&name)), "{}", message);
            let names: Vec<_> = properties.iter().map(|(name, _)| name.as_str()).collect();
            prop_assert!(names == ["file", "line", "title"] || names == ["title"], "{:?}", names);
        }
        let file = &commands[1].1[0].1;
        prop_assert_eq!(file, &escape_str(&other));
        let rest = text.lines().filter(|line| !line.starts_with("::"));
        for line in rest {
            prop_assert!(line.starts_with("leaktrace:") && !line.contains("##["), "{}", line);
        }
    }

    #[test]
    fn markdown_s_code(name in hostile(), other in hostile()) {
        use pulldown_cmark::{Event, Options, Parser, Tag};
        let report = report(&name, &other);
        let text = markdown::render(&report);
        prop_assert!(is_harmless(&text));
        let mut codes = Vec::new();
        let (mut rows, mut blocks, mut texts) = (0, 0, String::new());
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Code(code) => codes.push(code.trim().to_owned()),
                Event::Start(Tag::TableRow) => rows += 1,
                Event::Start(Tag::CodeBlock(_)) => blocks += 1,
                Event::Start(Tag::Link { .. } | Tag::Image { .. }) => {
                    return Err(TestCaseError::fail(format!("a link\n{text}")));
                }
                Event::InlineHtml(html) => return Err(TestCaseError::fail(format!("html {html}\n{text}"))),
                Event::Html(html) => {
                    let ours = ["<details><summary>Details</summary>\n", "</details>\n"].contains(&&*html);
                    prop_assert!(ours, "{}", html);
                }
                Event::Text(it) if blocks == 0 => texts.push_str(&it),
                _ => {}
            }
        }
        prop_assert_eq!((rows, blocks), (shown(&report), 1), "{}", text);
        let cut = |text: &str| escape_str(text).trim().to_owned();
        prop_assert!(codes.contains(&cut(&name)), "{:?}\n{}", codes, text);
        prop_assert!(codes.contains(&format!("{}:7", escape_str(&other)).trim().to_owned()), "{:?}\n{}", codes, text);
    }

    #[test]
    fn text_in_every_look(name in hostile(), other in hostile(), width in 1usize..200) {
        let report = report(&name, &other);
        for width in [None, Some(width)] {
            let look = text::Look { detail: text::Detail::All, colour: text::Colour::Never, width };
            let text = text::render(&report, look);
            prop_assert!(is_harmless(&text));
        }
    }
}
