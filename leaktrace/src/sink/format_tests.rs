//! One report in every format, as it is and as others read it.

#![expect(clippy::unwrap_used, reason = "tests")]

use jsonschema::Validator;
use serde_json::Value;

use super::golden_tests::screen;
use crate::{
    audit::fixture::{Run, file, file_id, sysv},
    census::Question,
    model::facts::Kind,
    policy::allow::Allow,
    report::{Location, Report, Scope, Verdict},
    sink::{github, gitlab, json, jsonl, junit, markdown, sarif, schema, text},
};

/// An error, a note with a place, and something that is allowed.
pub(super) fn mixed() -> Report {
    let mut run = screen();
    let tool = run.process(4140, run.root(), 60, &["mktemp"]);
    run.creates(tool, 62, Kind::File, "/tmp/allowed", Some(file_id(9)));
    run.exits(tool, 64, 0);
    run.policy.fail_on = vec!["order".to_owned()];
    run.policy.allow = vec![Allow::parse("LT109:path=/tmp/allowed").unwrap()];
    run.answer(|question| match question {
        Question::Sysv { .. } => sysv(Some(4127)),
        _ => file(file_id(9), 0o100_600),
    });
    let mut report = run.judge();
    report.findings[0].location = Some(Location {
        file: "ci/test me.sh".to_owned(),
        line: 3,
        column: None,
    });
    report
}

fn inconclusive() -> Report {
    let mut report = mixed();
    report.inconclusive_because = vec!["12 records of family name were lost".to_owned()];
    report
}

fn clean() -> Report {
    Run::new().judge()
}

/// Without a finding, and yet failed: a suppression is of no use.
fn complained() -> Report {
    let mut report = clean();
    report.verdict = Verdict::Findings;
    report.policy.complaints = vec!["the suppression LT109 fitted nothing; remove it".to_owned()];
    report
}

#[test]
fn a_run_that_failed_by_a_suppression_looks_failed_everywhere() {
    let report = complained();
    let says = |text: &str| text.contains("fitted nothing");
    let junit = junit::render(&report);
    assert!(says(&junit) && junit.contains("<failure "), "{junit}");
    assert!(github::render(&report).starts_with("::error title=leaktrace%3A suppressions::the"));
    assert!(says(&sarif::render(&report).unwrap()));
    assert!(says(&markdown::render(&report)));
    assert!(says(&text::render(&report, text::Detail::Errors)));
}

/// Every report that the tests of a format go over.
fn reports() -> [Report; 4] {
    [clean(), mixed(), inconclusive(), complained()]
}

fn accepts(validator: &Validator, value: &Value) {
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
}

#[test]
fn every_format_of_one_report() {
    let report = mixed();
    assert!(report.findings.iter().any(|it| it.suppressed_by.is_some()));
    insta::assert_snapshot!("format_junit", junit::render(&report));
    insta::assert_snapshot!("format_sarif", sarif::render(&report).unwrap());
    insta::assert_snapshot!("format_github", github::render(&report));
    insta::assert_snapshot!("format_gitlab", gitlab::render(&report).unwrap());
    insta::assert_snapshot!("format_markdown", markdown::render(&report));
    insta::assert_snapshot!("format_jsonl", jsonl::render(&report).unwrap());
}

#[test]
fn the_schemas_are_these() {
    insta::assert_snapshot!("schema_json", json::pretty(&schema::report()).unwrap());
    insta::assert_snapshot!("schema_jsonl", json::pretty(&schema::line()).unwrap());
}

