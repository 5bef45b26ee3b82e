//! Whole reports, as text and as JSON.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;

use crate::{
    audit::fixture::{Run, at, file, file_id, process, running, sysv},
    census::Question,
    model::facts::{Counts, Kind},
    report::{Because, Coverage, CoverageStatus, FamilyEvents, Report},
    sink::{json, text},
};

/// `sh ./ci/test.sh` with a shell, an `ipcmk` that leaves a segment, and a server that closes
/// in the wrong order.
pub(super) fn screen() -> Run {
    let mut run = Run::new();
    let root = run.root();
    let count = |acquired, released| Counts {
        acquired,
        released,
        held: acquired - released,
        peak: acquired,
    };
    run.of(root).by_kind.insert(Kind::File, count(2, 2));
    let ipcmk = run.process(4127, root, 29, &["ipcmk", "-M", "4096"]);
    run.of(ipcmk).by_kind.insert(Kind::File, count(3, 3));
    run.exits(ipcmk, 33, 0);
    run.creates_sysv(ipcmk, 31, Kind::SysvShm, 32769);
    let srv = run.process(4130, root, 36, &["srv", "--once"]);
    run.of(srv).by_kind.insert(Kind::File, count(7, 6));
    run.exits(srv, 212, 0);
    run.signal(srv, 15, 199);
    run.holds(srv, Kind::Tcp, Some(9), "");
    for (rank, released) in [(0, 200), (2, 210), (1, 215)] {
        run.releases(srv, rank, Kind::File, released);
    }
    let file_events = FamilyEvents {
        received: 300,
        lost: 0,
    };
    run.end.events.by_family.insert("file".into(), file_events);
    run.answer(|_| sysv(Some(4127)));
    run
}

fn all(report: &Report) -> String {
    text::render(report, text::Detail::All)
}

fn errors(report: &Report) -> String {
    text::render(report, text::Detail::Errors)
}

#[test]
fn the_screen_of_a_check() {
    let report = screen().judge();
    insta::assert_snapshot!("check_errors", errors(&report));
    insta::assert_snapshot!("check_all", all(&report));
    insta::assert_snapshot!("check_json", json::render(&report).unwrap());
}

#[test]
fn json_is_read_back_as_the_same_report() {
    let mut report = screen().judge();
    let read: Report = serde_json::from_str(&json::render(&report).unwrap()).unwrap();
    report.off.clear();
    report.errors.clear();
    assert_eq!(read, report);
}

#[test]
fn clean_is_one_line() {
    let mut run = Run::new();
    let report = run.judge();
    assert_eq!(
        errors(&report),
        "leaktrace: clean: 1 process, 412 events, 0 lost, exit 0\n"
    );
    assert_eq!(text::last_line(&report), errors(&report));
    run.start.coverage = vec![Coverage {
        family: "ring".into(),
        status: CoverageStatus::None,
        reason: None,
    }];
    run.end.child.exit_code = Some(3);
    assert_eq!(
        errors(&run.judge()),
        "leaktrace: clean: 1 process, 412 events, 0 lost, not watched: ring, exit 3 (sh's own)\n"
    );
    run.end.child.exit_code = None;
    run.end.child.signal = Some(11);
    assert!(errors(&run.judge()).ends_with("exit 139 (sh was ended by SIGSEGV)\n"));
}

#[test]
fn the_last_line_says_whose_the_code_is() {
    let mut report = screen().judge();
    let last = |report: &Report| text::last_line(report);
    assert_eq!(
        last(&report),
        "leaktrace: not watched: none.  left by known caches: none.  \
         exit 100 (findings; sh itself exited 0)\n"
    );
    report.exit.code = 0;
    report.exit.because = Because::Clean;
    assert!(last(&report).ends_with("exit 0 (findings; sh itself exited 0)\n"));
    report.child.exit_code = Some(2);
    report.exit.code = 2;
    report.exit.because = Because::Child;
    assert!(last(&report).ends_with("exit 2 (sh's own; findings too)\n"));
}

#[test]
fn hostile_names_are_escaped_everywhere() {
    let mut run = Run::new();
    let evil = run.process(5000, run.root(), 10, &["x"]);
    let name = Bytes::from_static(b"a\x1b[31m\n\xff'");
    run.of(evil).comm = name.clone();
    run.of(evil).argv = vec![name.clone(), name];
    run.exits(evil, 30, 0);
    let path = "/tmp/\u{202e}\u{1b}]0;x\u{7}\n";
    run.creates(evil, 20, Kind::File, path, Some(file_id(7)));
    run.answer(|_| file(file_id(7), 0o100_600));
    let text = all(&run.judge());
    let hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(hostile), "{text}");
    assert!(!text.contains("now: "), "no command for a path like that");
    insta::assert_snapshot!("hostile", text);
}

#[test]
fn a_survivor_and_what_it_holds() {
    let mut run = Run::new();
    let child = run.process(4130, run.root(), 10, &["sleep", "30"]);
    run.creates(child, 12, Kind::Unix, "/tmp/s", Some(file_id(7)));
    run.answer(|question| match question {
        Question::Process { .. } => running(),
        _ => file(file_id(7), 0o140_755),
    });
    for answer in &mut run.answers {
        answer.time_ns = at(2_041).0;
    }
    run.end.settle.r#for = vec!["process 4130 (sleep)".into()];
    let report = run.judge();
    assert!(process(&report, child).end_ns.is_none());
    insta::assert_snapshot!("survivor", errors(&report));
}

#[test]
fn many_findings_are_cut_at_forty_lines() {
    let mut run = Run::new();
    for pid in 5000..5060 {
        let name = format!("tool{pid}");
        let child = run.process(pid, run.root(), 10, &[name.as_str()]);
        run.exits(child, 30, 0);
        run.creates(child, 20, Kind::Directory, &format!("/tmp/ws/{pid}"), None);
    }
    run.answer(|_| file(file_id(7), 0o040_700));
    let text = errors(&run.judge());
    insta::assert_snapshot!("many", text);
    assert!(text.lines().count() <= 40, "{text}");
}

#[test]
fn inconclusive_says_why() {
    let mut run = Run::new();
    run.end.events.lost = 12;
    let counts = FamilyEvents {
        received: 300,
        lost: 12,
    };
    run.end.events.by_family.insert("name".into(), counts);
    insta::assert_snapshot!("inconclusive", errors(&run.judge()));
}

#[test]
fn a_terminal_has_colours_and_an_edge() {
    let look = text::Look {
        detail: text::Detail::Errors,
        colour: text::Colour::Ansi,
        width: Some(40),
    };
    let text = text::render(&screen().judge(), look);
    insta::assert_snapshot!("narrow", text.replace('\x1b', "␛"));
    assert!(text.lines().count() <= 40);
}
