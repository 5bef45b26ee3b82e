//! What the model makes of fds that come and go.
#![expect(clippy::unwrap_used, reason = "tests")]

use leaktrace_common::{abi::Op, record::kind};

use super::{
    Model, ModelConfig, Samples,
    facts::{Facts, Held, Kind, ProcessFacts, Trust},
    testing::{Actor, Script, file},
};

pub(super) fn play(script: &mut Script) -> Model {
    let mut model = Model::new(ModelConfig {
        samples: Samples::Kept,
        ..ModelConfig::default()
    });
    model.feed(&script.take());
    assert_eq!(model.read().malformed + model.read().unknown, 0);
    model
}

pub(super) fn process(facts: &Facts, pid: u32) -> &ProcessFacts {
    let mut found = facts.processes.values();
    found.find(|process| process.key.pid.0 == pid).unwrap()
}

pub(super) fn stdio() -> Vec<(i32, leaktrace_common::record::FileIdentity)> {
    vec![(0, file(0x10)), (1, file(0x20)), (2, file(0x20))]
}

/// A root that has executed its program, with stdio.
pub(super) fn begin() -> (Script, Actor) {
    let mut script = Script::new();
    let root = Actor::new(100);
    script.root(&root);
    script.exec(&root, &stdio());
    (script, root)
}

pub(super) fn own(held: &[Held]) -> Vec<i32> {
    let own = held.iter().filter(|held| !held.inherited);
    own.map(|held| held.resource.fd.unwrap().0).collect()
}

#[test]
fn what_is_not_closed_is_held_and_what_was_there_is_inherited() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/etc/hosts");
    script.open(&root, 4, 0x200, "/etc/passwd");
    script.close(&root, 3, 0x100);
    let mut left = stdio();
    left.push((4, file(0x200)));
    script.exit(&root, 0, &left);
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    let end = root.end.as_ref().unwrap();
    assert!(end.walk_complete);
    assert_eq!(own(&end.held), [4]);
    assert_eq!(end.held.len(), 4);
    let held = end.held.iter().find(|held| !held.inherited).unwrap();
    assert_eq!(held.resource.path.as_deref(), Some(&b"/etc/passwd"[..]));
    assert_eq!(held.resource.op, Some(Op::OPENAT));
    let counts = root.by_kind[&Kind::File];
    assert_eq!(
        (counts.acquired, counts.released, counts.held, counts.peak),
        (2, 1, 1, 2)
    );
    assert_eq!(facts.self_check, (1, 0));
    assert_eq!(root.exe.as_deref(), Some(&b"/bin/test"[..]));
    assert_eq!(root.argv, ["test", "-x"]);
    assert_eq!(root.cwd.as_deref(), Some(&b"/work"[..]));
}

#[test]
fn the_kernels_walk_wins_over_our_table() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    let left = [(3, file(0x100)), (9, file(0x900))];
    script.exit(&root, 0, &left);
    let facts = play(&mut script).facts();
    assert_eq!(
        own(&process(&facts, 100).end.as_ref().unwrap().held),
        [3, 9]
    );
    assert_eq!(facts.self_check, (1, 1));
    assert_eq!(process(&facts, 100).trust, Trust::Sure);
}

#[test]
fn a_forked_child_inherits_and_a_dup_of_an_inherited_fd_is_its_own() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    let child = Actor::child_of(&root, 101);
    script.fork(&root, &child, 0);
    script.acquire(&child, 4, file(0x100), Op::DUP, "");
    script.close(&child, 3, 0x100);
    let mut left = stdio();
    left.push((4, file(0x100)));
    script.exit(&child, 0, &left);
    script.reap(&root, 101);
    let mut left = stdio();
    left.push((3, file(0x100)));
    script.exit(&root, 0, &left);
    let facts = play(&mut script).facts();
    let child = process(&facts, 101);
    let held = &child.end.as_ref().unwrap().held;
    assert_eq!(own(held), [4]);
    assert_eq!(
        held[3].resource.path.as_deref(),
        Some(&b"/a"[..]),
        "the description has the name"
    );
    let counts = child.by_kind[&Kind::File];
    assert_eq!(
        (counts.acquired, counts.released),
        (1, 0),
        "an inherited fd's close does not count"
    );
    assert!(child.releases.is_empty());
    assert!(child.reaped.is_some());
    assert_eq!(facts.self_check, (2, 0));
}