/// No key of a report is unknown to its schema: with every object closed it is still valid.
#[test]
fn json_is_as_its_schema_says() {
    let mut schema = schema::report();
    close(&mut schema);
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for report in reports() {
        let value: Value = serde_json::from_str(&json::render(&report).unwrap()).unwrap();
        accepts(&validator, &value);
        let mut without = value.clone();
        without.as_object_mut().unwrap().remove("verdict");
        assert!(!validator.is_valid(&without), "a report has a verdict");
    }
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") {
                object.insert("additionalProperties".to_owned(), false.into());
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn lines_of_json_are_as_their_schema_says_and_are_the_report() {
    let validator = jsonschema::draft202012::new(&schema::line()).unwrap();
    for report in reports() {
        let text = jsonl::render(&report).unwrap();
        let mut whole = serde_json::to_value(report.head()).unwrap();
        for (number, line) in text.lines().enumerate() {
            let mut value: Value = serde_json::from_str(line).unwrap();
            accepts(&validator, &value);
            let kind = value.as_object_mut().unwrap().remove("line").unwrap();
            match kind.as_str().unwrap() {
                "run" => assert_eq!(number, 0),
                "process" => whole["processes"].as_array_mut().unwrap().push(value),
                "scope" => whole["scopes"].as_array_mut().unwrap().push(value),
                "finding" => whole["findings"].as_array_mut().unwrap().push(value),
                other => panic!("{other}"),
            }
        }
        assert_eq!(whole, serde_json::to_value(&report).unwrap());
        assert!(!validator.is_valid(&serde_json::json!({ "line": "process" })));
    }
}

#[test]
fn sarif_is_as_the_published_schema_says() {
    let published = include_str!("../../../tests/schema/sarif-2.1.0.json");
    let mut schema: Value = serde_json::from_str(published).unwrap();
    // `^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$` has a bracket too many, which strict readers of
    // regular expressions refuse. No run here names its language.
    for of in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][of]["properties"]["language"];
        language.as_object_mut().unwrap().remove("pattern");
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    for report in reports() {
        let value: Value = serde_json::from_str(&sarif::render(&report).unwrap()).unwrap();
        accepts(&validator, &value);
        let results = value["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.len(), report.findings.len());
        for result in results {
            let rule = result["ruleIndex"].as_u64().unwrap() as usize;
            let rules = &value["runs"][0]["tool"]["driver"]["rules"];
            assert_eq!(rules[rule]["id"], result["ruleId"]);
        }
    }
    let mut wrong: Value = serde_json::from_str(&sarif::render(&mixed()).unwrap()).unwrap();
    wrong["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validator.is_valid(&wrong));
}

/// What GitLab documents: these keys, these severities, no fingerprint twice, a path in the
/// repository.
#[test]
fn code_quality_is_as_gitlab_documents_it() {
    for report in reports() {
        let value: Value = serde_json::from_str(&gitlab::render(&report).unwrap()).unwrap();
        let issues = value.as_array().unwrap();
        let expected = report
            .findings
            .iter()
            .filter(|it| it.suppressed_by.is_none());
        assert_eq!(issues.len(), expected.count());
        let mut fingerprints = std::collections::BTreeSet::new();
        for issue in issues {
            assert!(
                issue["description"]
                    .as_str()
                    .is_some_and(|it| !it.is_empty())
            );
            assert!(issue["check_name"].is_string());
            assert!(fingerprints.insert(issue["fingerprint"].as_str().unwrap()));
            let severity = issue["severity"].as_str().unwrap();
            assert!(["info", "minor", "major", "critical", "blocker"].contains(&severity));
            let path = issue["location"]["path"].as_str().unwrap();
            assert!(!path.is_empty() && !path.starts_with(['/', '.']), "{path}");
            assert!(issue["location"]["lines"]["begin"].as_u64().unwrap() > 0);
        }
    }
}

#[test]
fn at_most_ten_annotations_are_written() {
    let mut report = inconclusive();
    let finding = report.findings[0].clone();
    report.findings.extend(std::iter::repeat_n(finding, 30));
    let text = github::render(&report);
    assert_eq!(
        text.lines().filter(|line| line.starts_with("::")).count(),
        10
    );
    assert!(text.lines().any(|line| line.starts_with("::warning ")));
    assert!(
        text.contains("further findings are in the job summary"),
        "{text}"
    );
    let summary = markdown::render(&report);
    let shown = report
        .findings
        .iter()
        .filter(|it| it.suppressed_by.is_none());
    let rows = summary
        .lines()
        .filter(|line| line.starts_with("| error"))
        .count()
        + summary
            .lines()
            .filter(|line| line.starts_with("| note"))
            .count();
    assert_eq!(rows, shown.count());
}

#[test]
fn scopes_are_the_cases_where_there_are_some() {
    let mut report = mixed();
    let scope = |name: &str| Scope {
        name: name.to_owned(),
        begin_ns: 1_000_000_000,
        end_ns: Some(1_250_000_000),
        ..Scope::default()
    };
    report.scopes = vec![scope("t.py::a"), scope("t.py::b"), scope("t.py::a")];
    report.findings[0].scope = Some("t.py::b".to_owned());
    let text = junit::render(&report);
    let document = roxmltree::Document::parse(&text).unwrap();
    let cases: Vec<_> = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .map(|node| {
            let failed = node.children().any(|child| child.has_tag_name("failure"));
            (
                node.attribute("name").unwrap(),
                node.attribute("time"),
                failed,
            )
        })
        .collect();
    assert_eq!(
        cases,
        [
            ("t.py::a", Some("0.500"), false),
            ("t.py::b", Some("0.250"), true),
            ("(outside every scope)", None, true),
        ]
    );
}

#[test]
fn junit_never_grows_past_a_mebibyte_and_loses_no_failure() {
    let mut run = Run::new();
    for pid in 5000..12_000 {
        let name = format!("/opt/tools/{}/tool{pid}", "x".repeat(200));
        let child = run.process(pid, run.root(), 10, &[name.as_str()]);
        run.of(child).exe = Some(name.into());
        run.exits(child, 30, 0);
        if pid % 2 == 0 {
            run.creates(child, 20, Kind::Directory, &format!("/tmp/ws/{pid}"), None);
        }
    }
    run.answer(|_| file(file_id(7), 0o040_700));
    let text = junit::render(&run.judge());
    assert!(text.len() <= 1 << 20, "{} bytes", text.len());
    assert!(
        text.len() > 1 << 18,
        "{} bytes: room was wasted",
        text.len()
    );
    let document = roxmltree::Document::parse(&text).unwrap();
    let cases = |name: &str| {
        document
            .descendants()
            .filter(|node| node.has_tag_name(name))
            .count()
    };
    let suite = document.root_element();
    assert_eq!(
        suite.attribute("tests"),
        Some(cases("testcase").to_string().as_str())
    );
    assert_eq!(
        suite.attribute("failures"),
        Some(cases("failure").to_string().as_str())
    );
    assert!(text.contains(" more: "), "says what is missing");
}
