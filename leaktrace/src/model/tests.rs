//! What the model makes of whole lives.
#![expect(clippy::unwrap_used, reason = "tests")]

use leaktrace_common::{
    abi::Op,
    record::{ipc::what, kind},
};

use super::{
    Model, ModelConfig, Samples,
    facts::{Facts, Held, Kind, ProcessFacts, SampleKind, Trust},
    testing::{Actor, Script, file},
    trigger::{self, TriggerKind},
};

fn play(script: &mut Script) -> Model {
    let mut model = Model::new(ModelConfig {
        samples: Samples::Kept,
        ..ModelConfig::default()
    });
    model.feed(&script.take());
    assert_eq!(model.read().malformed + model.read().unknown, 0);
    model
}

fn process(facts: &Facts, pid: u32) -> &ProcessFacts {
    let mut found = facts.processes.values();
    found.find(|process| process.key.pid.0 == pid).unwrap()
}

fn stdio() -> Vec<(i32, leaktrace_common::record::FileIdentity)> {
    vec![(0, file(0x10)), (1, file(0x20)), (2, file(0x20))]
}

/// A root that has executed its program, with stdio.
fn begin() -> (Script, Actor) {
    let mut script = Script::new();
    let root = Actor::new(100);
    script.root(&root);
    script.exec(&root, &stdio());
    (script, root)
}

fn own(held: &[Held]) -> Vec<i32> {
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
fn an_exit_without_a_walk_falls_back_and_is_tainted() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    script.exit_with(&root, 0, 0);
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    assert_eq!(own(&root.end.as_ref().unwrap().held), [3]);
    assert!(matches!(root.trust, Trust::Tainted { .. }));
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
    let mut left = stdio();
    left.push((3, file(0x200)));
    script.exit(&root, 0, &left);
    let facts = play(&mut script).facts();
    let counts = process(&facts, 100).by_kind[&Kind::File];
    assert_eq!((counts.acquired, counts.released, counts.held), (2, 1, 1));
    assert_eq!(facts.self_check, (1, 0));
    assert_eq!(process(&facts, 100).errors, 0);
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
fn order_facts_hold_for_a_b_c_with_scratch_between() {
    let (mut script, root) = begin();
    for (fd, path) in [(3, "/a"), (4, "/b"), (5, "/c")] {
        script.open(&root, fd, 0x100 * fd as u64, path);
    }
    script.close(&root, 3, 0x300);
    script.open(&root, 3, 0x900, "/scratch");
    script.close(&root, 3, 0x900);
    script.close(&root, 4, 0x400);
    script.close(&root, 5, 0x500);
    script.exit(&root, 0, &stdio());
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    let paths: Vec<&[u8]> = root
        .releases
        .iter()
        .map(|release| release.resource.path.as_deref().unwrap())
        .collect();
    assert_eq!(paths, [&b"/a"[..], b"/b", b"/c"]);
    assert_eq!(
        trigger::teardown(root),
        (root.final_run, TriggerKind::FinalRun)
    );
    assert!(root.final_run.is_some());
    assert_eq!(root.releases[0].duration_ns, 500);
}

#[test]
fn a_terminating_signal_is_the_trigger() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    script.signal(&root, 15);
    let at = script.now;
    script.open(&root, 4, 0x200, "/log");
    script.close(&root, 3, 0x100);
    let mut left = stdio();
    left.push((4, file(0x200)));
    script.exit(&root, 0, &left);
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    let (began, kind) = trigger::teardown(root);
    assert_eq!((began.unwrap().0, kind), (at, TriggerKind::Signal(15)));
    assert_eq!(root.releases.len(), 1);
    assert!(root.end.as_ref().unwrap().signal().is_none());
    let timing = trigger::timing(root);
    assert!(timing.teardown_ns.unwrap() > timing.kernel_ns.unwrap());
}

#[test]
fn a_fatal_signal_is_told_with_its_time() {
    let (mut script, root) = begin();
    script.signal(&root, 9);
    let at = script.now;
    script.exit(&root, 9, &stdio());
    let facts = play(&mut script).facts();
    let end = process(&facts, 100).end.clone().unwrap();
    assert_eq!((end.signal(), end.fatal_signal.unwrap().0), (Some(9), at));
}

