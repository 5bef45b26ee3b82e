//! Parts of a process's life that it marks: what is acquired in them is theirs.

use leaktrace_tests::{Outcome, Place, Run};
use serde_json::Value;

use crate::{check_sh, check_steps};

/// The one finding of a rule in a scope.
#[track_caller]
fn only_of<'a>(outcome: &'a Outcome, rule: &str, scope: &str) -> &'a Value {
    let finding = outcome.only_error(rule);
    assert_eq!(finding["scope"], scope, "{outcome}");
    finding
}

#[test]
fn an_fd_that_outlives_its_scope_is_an_error_though_held_is_off() {
    let leaks = [
        "mark begin/one",
        "open a /etc/hosts",
        "close a",
        "mark end/one",
        "mark begin/a/b.c::two",
        "open b /etc/hosts",
        "mark end/a/b.c::two",
        "open c /etc/hosts",
    ];
    let outcome = check_steps(&leaks).end();
    let finding = only_of(&outcome, "LT201", "a/b.c::two");
    assert_eq!(finding["message"], "fd 3 (/etc/hosts) outlives a/b.c::two");
    let scopes = outcome.report["scopes"].as_array().expect("scopes");
    let names: Vec<_> = scopes.iter().map(|scope| &scope["name"]).collect();
    assert_eq!(names, ["one", "a/b.c::two"], "{outcome}");
    assert_eq!(scopes[1]["file"], "a/b.c", "{outcome}");
    assert!(scopes[0]["file"].is_null(), "{outcome}");
    assert!(scopes[1]["end_ns"].as_u64() > scopes[1]["begin_ns"].as_u64());

    // Given back later on, by whoever: not a leak.
    let late = [&leaks[..], &["close b"]].concat();
    check_steps(&late).end().spotless();
}

#[test]
fn what_an_outer_scope_sees_is_judged_at_its_end() {
    // The close after the outer scope comes too late: it is what a runtime does on its way out.
    let leaks = [
        "mark keep/",
        "mark begin/t",
        "open a /etc/hosts",
        "mark end/t",
        "mark end/",
        "close a",
    ];
    only_of(&check_steps(&leaks).end(), "LT201", "t");
    let twin = [
        "mark keep/",
        "mark begin/t",
        "open a /etc/hosts",
        "mark end/t",
        "close a",
        "mark end/",
    ];
    check_steps(&twin).end().spotless();
}

#[test]
fn what_is_meant_to_be_kept_or_made_by_a_runtime_is_no_leak() {
    let steps = [
        "mark begin/t",
        "mark keep/fixture",
        "open a /etc/hosts",
        "mark end/fixture",
        "mark end/t",
        "mark plain/u",
        "eventfd e",
        "mark end/u",
    ];
    check_steps(&steps).end().spotless();
    let plain = ["mark plain/u", "open a /etc/hosts", "mark end/u"];
    only_of(&check_steps(&plain).end(), "LT201", "u");
    let all = ["mark begin/u", "eventfd e", "mark end/u"];
    only_of(&check_steps(&all).end(), "LT201", "u");
}

#[test]
fn a_thread_that_outlives_its_scope_is_an_error() {
    let leaks = ["mark begin/t", "thread-sleep 5000", "mark end/t"];
    only_of(&check_steps(&leaks).end(), "LT205", "t");
    let twin = ["mark begin/t", "thread-sleep 1", "mark end/t", "sleep 200"];
    check_steps(&twin)
        .args(["--fail-on", "held"])
        .end()
        .twin_clean("LT205");
}

#[test]
fn a_scope_without_an_end_judges_nothing_but_names_what_is_left() {
    let place = Place::new();
    let file = place.temp("left");
    let make = format!("create f {file}");
    let steps = ["mark begin/t", "open a /etc/hosts", &make];
    let outcome = check_steps(&steps).at(&place).end();
    only_of(&outcome, "LT109", "t");
    assert!(outcome.report["scopes"][0]["end_ns"].is_null(), "{outcome}");
}