#[test]
fn a_shared_table_is_one_table() {
    const CLONE_FILES: u64 = 0x400;
    let (mut script, root) = begin();
    let child = Actor {
        table: root.table,
        ..Actor::child_of(&root, 101)
    };
    script.fork(&root, &child, CLONE_FILES);
    script.open(&child, 3, 0x100, "/a");
    script.close(&root, 3, 0x100);
    script.exit(&child, 0, &stdio());
    script.exit(&root, 0, &stdio());
    let facts = play(&mut script).facts();
    assert_eq!(
        facts.self_check,
        (1, 0),
        "a table that goes on is not compared"
    );
    assert!(process(&facts, 101).end.as_ref().unwrap().files_shared);
    assert_eq!(process(&facts, 100).by_kind[&Kind::File].released, 1);
}

#[test]
fn unshare_gives_a_copy_and_close_range_empties_it() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    let moved = Actor { table: 7, ..root };
    script.table(&moved, root.table);
    script.open(&moved, 4, 0x200, "/b");
    let seq = script.seq();
    let range = leaktrace_common::record::file::FdRange {
        first: 3,
        last: u32::MAX,
        begin_ns: script.now,
        ..Default::default()
    };
    script.record(&moved, kind::FD_RANGE, seq, &range, &[]);
    script.exit(&moved, 0, &stdio());
    let facts = play(&mut script).facts();
    assert_eq!(facts.self_check, (1, 0));
    let root = process(&facts, 100);
    let ranks: Vec<u64> = root.releases.iter().map(|release| release.rank).collect();
    assert!(
        ranks.is_sorted_by(|a, b| a > b),
        "one call is in order: {ranks:?}"
    );
    assert_eq!(ranks.len(), 2);
}

#[test]
fn exec_makes_all_inherited_and_forgets_what_was_done_before() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    script.open(&root, 4, 0x200, "/cloexec");
    let mut left = stdio();
    left.push((3, file(0x100)));
    script.exec(&root, &left);
    script.exit(&root, 0, &left);
    let facts = play(&mut script).facts();
    let held = &process(&facts, 100).end.as_ref().unwrap().held;
    assert!(own(held).is_empty());
    let kept = held
        .iter()
        .find(|held| held.resource.fd == Some(crate::id::Fd(3)))
        .unwrap();
    assert_eq!(kept.resource.path.as_deref(), Some(&b"/a"[..]));
    assert!(kept.resource.acquired.is_some());
    assert_eq!(facts.self_check, (1, 0));
}

#[test]
fn a_close_that_is_told_before_its_open_is_matched() {
    let (mut script, root) = begin();
    let (open, close) = (script.seq(), script.seq());
    let other = root.thread(102);
    script.release_at(&other, close, 3, 0x100, Op::CLOSE, 0);
    script.acquire_at(&root, open, 3, file(0x100), Op::OPENAT, "/a");
    script.exit(&root, 0, &stdio());
    let facts = play(&mut script).facts();
    let counts = process(&facts, 100).by_kind[&Kind::File];
    assert_eq!((counts.acquired, counts.released), (1, 1));
    assert_eq!(facts.self_check, (1, 0));
}

#[test]
fn a_number_used_again_before_its_release_is_told_keeps_both() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    let close = script.seq();
    script.open(&root, 3, 0x200, "/b");
    script.release_at(&root.thread(102), close, 3, 0x100, Op::CLOSE, 0);
    script.release_at(&root.thread(102), close, 3, 0, Op::CLOSE, libc::EBADF);
    let mut left = stdio();
    left.push((3, file(0x200)));
    script.exit(&root, 0, &left);
    let facts = play(&mut script).facts();
    let counts = process(&facts, 100).by_kind[&Kind::File];
    assert_eq!((counts.acquired, counts.released, counts.held), (2, 1, 1));
    assert_eq!(facts.self_check, (1, 0));
    assert_eq!(process(&facts, 100).errors, 1);
    assert!(process(&facts, 100).refused[0].again);
}

