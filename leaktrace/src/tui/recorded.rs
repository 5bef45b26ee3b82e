//! What a recorded run looks like in each view: records through capture, model, audit and the
//! screen, everything but the kernel.

use std::sync::Arc;

use leaktrace_common::record::ipc::what;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    fixture,
    input::Intent,
    state::{State, View},
    update::update,
    view,
};
use crate::{
    census::{Answer, Found, Question},
    model::testing::{Actor, Script, file},
    report::{Coverage, CoverageStatus, Events},
    session::Gallery,
    source::{
        End, Item, Start,
        capture::{CaptureReader, CaptureWriter},
    },
};

const TENTH: u64 = 100_000_000;

/// A shell, a server that opens ten files a second, and two children of the shell that ended:
/// one left shared memory, the other closed what it opened.
fn records(script: &mut Script) -> Vec<Item> {
    let shell = Actor::new(100);
    let server = Actor::child_of(&shell, 200);
    let stdio = [(0, file(0x10)), (1, file(0x20)), (2, file(0x20))];
    script.seed(&shell);
    script.fork(&shell, &server, 0);
    script.exec(&server, &stdio);
    let mut items = vec![Item::Records(script.take())];
    for n in 0..120 {
        script.now += TENTH;
        script.open(
            &server,
            3 + n,
            0x1000 + 64 * n as u64,
            &format!("/srv/upload/{n}"),
        );
        items.push(Item::Records(script.take()));
    }
    let leaker = Actor::child_of(&shell, 301);
    script.fork(&shell, &leaker, 0);
    script.exec(&leaker, &stdio);
    script.ipc_get(&leaker, what::SHM, 32_770, 1);
    script.exit(&leaker, 0, &stdio);
    script.reap(&shell, 301);
    let tidy = Actor::child_of(&shell, 302);
    script.fork(&shell, &tidy, 0);
    script.exec(&tidy, &stdio);
    script.open(&tidy, 3, 0x9000, "/etc/hosts");
    script.close(&tidy, 3, 0x9000);
    script.exit(&tidy, 0, &stdio);
    script.reap(&shell, 302);
    script.now += TENTH;
    items.push(Item::Records(script.take()));
    items
}

fn start() -> Start {
    Start {
        ipc_ns: 1,
        mnt_ns: 1,
        coverage: vec![Coverage {
            family: "file".into(),
            status: CoverageStatus::Full,
            reason: None,
        }],
        probes: (9, 9),
        ..Start::default()
    }
}

fn capture() -> Vec<u8> {
    let mut script = Script::new();
    let mut items = vec![Item::Start(Box::new(start()))];
    items.extend(records(&mut script));
    let found = Found::Sysv {
        creator_pid: Some(301),
        size: 4096,
        users: 0,
        ctime: 0,
        dying: false,
    };
    items.push(Item::Answer(Box::new(Answer {
        question: Question::Sysv {
            what: what::SHM,
            id: 32_770,
            ipc_ns: 1,
            through: Vec::new(),
        },
        time_ns: script.now,
        found,
    })));
    items.push(Item::Tick(script.now));
    items.push(Item::End(Box::new(End {
        judged_ns: script.now,
        events: Events {
            not_run: Some(0),
            ..Events::default()
        },
        ..End::default()
    })));
    let mut writer = CaptureWriter::new(Vec::new()).expect("a vector takes all");
    for item in &items {
        writer.write(item).expect("a vector takes all");
    }
    writer.finish().expect("a vector takes all")
}

fn played() -> State {
    let bytes = capture();
    let mut reader = CaptureReader::new(&bytes[..]).expect("a capture");
    let mut gallery = Gallery::new();
    while let Some(item) = reader.next().expect("whole items") {
        gallery.feed(item);
    }
    gallery.judge_all();
    let mut state = State::new(fixture::site(), (100, 30));
    for _ in 0..2 {
        let picture = gallery.picture(state.selected());
        state = update(state, Intent::Arrived(Arc::new(picture))).0;
    }
    state
}

fn screen(state: &State) -> String {
    let (width, height) = state.size;
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    view::draw(state, &mut buffer);
    view::text(&buffer)
}

#[test]
fn every_view_of_a_recorded_run() {
    let mut state = played();
    for view in View::ALL {
        state = update(state, Intent::Show(view)).0;
        let name = format!("recorded_{}", view.name().to_lowercase());
        insta::assert_snapshot!(name, screen(&state));
    }
}

#[test]
fn rate_limit_time_to_it_and_verdict_are_those_of_the_records() {
    let state = played();
    let text = screen(&state);
    let server = text
        .lines()
        .find(|line| line.contains(" 200 "))
        .expect(&text);
    // 123 fds of 1024 at ten a second.
    for part in ["123", "+10.0", "1024", "90.1 s"] {
        assert!(server.contains(part), "{part} in {server}");
    }
    let leaker = text
        .lines()
        .find(|line| line.contains(" 301 "))
        .expect(&text);
    assert!(
        leaker.contains("FINDINGS") && leaker.contains("LT103"),
        "{leaker}"
    );
    let tidy = text
        .lines()
        .find(|line| line.contains(" 302 "))
        .expect(&text);
    assert!(
        tidy.contains("clean") && tidy.contains("1 released"),
        "{tidy}"
    );
}