#[test]
fn children_are_in_the_scope_in_which_they_were_made() {
    let place = Place::new();
    let file = place.temp("left");
    let child = format!("fork c sleep 50, create f {file}");
    let steps = ["mark begin/t", &child, "mark end/t", "wait c"];
    only_of(&check_steps(&steps).at(&place).end(), "LT109", "t");
}

#[test]
fn the_environment_names_the_scope_of_a_program() {
    let place = Place::new();
    let (outer, inner) = (place.temp("outer"), place.temp("inner"));
    let script = format!("(: > {outer}); LEAKTRACE_SCOPE=two sh -c ': > {inner}; true'");
    let outcome = check_sh(&script)
        .at(&place)
        .env("LEAKTRACE_SCOPE", "one")
        .end();
    let scope_of = |path: &str| {
        let findings = outcome.errors();
        let found = findings
            .iter()
            .find(|finding| finding["resource"]["path"] == path);
        found.map(|finding| finding["scope"].clone())
    };
    assert_eq!(scope_of(&outer), Some("one".into()), "{outcome}");
    assert_eq!(scope_of(&inner), Some("two".into()), "{outcome}");
    let scopes = outcome.report["scopes"].as_array().expect("scopes");
    assert_eq!(scopes.len(), 2, "{outcome}");
}

#[test]
fn marks_that_are_none_are_none() {
    let steps = [
        "mark begin",
        "mark start/t",
        "mark end/never-begun",
        "open a /etc/hosts",
    ];
    let outcome = check_steps(&steps).end();
    outcome.spotless();
    assert_eq!(outcome.report["scopes"], Value::Array(Vec::new()));
}

/// What a test file begins with: a fixture that opens a socket for all tests, one that keeps a
/// file for good, one that keeps a thread.
const FIXTURES: &str = r#"
import ctypes, os, socket, subprocess, tempfile, threading, time, pytest
cache, kept = {}, []

@pytest.fixture(scope="session")
def server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server

@pytest.fixture(scope="module")
def log(tmp_path_factory):
    cache["log"] = open(tmp_path_factory.mktemp("log") / "log", "w")
    return cache["log"]

@pytest.fixture(scope="session")
def worker():
    worker = threading.Thread(target=threading.Event().wait, daemon=True)
    worker.start()
    return worker
"#;

/// Tests that clean up after themselves: argument and body.
const CLEAN: [(&str, &str); 8] = [
    ("", "open('/etc/hosts').read()"),
    ("", "subprocess.run(['true'], check=True)"),
    ("tmp_path", "(tmp_path / 'a').write_text('x')"),
    (
        "",
        "t = threading.Thread(target=time.sleep, args=(0.001,)); t.start(); t.join()",
    ),
    ("server", "assert server.fileno() > 0"),
    ("log", "log.write('x')"),
    ("worker", "assert worker.is_alive()"),
    ("", "with tempfile.NamedTemporaryFile() as f: f.write(b'x')"),
];

const LEAKS: [(usize, &str); 3] = [
    (17, "kept.append(open('/etc/hosts'))"),
    (31, "assert ctypes.CDLL(None).shmget(0, 4096, 0o1600) >= 0"),
    (
        44,
        "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    ),
];

fn fifty(leaks: &[(usize, &str)]) -> String {
    let mut file = FIXTURES.to_owned();
    for number in 0..50 {
        let leak = leaks.iter().find(|(leaking, _)| *leaking == number);
        let (argument, body) = match leak {
            Some((_, body)) => ("", *body),
            None => CLEAN[number % CLEAN.len()],
        };
        file.push_str(&format!("\ndef test_{number}({argument}):\n    {body}\n"));
    }
    file
}

fn pytest(leaks: &[(usize, &str)]) -> (Outcome, String) {
    let place = Place::new();
    std::fs::write(place.cwd().join("test_fifty.py"), fifty(leaks)).expect("write the tests");
    let plugin = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../leaktrace/integrations/pytest"
    );
    let command = ["/usr/bin/python3", "-m", "pytest", "-p", "pytest_leaktrace"];
    let cases = place.root().join("cases.xml");
    let outcome = Run::check(command)
        .args(["-f", &format!("junit:{}", cases.display())])
        .env("PYTHONPATH", plugin)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .at(&place)
        .end();
    assert!(outcome.stdout.contains("50 passed"), "{outcome}");
    let cases = std::fs::read_to_string(&cases).expect("a report was written");
    (outcome, cases)
}