#[test]
fn samples_come_once_per_release_and_once_per_process() {
    let (mut script, root) = begin();
    let child = Actor::child_of(&root, 101);
    script.fork(&root, &child, 0);
    script.open(&child, 3, 0x100, "/a");
    script.close(&child, 3, 0x100);
    script.exit(&child, 0, &stdio());
    script.now += 300_000_000;
    script.reap(&root, 101);
    script.exit(&root, 0, &stdio());
    let mut model = play(&mut script);
    model.flush();
    model.flush();
    let samples = model.take_samples();
    let count = |kind| samples.iter().filter(|sample| sample.kind == kind).count();
    assert_eq!(count(SampleKind::Release), 1);
    assert_eq!(count(SampleKind::Hold), 1);
    assert_eq!(count(SampleKind::Kernel), 2);
    assert_eq!(count(SampleKind::Reap), 1);
    let reap = samples
        .iter()
        .find(|sample| sample.kind == SampleKind::Reap)
        .unwrap();
    assert_eq!(reap.ns, 300_001_000);
    assert!(model.take_samples().is_empty());
}

#[test]
fn lost_records_taint_who_lived_and_a_walk_mends_the_table() {
    let (mut script, root) = begin();
    let child = Actor::child_of(&root, 101);
    script.fork(&root, &child, 0);
    script.exit(&child, 0, &stdio());
    script.dropped = 3;
    script.open(&root, 3, 0x100, "/a");
    let mut model = play(&mut script);
    let facts = model.facts();
    assert_eq!(facts.gaps[0].lost, 3);
    assert!(matches!(process(&facts, 100).trust, Trust::Tainted { .. }));
    assert_eq!(process(&facts, 101).trust, Trust::Sure);
    script.exit(&root, 0, &stdio());
    model.feed(&script.take());
    let facts = model.facts();
    assert!(matches!(process(&facts, 100).trust, Trust::Reread { .. }));
    assert_eq!(facts.gaps.len(), 1, "the same count is no new gap");
}

#[test]
fn the_ledger_has_what_was_made_and_not_removed() {
    let (mut script, root) = begin();
    script.create(&root, 3, 0x100, "/tmp/x.tmp");
    script.name(&root, Op::RENAMEAT2, 0, "/tmp/x.tmp", "/work/x");
    script.create(&root, 4, 0x200, "/dev/shm/psm_1");
    script.name(&root, Op::MKDIR, 0o755, "/tmp/d", "");
    script.create(&root, 5, 0x300, "/tmp/d/./gone");
    script.name(&root, Op::UNLINK, 0, "/tmp/d/gone", "");
    script.name(&root, Op::MKNODAT, 0o010_600, "/tmp/fifo", "");
    script.ipc_get(&root, what::SHM, 32769, 1);
    script.ipc_get(&root, what::SEM, 0, 2);
    script.ipc_remove(&root, what::SEM, 0, 0);
    script.ipc_get(&root, what::MSG, 5, 0);
    let facts = play(&mut script).facts();
    let made: Vec<_> = facts
        .created
        .iter()
        .map(|made| {
            (
                made.resource.kind,
                made.resource.path.as_deref(),
                made.resource.ipc_id,
            )
        })
        .collect();
    assert_eq!(
        made,
        [
            (Kind::File, Some(&b"/work/x"[..]), None),
            (Kind::PosixShm, Some(b"/dev/shm/psm_1"), None),
            (Kind::Directory, Some(b"/tmp/d"), None),
            (Kind::Fifo, Some(b"/tmp/fifo"), None),
            (Kind::SysvShm, None, Some(32769)),
        ]
    );
    assert_eq!(facts.created[4].resource.bytes, Some(4096));
    assert!(facts.created[4].sure);
    let counts = process(&facts, 100).by_kind[&Kind::SysvSem];
    assert_eq!((counts.acquired, counts.released), (1, 1));
}

#[test]
fn a_refused_ipc_removal_is_an_error_and_keeps_the_thing() {
    let (mut script, root) = begin();
    script.ipc_get(&root, what::SHM, 7, 1);
    script.ipc_remove(&root, what::SHM, 7, 1);
    let facts = play(&mut script).facts();
    assert_eq!(facts.created.len(), 1);
    assert_eq!(process(&facts, 100).refused[0].op, Op::SHMCTL);
}

