//! What a policy file says, and how a wrong one is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::program::Program;

const WHOLE: &str = r#"
fail-on = ["held"]
require = ["ring"]

[levels]
LT109 = "note"
misuse = "error"

[order]
mode = "class:fds-first"
[[order.rank]]
match = { kind = "tcp", local = "*:80" }
rank = 1
[[order.rank]]
match = "fd"
rank = 2

[thresholds]
slow-teardown = "1500ms"
near-limit = 0.5

[max]
fd = 200
tcp = 10

[temp]
roots = ["scratch"]

[[allow]]
rule = "temp-file-left"
path = "/tmp/my-cache-*"
stack = ["cache_*", "main"]
reason = "our cache"
expires = 2026-12-31

[[expect]]
comm = "my-daemon"
reason = "it serves the next run"

[[program]]
exe = "*/cc1"
[program.levels]
residue = "off"
[program.thresholds]
zombie = "3s"
"#;

#[test]
fn every_part_of_a_policy_is_read() {
    let policy = parse("leaktrace.toml", WHOLE).unwrap();
    assert_eq!(policy.fail_on, ["held"]);
    assert_eq!(policy.require, ["ring"]);
    let settings = &policy.settings;
    assert_eq!(settings.level("LT109", "residue"), Some(Level::Note));
    assert_eq!(settings.level("LT401", "misuse"), Some(Level::Error));
    assert_eq!(settings.order, OrderMode::FdsFirst);
    assert_eq!(settings.ranks.len(), 2);
    assert!(settings.ranks[1].class.is_some());
    assert_eq!(
        settings.thresholds.slow_teardown,
        Duration::from_millis(1500)
    );
    assert_eq!(settings.thresholds.near_limit, 0.5);
    assert_eq!(settings.budgets.of_kind(Kind::Tcp), Some(10));
    assert_eq!(policy.temp_roots, [b"scratch"]);
    let allow = &policy.allow[0];
    assert_eq!(
        allow.form(),
        "LT109:path=/tmp/my-cache-*,stack=cache_*,stack=main"
    );
    assert_eq!(allow.source.as_deref(), Some("leaktrace.toml:29"));
    assert_eq!(allow.expires, Date::new(2026, 12, 31));
    assert!(policy.expect[0].select.comm.is_some());
    let cc1 = policy.settings(&Program {
        exe: Some(b"/usr/lib/cc1"),
        ..Program::default()
    });
    assert_eq!(cc1.level("LT109", "residue"), Some(Level::Off));
    assert_eq!(cc1.thresholds.zombie, Duration::from_secs(3));
}

#[test]
fn an_empty_file_changes_nothing() {
    let policy = parse("p", "# nothing\n").unwrap();
    assert_eq!(policy.settings, Policy::default().settings);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let table: &[(&str, usize, &str)] = &[
        (
            "\nlvels = 1\n",
            2,
            "unknown key `lvels`; did you mean `levels`?",
        ),
        (
            "[thresholds]\nslow-taerdown = \"1s\"\n",
            2,
            "unknown key `slow-taerdown`; did you mean `slow-teardown`?",
        ),
        (
            "[[allow]]\nrule = \"LT109\"\nreason = \"x\"\npth = \"/tmp/x\"\n",
            4,
            "unknown key `pth`; did you mean `path`?",
        ),
        (
            "[[program]]\ncomm = \"x\"\n[program.levls]\n",
            3,
            "unknown key `levls`; did you mean `levels`?",
        ),
        (
            "[levels]\nLT101 = \"note\"\nLT999 = \"note\"\n",
            3,
            "`LT999` is neither a group nor a rule; did you mean",
        ),
        ("[levels]\nheld = \"eror\"\n", 2, "unknown variant `eror`"),
        (
            "[order]\nmode = \"lifo\"\n",
            2,
            "unknown order mode `lifo`, use instance",
        ),
        (
            "[[order.rank]]\nmatch = \"fd\"\n\n[[order.rank]]\nmatch = 3\nrank = 1\n",
            1,
            "missing field `rank`",
        ),
        (
            "[[order.rank]]\nmatch = { knd = \"x\" }\nrank = 1\n",
            1,
            "unknown key `knd` in a match",
        ),
        (
            "[thresholds]\nzombie = \"soon\"\n",
            2,
            "`soon` is not a duration",
        ),
        (
            "[thresholds]\nnear-limit = 80\n",
            2,
            "a share is a number from 0 to 1",
        ),
        (
            "[max]\nfd = 1\nfds = 2\n",
            3,
            "`fds` is neither a class nor a kind of resource; did you mean `fd`?",
        ),
        ("[max]\nfd = -1\n", 2, "invalid value"),
        (
            "fail-on = [\"resdue\"]\n",
            1,
            "`resdue` is neither a group nor a rule; did you mean `residue`?",
        ),
        ("[[allow]]\nrule = \"LT109\"\n", 1, "missing field `reason`"),
        (
            "[[allow]]\nrule = \"LT109\"\nreason = \" \"\n",
            1,
            "the reason is empty",
        ),
        (
            "[[allow]]\nreason = \"x\"\nrule = \"LT19x\"\n",
            3,
            "`LT19x` is not a rule",
        ),
        (
            "[[allow]]\nreason = \"x\"\nrule = \"LT109\"\npath = \"[\"\n",
            4,
            "the glob `[` does not parse",
        ),
        (
            "[[allow]]\nreason = \"x\"\nrule = \"LT109\"\nexpires = \"soon\"\n",
            4,
            "`soon` is not a day",
        ),
        ("[[expect]]\nreason = \"x\"\n", 1, "which program is meant?"),
        ("a = \n", 1, ""),
        ("\n\n[x\n", 3, ""),
    ];
    for (text, line, starts) in table {
        let error = parse("p", text).unwrap_err();
        assert_eq!(error.line, Some(*line), "{text}: {error}");
        assert!(error.text.starts_with(starts), "{text}: {error}");
        assert!(!error.text.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn a_suppression_file_has_nothing_but_suppressions() {
    let allows = parse_suppressions("s", "[[allow]]\nrule = \"LT103\"\nid = 7\nreason = \"r\"\n");
    assert_eq!(allows.unwrap()[0].form(), "LT103:id=7");
    let error = parse_suppressions("s", "[levels]\n").unwrap_err();
    assert!(error.text.starts_with("unknown key `levels`"), "{error}");
}

#[test]
fn the_schema_knows_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    for key in [
        "fail-on",
        "require",
        "allow-loss",
        "levels",
        "order",
        "thresholds",
        "max",
        "temp",
        "allow",
        "expect",
        "program",
    ] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}") {
        let _ = parse("p", &text);
        let _ = parse_suppressions("p", &text);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0usize..WHOLE.len(), with in ".{0,3}", cut in 0usize..6) {
        let mut text = WHOLE.to_owned();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &with);
        if let Err(error) = parse("p", &text) {
            prop_assert!(!error.text.contains('\n'), "{}", error);
        }
    }
}