/// Of a JUnit report: how many cases, and the names of those that failed.
fn failed_cases(cases: &str) -> (usize, Vec<&str>) {
    let each: Vec<_> = cases.split("<testcase ").skip(1).collect();
    let failed = each.iter().filter(|case| case.contains("<failure "));
    let named = failed.filter_map(|case| case.split(" name=\"").nth(1)?.split('"').next());
    (each.len(), named.collect())
}

#[test]
fn of_fifty_tests_in_one_process_those_that_leak_are_named() {
    let (outcome, cases) = pytest(&[]);
    outcome.clean();
    assert_eq!(failed_cases(&cases), (50, Vec::new()), "{cases}");
    for _ in 0..10 {
        let (outcome, cases) = pytest(&LEAKS);
        let mut named: Vec<_> = outcome
            .errors()
            .iter()
            .map(|finding| (finding["rule"].clone(), finding["scope"].clone()))
            .collect();
        for finding in outcome.of_rule("LT103") {
            let id = finding["resource"]["id"].to_string();
            let removed = std::process::Command::new("ipcrm")
                .args(["-m", &id])
                .status();
            assert!(removed.is_ok_and(|status| status.success()), "{outcome}");
        }
        named.sort_by_key(|(rule, _)| rule.to_string());
        let expected = [
            ("LT103", "test_fifty.py::test_31"),
            ("LT201", "test_fifty.py::test_17"),
            ("LT205", "test_fifty.py::test_44"),
        ];
        let expected = expected.map(|(rule, scope)| (Value::from(rule), Value::from(scope)));
        assert_eq!(named, expected, "{outcome}");
        let scopes = outcome.report["scopes"].as_array().expect("scopes");
        assert_eq!(scopes.len(), 50, "{outcome}");
        let expected = [17, 31, 44].map(|test| format!("test_fifty.py::test_{test}"));
        assert_eq!(
            failed_cases(&cases),
            (50, expected.iter().map(String::as_str).collect()),
            "{cases} {outcome}"
        );
    }
}

/// Tests for node's own runner: an fd and a file that are left, and what node opens for itself.
const NODE_TESTS: &str = r#"
import fs from 'node:fs';
import test from 'node:test';
const kept = [];
test('clean', () => fs.closeSync(fs.openSync('/etc/hosts')));
test('threads of the runtime', () => fs.promises.readFile('/etc/hosts'));
test('fd', () => { kept.push(fs.openSync('/etc/hosts')); });
test('file', () => fs.writeFileSync(process.env.LEFT, ''));
"#;

#[test]
fn tests_of_node_that_leak_are_named() {
    let place = Place::new();
    std::fs::write(place.cwd().join("a.test.mjs"), NODE_TESTS).expect("write the tests");
    let hooks = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../leaktrace/integrations/node/node-test.mjs"
    );
    let outcome = Run::check(["node", "--test", "--import", hooks])
        .env("LEFT", place.temp("left"))
        .at(&place)
        .end();
    let errors = outcome.errors();
    let named: Vec<_> = errors
        .iter()
        .map(|finding| (&finding["rule"], &finding["scope"]))
        .collect();
    let expected = [
        (&"LT109".into(), &"a.test.mjs::file".into()),
        (&"LT201".into(), &"a.test.mjs::fd".into()),
    ];
    assert_eq!(named, expected, "{outcome}");
}