#[test]
fn nothing_is_left_of_fds_when_their_processes_are_gone() {
    let (mut script, root) = begin();
    let child = Actor::child_of(&root, 101);
    script.open(&root, 3, 0x100, "/a");
    script.fork(&root, &child, 0);
    script.open(&child, 70_000, 0x200, "/b");
    script.open(&child, 2_000_000_000, 0x300, "/c");
    script.exit(&child, 0, &[]);
    script.exit(&root, 0, &[]);
    let model = play(&mut script);
    assert_eq!(model.descriptions.len(), 0);
    assert_eq!(model.footprint().0, 0);
    assert!(model.tables.is_empty());
    assert_eq!(model.names.used(), 0);
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
fn shared_mappings_and_attaches_are_held_and_private_ones_are_only_counted() {
    const MAP_SHARED: u32 = 1;
    const MAP_PRIVATE: u32 = 2;
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/dev/shm/psm");
    script.map(&root, 0x10000, 5000, MAP_SHARED, 3);
    script.map(&root, 0x20000, 4096, MAP_PRIVATE, 3);
    script.map(&root, 0x30000, 4096, MAP_PRIVATE | 0x20, -1);
    script.map(&root, 0x40000, 4096, MAP_SHARED | 0x20, -1);
    script.ipc_get(&root, what::SHM, 7, 1);
    script.attach(&root, 0x50000, 7);
    script.unmap(&root, 0x40000, 4096);
    let mut left = stdio();
    left.push((3, file(0x100)));
    script.exit(&root, 0, &left);
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    let held = &root.end.as_ref().unwrap().held;
    let mapped: Vec<_> = held
        .iter()
        .filter(|held| held.resource.fd.is_none())
        .map(|held| {
            let resource = &held.resource;
            (
                resource.kind,
                resource.address.unwrap(),
                resource.bytes.unwrap(),
                resource.ipc_id,
            )
        })
        .collect();
    assert_eq!(
        mapped,
        [
            (Kind::SharedMapping, 0x10000, 8192, None),
            (Kind::ShmAttach, 0x50000, 4096, Some(7)),
        ]
    );
    assert_eq!(held[4].resource.path.as_deref(), Some(&b"/dev/shm/psm"[..]));
    let counts = root.by_kind[&Kind::SharedMapping];
    assert_eq!((counts.acquired, counts.released, counts.held), (2, 1, 1));
    assert_eq!(root.by_kind[&Kind::PrivateMapping].acquired, 1);
    assert_eq!(root.bytes_released, 4096);
    assert_eq!(root.releases.len(), 1);
}

#[test]
fn memory_neither_ends_nor_starts_a_run() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    script.open(&root, 4, 0x200, "/b");
    script.close(&root, 4, 0x200);
    script.map(&root, 0x30000, 4096, 0x22, -1);
    script.close(&root, 3, 0x100);
    script.unmap(&root, 0x30000, 4096);
    script.exit(&root, 0, &stdio());
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    assert_eq!(root.releases.len(), 2);
    assert!(root.final_run.is_some());
}

#[test]
fn a_vforked_child_that_ends_leaves_the_address_space_to_its_parent() {
    const CLONE_VM: u64 = 0x100;
    let (mut script, root) = begin();
    script.map(&root, 0x10000, 4096, 0x21, -1);
    let child = Actor {
        mm: root.mm,
        ..Actor::child_of(&root, 101)
    };
    script.fork(&root, &child, CLONE_VM);
    script.exit(&child, 0, &stdio());
    script.exit(&root, 0, &stdio());
    let mm = leaktrace_common::record::exit::ExitMm { mm: root.mm };
    script.record(&root, kind::EXIT_MM, 0, &mm, &[]);
    let facts = play(&mut script).facts();
    let (root, child) = (process(&facts, 100), process(&facts, 101));
    let mapped = |process: &ProcessFacts| {
        let held = process.end.as_ref().unwrap().held.iter();
        held.filter(|held| held.resource.kind == Kind::SharedMapping)
            .count()
    };
    assert_eq!((mapped(root), mapped(child)), (1, 0));
    assert!(root.end.as_ref().unwrap().exit_mm.is_some());
    assert!(child.end.as_ref().unwrap().exit_mm.is_none());
}

#[test]
fn what_was_there_at_attach_is_inherited_and_seeds_do_not_undo_events() {
    let mut script = Script::new();
    let old = Actor::new(100);
    script.seed(&old);
    script.seed(&old.thread(105));
    script.open(&old, 4, 0x400, "/new");
    script.fd_seed(&old, 3, file(0x300));
    script.fd_seed(&old, 4, file(0x404));
    script.fd_seed(&old, 5, file(0x500));
    script.open(&old, 5, 0x500, "/told twice");
    let mut model = play(&mut script);
    let facts = model.facts();
    let process = process(&facts, 100);
    assert!(process.preexisting);
    assert_eq!((process.threads, process.trust.clone()), (2, Trust::Sure));
    assert_eq!(process.by_kind[&Kind::File].acquired, 2);
    let snapshot = model.snapshot(Some(process.key));
    assert_eq!(snapshot.live[0].open, 3);
    let rows = snapshot.detail.unwrap().resources;
    let inherited: Vec<bool> = rows.iter().map(|row| row.inherited).collect();
    assert_eq!(inherited, [false, false, true], "newest first");
    script.close(&old, 5, 0x500);
    script.close(&old, 4, 0x400);
    script.close(&old, 3, 0x300);
    model.feed(&script.take());
    assert_eq!(model.snapshot(None).live[0].open, 0);
}

