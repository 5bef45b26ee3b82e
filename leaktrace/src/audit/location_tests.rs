#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;

use super::*;
use crate::{
    audit::fixture::{Run, sysv},
    model::facts::Kind,
};

/// Judges a run of `argv` under `sh ./ci/test.sh`, both in /ws/sub of the repository /ws, in
/// which these files are.
fn place_of(argv: &[&str], files: &[&str], scope: Option<&str>) -> String {
    let mut run = Run::new();
    run.start.repository = b"/ws".to_vec();
    let child = run.process(5000, run.root(), 10, argv);
    for key in [run.root(), child] {
        run.of(key).cwd = Some(Bytes::from_static(b"/ws/sub"));
    }
    run.exits(child, 30, 0);
    run.creates_sysv(child, 20, Kind::SysvShm, 7);
    run.answer(|_| sysv(Some(5000)));
    let questions = sources(
        &run.facts,
        &run.answers,
        &run.start,
        &run.policy,
        Scope::Judged,
    );
    for question in questions {
        let Question::Source { path } = &question else {
            panic!("{question:?}");
        };
        let is_there = files.iter().any(|file| file.as_bytes() == path);
        run.answers.push(Answer {
            found: match is_there {
                true => Found::Source,
                false => Found::Gone,
            },
            question,
            time_ns: 1,
        });
    }
    let case = Case::new(&run.facts, &run.answers, &run.start, &run.end, &run.policy);
    let mut found = finding::collect(&case).shown;
    found[0].scope = scope.map(str::to_owned);
    put(&case, &run.answers, &mut found);
    let place = found[0].location.clone().unwrap();
    format!("{}:{}", place.file, place.line)
}

#[test]
fn the_nearest_command_line_that_names_a_source_is_the_place() {
    let files = ["/ws/sub/ci/test.sh", "/ws/lib/a.py", "/ws/sub/b.py"];
    let place = |argv: &[&str]| place_of(argv, &files, None);
    assert_eq!(place(&["python3", "-u", "b.py"]), "sub/b.py:1");
    assert_eq!(place(&["python3", "../lib/./a.py", "b.py"]), "lib/a.py:1");
    assert_eq!(place(&["python3", "/ws/lib/a.py"]), "lib/a.py:1");
    assert_eq!(place(&["ipcmk", "-M", "4096"]), "sub/ci/test.sh:1");
    assert_eq!(place(&["python3", "missing.py"]), "sub/ci/test.sh:1");
    assert_eq!(place(&["pytest", "b.py::test_x"]), "sub/b.py:1");
}

#[test]
fn what_is_not_of_the_repository_is_no_place() {
    let files = ["/etc/profile", "/ws", "/ws/sub/.venv/bin/pytest", "/ws2/a"];
    let argv = [
        "sh",
        "/etc/profile",
        "..",
        ".venv/bin/pytest",
        "/ws2/a",
        "/ws/../etc/profile",
    ];
    assert_eq!(place_of(&argv, &files, None), "leaktrace.toml:1");
}

#[test]
fn the_test_s_file_comes_after_command_lines_unless_they_name_it() {
    let scope = Some("t/test_b.py::test_x");
    let files = ["/ws/sub/t/test_a.py", "/ws/sub/t/test_b.py"];
    let both = ["pytest", "t/test_a.py", "t/test_b.py"];
    assert_eq!(place_of(&both, &files, scope), "sub/t/test_b.py:1");
    assert_eq!(place_of(&both[..2], &files, scope), "sub/t/test_a.py:1");
    assert_eq!(place_of(&["pytest"], &files, scope), "sub/t/test_b.py:1");
    assert_eq!(
        place_of(&["pytest"], &[], Some("no file")),
        "leaktrace.toml:1"
    );
}

#[test]
fn a_frame_in_the_repository_has_a_line() {
    let place = |frame: &str| in_frame(frame, b"/ws").map(|it| (it.file, it.line, it.column));
    let at = |file: &str, line, column| Some((file.to_owned(), line, column));
    assert_eq!(place("main (/ws/src/a b.c:12)"), at("src/a b.c", 12, None));
    assert_eq!(
        place("x::y at /ws/src/m.rs:3:9"),
        at("src/m.rs", 3, Some(9))
    );
    assert_eq!(place("/ws/./src/../m.rs:3"), at("m.rs", 3, None));
    for other in [
        "main+0x1f",
        "f (/usr/src/a.c:3)",
        "f (/ws/../etc/a:3)",
        "f (src/a.c:3)",
        "f (/ws/a.c)",
        "f (/ws/a.c:0)",
        "f (/ws/node_modules/a.js:1)",
    ] {
        assert_eq!(place(other), None, "{other}");
    }
}

#[test]
fn a_capture_knows_the_command_lines_of_all() {
    let mut run = Run::new();
    run.process(5000, run.root(), 10, &["cc", "a.c"]);
    let of = |scope| sources(&run.facts, &run.answers, &run.start, &run.policy, scope);
    assert_eq!(of(Scope::Judged), []);
    let all = of(Scope::Everything);
    let has = |path: &str| all.contains(&Question::Source { path: path.into() });
    assert!(has("/ws/a.c") && has("/ws/ci/test.sh"), "{all:?}");
}
