//! JSON Schemas (draft 2020-12) of the JSON that leaktrace writes, made from the types that
//! write it.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::{
    report::Report,
    sink::jsonl::{KINDS, LINE},
};

/// The schema of `leaktrace.report/1`.
pub fn report() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<Report>();
    let mut schema = schema.to_value();
    schema["title"] = "leaktrace.report/1".into();
    schema["properties"]["schema"]["const"] = "leaktrace.report/1".into();
    schema
}

/// The schema of one line of `-f jsonl`.
pub fn line() -> Value {
    let report = report();
    let mut head = report.clone();
    let mut definitions = head["$defs"].take();
    let mut lines = Vec::new();
    for (kind, key) in KINDS {
        let item = report["properties"][key]["items"].clone();
        lines.push(json!({ "allOf": [marked(kind), item] }));
    }
    if let Some(head) = head.as_object_mut() {
        for key in ["$schema", "$defs", "title"] {
            head.remove(key);
        }
    }
    for (_, key) in KINDS {
        if let Some(properties) = head["properties"].as_object_mut() {
            properties.remove(key);
        }
        if let Some(required) = head["required"].as_array_mut() {
            required.retain(|name| name != key);
        }
    }
    definitions["Run"] = head;
    lines.push(json!({ "allOf": [marked("run"), { "$ref": "#/$defs/Run" }] }));
    json!({
        "$schema": report["$schema"],
        "title": "leaktrace.report/1 line",
        "description": "One line of -f jsonl: the run, then each process, scope and finding.",
        "oneOf": lines,
        "$defs": definitions,
    })
}

fn marked(kind: &str) -> Value {
    json!({
        "type": "object",
        "required": [LINE],
        "properties": { LINE: { "const": kind } },
    })
}
