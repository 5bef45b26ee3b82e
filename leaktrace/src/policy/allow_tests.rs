//! What a suppression covers, and how a wrong one is refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn stack() -> Vec<String> {
    ["malloc", "cache_open", "run_test", "main"]
        .map(str::to_owned)
        .to_vec()
}

fn allowed_on(text: &str, today: &str) -> bool {
    let frames = stack();
    let subject = Subject {
        rule: "LT109",
        comm: "cc1",
        exe: Some("/usr/lib/gcc/cc1"),
        path: Some("/tmp/a/b.s"),
        kind: "file",
        id: None,
        scope: Some("test_a"),
        stack: &frames,
    };
    let allows = [Allow::parse(text).unwrap()];
    find(&allows, &subject, Date::parse(today).unwrap()).is_some()
}

fn allowed(text: &str) -> bool {
    allowed_on(text, "2026-11-21")
}

#[test]
fn a_rule_alone_allows_everything_of_it() {
    assert!(allowed("LT109"));
    assert!(allowed("temp-file-left"));
    assert!(!allowed("LT110"));
}

#[test]
fn a_fact_narrows_it() {
    assert!(allowed("LT109:comm=cc*"));
    assert!(!allowed("LT109:comm=ld"));
    assert!(allowed("LT109:path=/tmp/*.s"));
    assert!(allowed("LT109:exe=*/cc1"));
    assert!(allowed("LT109:kind=file"));
    assert!(allowed("LT109:scope=test_*"));
    assert!(!allowed("LT109:id=*"), "it has no id");
}

#[test]
fn all_facts_must_match() {
    assert!(allowed("LT109:path=/tmp/*,comm=cc1"));
    assert!(!allowed("LT109:path=/tmp/*,comm=ld"));
    assert!(
        !allowed("LT109:path=/tmp/x,y"),
        "a comma may be part of a glob"
    );
    assert!(allowed("LT109:path=/tmp/{a,b}/*,reason=because, really"));
}

#[test]
fn frames_come_in_order_with_others_between() {
    assert!(allowed("LT109:stack=cache_*"));
    assert!(allowed("LT109:stack=cache_*,stack=main"));
    assert!(!allowed("LT109:stack=main,stack=cache_*"));
    assert!(!allowed("LT109:stack=other"));
}

#[test]
fn a_frame_is_meant_by_its_function_or_by_all_of_it() {
    let frames = ["open64 in /lib/libc.so.6", "cache_open at /repo/cache.c:12"].map(str::to_owned);
    let fits = |text: &str| {
        let subject = Subject {
            rule: "LT109",
            stack: &frames,
            ..Subject::default()
        };
        Allow::parse(text).unwrap().fits(&subject)
    };
    assert!(fits("LT109:stack=cache_open"));
    assert!(fits("LT109:stack=*/cache.c:*"));
    assert!(fits("LT109:stack=open64,stack=cache_*"));
    assert!(!fits("LT109:stack=cache"));
}

#[test]
fn it_counts_up_to_its_last_day() {
    assert!(allowed_on("LT109:expires=2026-11-21", "2026-11-21"));
    assert!(!allowed_on("LT109:expires=2026-11-21", "2026-11-22"));
}

#[test]
fn its_form_reads_as_itself() {
    for text in ["LT109", "LT109:path=/tmp/x,y,comm=cc*,stack=f"] {
        let allow = Allow::parse(text).unwrap();
        assert_eq!(allow.form(), text);
        assert_eq!(Allow::parse(&allow.form()).unwrap(), allow);
    }
}

#[test]
fn mistakes_are_told_in_one_sentence() {
    let error = |text| Allow::parse(text).unwrap_err().to_string();
    assert_eq!(
        error("LT109:com=x"),
        "`com` is not a fact of a finding (use comm, exe, path, kind, id, scope or stack)"
    );
    assert_eq!(
        error("LT109:x"),
        "`LT109:x` is not of the form RULE[:key=glob]"
    );
    assert_eq!(
        error("LT119x"),
        "`LT119x` is not a rule; did you mean `LT119`?"
    );
    assert!(error("LT109:path=[").starts_with("the glob `[` does not parse: "));
    assert_eq!(
        error("LT109:expires=soon"),
        "`soon` is not a day, write it as 2026-12-31"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(LT109|temp-file-left)?(:(comm|path|stack|expires|x)?=?.{0,9}(,comm=.{0,5})?)?") {
        if let Ok(allow) = Allow::parse(&text) {
            prop_assert_eq!(Allow::parse(&allow.form()).map(|it| it.facts), Ok(allow.facts));
        }
    }
}
