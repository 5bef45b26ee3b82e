//! SARIF 2.1.0 (OASIS Standard, docs.oasis-open.org/sarif/sarif/v2.1.0), for code scanning.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    audit::rule::RuleInfo,
    policy::{allow, fail_on},
    report::{Finding, Level, Report},
    sink::{escape_str, finding, json},
};

/// Where the schema is published.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// Name of a fingerprint: its second part changes when fingerprints are made in another way.
const FINGERPRINT: &str = "leaktrace/v1";

/// The log with one run.
///
/// # Errors
/// As serde_json's.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    let rules = Rules::of(report);
    let results: Vec<_> = report
        .findings
        .iter()
        .map(|finding| result(finding, &rules))
        .collect();
    json::pretty(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "leaktrace",
                "semanticVersion": report.tool.version,
                "rules": rules.descriptors,
            }},
            "invocations": [invocation(report)],
            "columnKind": "utf16CodeUnits",
            "results": results,
        }],
    }))
}

/// The rules that the results are of, each once.
struct Rules {
    descriptors: Vec<Value>,
    places: BTreeMap<String, usize>,
}

impl Rules {
    fn of(report: &Report) -> Rules {
        let mut rules = Rules {
            descriptors: Vec::new(),
            places: BTreeMap::new(),
        };
        for finding in &report.findings {
            if !rules.places.contains_key(&finding.rule) {
                let place = rules.descriptors.len();
                rules.places.insert(finding.rule.clone(), place);
                rules.descriptors.push(descriptor(finding));
            }
        }
        rules
    }
}

fn descriptor(finding: &Finding) -> Value {
    let id = escape_str(&finding.rule);
    // A report of another version may name a rule that this one does not know.
    match fail_on::find(&finding.rule) {
        Some(info) => known(info, finding.level),
        None => json!({ "id": id, "name": escape_str(&finding.name) }),
    }
}

fn known(info: &RuleInfo, as_judged: Level) -> Value {
    let help = format!(
        "{}\n\nFix: {}\n\nAllow: --allow '{}'",
        info.why, info.fix, info.allow
    );
    json!({
        "id": info.id,
        "name": info.name,
        "shortDescription": { "text": info.title },
        "fullDescription": { "text": info.why },
        "help": { "text": help },
        "defaultConfiguration": { "level": level(as_judged) },
        "properties": { "tags": [info.group.name()] },
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Note => "note",
        Level::Off => "none",
    }
}

fn result(finding: &Finding, rules: &Rules) -> Value {
    let place = finding::place(finding);
    let mut region = json!({ "startLine": place.line });
    if let Some(column) = place.column {
        region["startColumn"] = column.into();
    }
    let mut result = json!({
        "ruleId": escape_str(&finding.rule),
        "ruleIndex": rules.places.get(&finding.rule),
        "level": level(finding.level),
        "kind": "fail",
        "message": { "text": finding::sentence(finding) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": finding::uri(&place.file), "uriBaseId": "%SRCROOT%" },
            "region": region,
        }}],
        "partialFingerprints": { FINGERPRINT: finding::fingerprint(finding) },
        "occurrenceCount": finding.count.max(1),
        "properties": {
            "process": finding.process,
            "comm": finding.comm,
            "scope": finding.scope,
            "resource": finding.resource,
        },
    });
    if !finding.resource.stack.is_empty() {
        let frames: Vec<_> = finding.resource.stack.iter().map(|it| frame(it)).collect();
        result["stacks"] = json!([{ "message": { "text": "acquired" }, "frames": frames }]);
    }
    // Also where there are none: their absence means that nobody looked (section 3.27.23).
    result["suppressions"] = match &finding.suppressed_by {
        None => json!([]),
        Some(by) => json!([{
            "kind": "external",
            "status": "accepted",
            "justification": escape_str(by),
        }]),
    };
    result
}

/// A frame: its function, and what else is known of it.
fn frame(text: &str) -> Value {
    json!({ "location": {
        "message": { "text": escape_str(text) },
        "logicalLocations": [{
            "fullyQualifiedName": escape_str(allow::function(text)),
            "kind": "function",
        }],
    }})
}

/// How the run went: a log without results must not look clean when evidence was lost.
fn invocation(report: &Report) -> Value {
    let notification = |level: &str, what: &str, text: &String| {
        let text = format!("{what}: {}", escape_str(text));
        json!({ "level": level, "message": { "text": text } })
    };
    let lost = report.inconclusive_because.iter();
    let complaints = report.policy.complaints.iter();
    let notifications: Vec<_> = lost
        .map(|why| notification("warning", "inconclusive", why))
        .chain(complaints.map(|it| notification("error", "suppressions", it)))
        .collect();
    json!({
        "executionSuccessful": report.inconclusive_because.is_empty(),
        "exitCode": report.exit.code,
        "arguments": report.command,
        "toolExecutionNotifications": notifications,
    })
}
