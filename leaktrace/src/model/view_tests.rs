//! What the model shows of a whole system, and what it costs.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{
    Model, ModelConfig,
    facts::{Kind, Trust},
    testing::{Actor, Script, file},
    tests::{begin, play, process},
};

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
fn a_process_whose_end_was_lost_is_forgotten_like_others() {
    let mut model = Model::new(ModelConfig {
        mode: super::Mode::System,
        ..ModelConfig::default()
    });
    let mut script = Script::new();
    let root = Actor::new(100);
    script.seed(&root);
    for pid in 1_000..1_000 + 2 * super::EXITS as u32 {
        let child = Actor::child_of(&root, pid);
        script.fork(&root, &child, 0);
        script.open(&child, 3, u64::from(pid), "/a");
        script.free(&child);
        model.feed(&script.take());
    }
    assert_eq!(model.processes.iter().count(), super::EXITS + 1);
    assert_eq!((model.tables.len(), model.descriptions.len()), (1, 0));
    assert_eq!(model.living().count(), 1);
}

/// Bytes of the nodes of a map that was filled from above, as the kernel fills an address space,
/// are at most so many per entry: six of eleven places are used.
const NODES: f64 = 11.0 / 6.0;

#[test]
fn a_mapping_costs_at_most_128_bytes() {
    let entry = size_of::<super::space::Mapping>() + size_of::<u64>();
    assert!(entry as f64 * NODES <= 96.0, "{entry}");
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