#[test]
fn refused_releases_release_nothing_except_a_close_that_found_something() {
    const EBADF: i32 = 9;
    const EIO: i32 = 5;
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    let seq = script.seq();
    script.release_at(&root, seq, 1, 0x20, Op::DUP2, EBADF);
    let seq = script.seq();
    script.release_at(&root, seq, 3, 0x100, Op::CLOSE, EIO);
    let seq = script.seq();
    script.release_at(&root, seq, 3, 0, Op::CLOSE, EBADF);
    script.exit(&root, 0, &stdio());
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    assert_eq!(facts.self_check, (1, 0));
    assert_eq!(root.errors, 2);
    let errnos: Vec<i32> = root.refused.iter().map(|refused| refused.errno).collect();
    assert_eq!(errnos, [EIO, EBADF]);
    assert_eq!(
        root.refused[0].resource.as_ref().unwrap().path.as_deref(),
        Some(&b"/a"[..])
    );
}

#[test]
fn fork_copies_numbers_but_not_their_sequence() {
    let mut script = Script::new();
    let root = Actor::new(100);
    script.root(&root);
    script.exec(&root, &stdio());
    for fd in 3..10 {
        script.open(&root, fd, 0x100 * fd as u64, "/a");
    }
    let child = Actor::child_of(&root, 101);
    script.fork(&root, &child, 0);
    // The child's table counts from 1.
    script.release_at(&child, 1, 5, 0x500, Op::CLOSE, 0);
    let mut left = stdio();
    left.extend(
        (3..10)
            .filter(|fd| *fd != 5)
            .map(|fd| (fd, file(0x100 * fd as u64))),
    );
    script.exit(&child, 0, &left);
    let facts = play(&mut script).facts();
    assert_eq!(facts.self_check, (1, 0));
}

#[test]
fn a_close_that_came_before_another_threads_open_is_a_second_close_and_no_bad_one() {
    let (mut script, root) = begin();
    let closer = root.thread(101);
    // Never acquired here, open by the time that the refusal is told.
    script.open(&root, 3, 0x100, "/a");
    let seq = script.seq();
    script.release_at(&closer, seq, 3, 0, Op::CLOSE, libc::EBADF);
    let seq = script.seq();
    script.release_at(&closer, seq, 3, 0x100, Op::CLOSE, 0);
    script.open(&root, 3, 0x200, "/b");
    let seq = script.seq();
    script.release_at(&closer, seq, 3, 0, Op::CLOSE, libc::EBADF);
    // What went wrong with what is open now has nothing to do with what was before.
    let seq = script.seq();
    script.release_at(&closer, seq, 3, 0x200, Op::CLOSE, libc::EIO);
    // Another image has closed nothing yet.
    script.exec(&root, &stdio());
    let seq = script.seq();
    script.release_at(&root, seq, 3, 0, Op::CLOSE, libc::EBADF);
    script.exit(&root, 0, &stdio());
    let facts = play(&mut script).facts();
    let again = |errno: i32| {
        let refused = process(&facts, 100).refused.iter();
        let refused = refused.filter(move |refused| refused.errno == errno);
        refused.map(|refused| refused.again).collect::<Vec<_>>()
    };
    assert_eq!(again(libc::EBADF), [false, true, false]);
    assert_eq!(again(libc::EIO), [false]);
}

#[test]
fn closing_minus_one_is_no_error() {
    let (mut script, root) = begin();
    for fd in [-1, 7] {
        let seq = script.seq();
        script.release_at(&root, seq, fd, 0, Op::CLOSE, libc::EBADF);
    }
    script.exit(&root, 0, &stdio());
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    assert_eq!((root.errors, root.refused.len()), (1, 1));
    assert_eq!(root.refused[0].argument, 7);
}