#[test]
fn a_snapshot_tells_rate_limit_and_who_shares() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x300, "/shared");
    let child = Actor::child_of(&root, 101);
    script.fork(&root, &child, 0);
    for number in 0..110u64 {
        script.now += 100_000_000;
        script.open(&root, 10 + number as i32, 0x10000 + number, "/x");
    }
    let mut model = play(&mut script);
    model.advance(crate::id::KtimeNs(script.now + 1_000_000));
    let snapshot = model.snapshot(Some(process(&model.facts(), 100).key));
    let row = &snapshot.live[0];
    assert_eq!(row.open, 114);
    assert!((row.rate - 10.0).abs() <= 0.5, "{}", row.rate);
    let left = (1024.0 - 114.0) / row.rate;
    assert!((row.full_in_s.unwrap() - left).abs() < 0.01);
    let detail = snapshot.detail.unwrap();
    let shared = detail
        .resources
        .iter()
        .find(|row| row.resource.fd == Some(crate::id::Fd(3)));
    assert_eq!(shared.unwrap().shared_with, [crate::id::Pid(101)]);
    let own = detail
        .resources
        .iter()
        .find(|row| row.resource.fd == Some(crate::id::Fd(10)));
    assert!(own.unwrap().shared_with.is_empty());
}

#[test]
fn the_system_wide_mode_keeps_the_last_ends_and_nothing_else() {
    let mut model = Model::new(ModelConfig {
        mode: super::Mode::System,
        ..ModelConfig::default()
    });
    let mut script = Script::new();
    let root = Actor::new(100);
    script.seed(&root);
    for pid in 1_000..1_000 + 3 * super::EXITS as u32 {
        let child = Actor::child_of(&root, pid);
        script.fork(&root, &child, 0);
        script.open(&child, 3, u64::from(pid), "/a");
        script.exit(&child, 0, &[(3, file(u64::from(pid)))]);
        script.reap(&root, pid);
        model.feed(&script.take());
    }
    assert_eq!(model.processes.iter().count(), super::EXITS + 1);
    assert_eq!(
        (model.tables.len(), model.spaces.len()),
        (1, super::EXITS + 1)
    );
    assert_eq!(
        (
            model.descriptions.len(),
            model.zombies.len(),
            model.walks.len()
        ),
        (0, 0, 0)
    );
    let snapshot = model.snapshot(None);
    assert_eq!(
        (snapshot.exits.len(), snapshot.live.len()),
        (super::EXITS, 1)
    );
    assert_eq!(snapshot.ended.0, 3 * super::EXITS as u64);
}

#[test]
fn an_fd_costs_at_most_128_bytes() {
    let mut script = Script::new();
    let root = Actor::new(100);
    script.root(&root);
    let mut model = Model::new(ModelConfig::default());
    for fd in 0..500_000 {
        script.open(&root, fd, 0x1000 + fd as u64 * 256, "/one");
        if fd % 1_000 == 0 {
            model.feed(&script.take());
        }
    }
    model.feed(&script.take());
    let (resources, bytes) = model.footprint();
    assert_eq!(resources, 500_000);
    assert!(bytes / resources <= 96, "{} bytes each", bytes / resources);
}

#[test]
fn a_copy_of_the_fd_of_a_new_file_made_nothing() {
    use leaktrace_common::record::file::{FdAcquire, acquire_flag};
    let (mut script, root) = begin();
    script.create(&root, 3, 0x100, "/tmp/new");
    let seq = script.seq();
    let copy = FdAcquire {
        identity: file(0x100),
        fd: 4,
        source_fd: 3,
        op: Op::FCNTL.0,
        flags: acquire_flag::CREATED,
        ..FdAcquire::default()
    };
    script.record(&root, kind::FD_ACQUIRE, seq, &copy, &[]);
    let facts = play(&mut script).facts();
    assert_eq!(facts.created.len(), 1);
    assert_eq!(process(&facts, 100).trust, Trust::Sure);
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
