//! What the model makes of ends, and of what may outlive them.
#![expect(clippy::unwrap_used, reason = "tests")]

use leaktrace_common::{
    abi::Op,
    record::{exit::ExitGroup, ipc::what, kind},
};

use crate::id::KtimeNs;

use super::{
    Model,
    facts::{Created, Families, Kind, ProcessFacts, SampleKind, Trust},
    testing::{Actor, file},
    tests::{begin, own, play, process, stdio},
    trigger::{self, TriggerKind},
};

const CLONE_THREAD: u64 = 0x1_0000;

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
fn a_thread_that_has_begun_to_end_was_not_running_at_exit_group() {
    for (live, left) in [(0, 1), (1, 0), (2, 1), (3, 1)] {
        let (mut script, root) = begin();
        script.fork(&root, &root.thread(101), CLONE_THREAD);
        let group = ExitGroup { code: 0, live };
        script.record(&root, kind::EXIT_GROUP, 0, &group, &[]);
        script.exit_with(&root, 0, 0);
        let facts = play(&mut script).facts();
        let conduct = &process(&facts, 100).conduct;
        assert_eq!(conduct.threads_left, left, "{live} live");
    }
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
fn a_child_that_is_gone_before_the_wait_for_it_is_told_was_waited_for() {
    let (mut script, root) = begin();
    let [told, lost, late] = [101, 102, 103].map(|pid| Actor::child_of(&root, pid));
    for child in [&told, &lost, &late] {
        script.fork(&root, child, 0);
        script.exit(child, 0, &stdio());
    }
    script.now += 300_000_000;
    script.free(&told);
    script.free(&lost);
    let freed = script.now;
    script.now += 300_000_000;
    script.reap(&root, 101);
    let reaped = script.now;
    script.exit(&root, 0, &stdio());
    script.free(&late);
    let mut model = play(&mut script);
    model.flush();
    let facts = model.facts();
    let of = |pid| {
        let process = process(&facts, pid);
        (process.reaped, process.taken)
    };
    assert!(of(101).0 == Some(KtimeNs(reaped)));
    assert!(of(102).0.is_none() && of(102).1 <= Some(KtimeNs(freed)));
    assert!(of(102).1 > Some(KtimeNs(reaped - 600_000_000)));
    assert_eq!(of(103), (None, None));
    let children = &process(&facts, 100).by_kind[&Kind::Child];
    assert_eq!((children.acquired, children.released), (3, 2));
    let samples = model.take_samples();
    let count = |kind| samples.iter().filter(|sample| sample.kind == kind).count();
    assert_eq!((count(SampleKind::Kernel), count(SampleKind::Reap)), (4, 1));
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
    // What it had mapped cannot be read any more.
    let Trust::Tainted { families, .. } = process(&facts, 100).trust else {
        panic!("nothing has been read of its mappings");
    };
    assert!(families.both(Families::FDS).is_empty());
    assert!(!families.both(Families::MAPPINGS).is_empty());
    assert_eq!(facts.gaps.len(), 1, "the same count is no new gap");
}

#[test]
fn an_unlink_that_is_told_late_takes_no_name_that_was_made_anew() {
    let (mut script, root) = begin();
    let other = Actor::child_of(&root, 101);
    script.fork(&root, &other, 0);
    script.create(&root, 3, 0x100, "/tmp/lock");
    let begun = script.now + 10;
    script.create(&other, 3, 0x200, "/tmp/lock");
    script.name_since(&root, Op::UNLINK, 0, ("/tmp/lock", ""), begun);
    let mut model = play(&mut script);
    let made = model.facts().created;
    let makers: Vec<_> = made.iter().map(|made| made.creator.pid.0).collect();
    assert_eq!(makers, [101]);
    let begun = script.now + 10;
    script.name_since(&other, Op::UNLINK, 0, ("/tmp/lock", ""), begun);
    model.feed(&script.take());
    assert!(model.facts().created.is_empty());
}

#[test]
fn a_rename_that_is_told_late_leaves_what_came_anew_and_moves_what_was_there() {
    let (mut script, root) = begin();
    let other = Actor::child_of(&root, 101);
    script.fork(&root, &other, 0);
    script.create(&root, 3, 0x100, "/tmp/x.tmp");
    let begun = script.now + 10;
    script.create(&other, 3, 0x200, "/tmp/x.tmp");
    script.name_since(&root, Op::RENAME, 0, ("/tmp/x.tmp", "/tmp/x"), begun);
    let mut model = play(&mut script);
    let made = |model: &Model| -> Vec<(u32, String)> {
        let made = model.facts().created;
        let place = |made: &Created| String::from_utf8(made.resource.path.as_ref()?.to_vec()).ok();
        made.iter()
            .map(|made| (made.creator.pid.0, place(made).unwrap()))
            .collect()
    };
    let at = |pid: u32, path: &str| (pid, path.to_owned());
    // Either may be what was renamed: what is there in the end is known by its id.
    let either = [at(100, "/tmp/x"), at(101, "/tmp/x.tmp"), at(101, "/tmp/x")];
    assert_eq!(made(&model), either);
    // One that is over in time takes what is there, and ends what had the name.
    let begun = script.now + 10;
    script.name_since(&other, Op::RENAME, 0, ("/tmp/x.tmp", "/tmp/x"), begun);
    model.feed(&script.take());
    assert_eq!(made(&model), [at(101, "/tmp/x")]);
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
fn what_the_loader_opens_is_counted_and_takes_no_part() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x300, "/etc/ld.so.cache");
    script.close(&root, 3, 0x300);
    script.open(&root, 3, 0x400, "/usr/lib/x86_64-linux-gnu/libc.so.6");
    script.close(&root, 3, 0x400);
    script.exit(&root, 0, &stdio());
    let facts = play(&mut script).facts();
    let root = process(&facts, 100);
    assert_eq!(root.by_kind[&Kind::File].released, 2);
    assert!(root.releases.is_empty());
    assert_eq!(trigger::teardown(root).1, TriggerKind::ExitGroup);
}

#[test]
fn times_in_functions_are_told_where_they_are_in_order() {
    use leaktrace_common::record::exit::ExitTimes;
    let (mut script, root) = begin();
    script.exit(&root, 0, &stdio());
    let at = script.now;
    let times = ExitTimes {
        unmap_began_ns: at - 90,
        unmap_ended_ns: at - 40,
        files_began_ns: at - 30,
        files_ended_ns: at - 20,
    };
    let functions = |times: ExitTimes| {
        let mut script = script.clone();
        script.record(&root, kind::EXIT_TIMES, 0, &times, &[]);
        let facts = play(&mut script).facts();
        let process = process(&facts, 100);
        let timing = super::trigger::timing(process);
        let released = process.end.as_ref().and_then(|end| end.functions);
        let released = released.map(|all| all.released.0).expect("told");
        let last = timing.last_references_ns.map(|ns| released - ns);
        (timing.exit_mmap_ns, timing.exit_files_ns, last)
    };
    assert_eq!(functions(times), (Some(50), Some(10), Some(at - 20)));
    // Not seen, before the process began, after all was released, the wrong way round.
    for (began, ended) in [(0, at), (1, at), (at, u64::MAX), (at - 20, at - 30)] {
        let times = ExitTimes {
            files_began_ns: began,
            files_ended_ns: ended,
            ..times
        };
        assert_eq!(functions(times), (Some(50), None, None), "{began} {ended}");
    }
}
