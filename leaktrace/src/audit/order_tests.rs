use proptest::prelude::*;

use super::{
    super::{
        fixture::{MS, Run, START, at, off, process, release},
        teardown,
    },
    *,
};
use crate::id::ProcessKey;

/// A process with releases, in teardown since TERM at 100 ms, ended at 900 ms.
fn torn_down(releases: &[(u64, Kind, u64)]) -> (Run, ProcessKey) {
    let mut run = Run::new();
    let child = run.process(4130, run.root(), 1, &["srv"]);
    run.exits(child, 900, 0);
    run.signal(child, 15, 100);
    for (rank, kind, ms) in releases {
        run.releases(child, *rank, *kind, *ms);
    }
    (run, child)
}

fn pairs(run: &mut Run, key: ProcessKey, mode: OrderMode) -> Vec<(u64, u64)> {
    let facts = run.of(key);
    let trigger = teardown::trigger(facts);
    let judged = judge(facts, trigger.as_ref(), mode);
    let rank = |i: usize| facts.releases[i].rank;
    judged
        .breaches
        .iter()
        .map(|breach| (rank(breach.released), rank(breach.open)))
        .collect()
}

#[test]
fn first_in_first_out_is_two_breaches_with_their_pairs() {
    let (mut run, key) = torn_down(&[
        (0, Kind::File, 110),
        (1, Kind::File, 120),
        (2, Kind::File, 130),
    ]);
    assert_eq!(pairs(&mut run, key, OrderMode::Instance), [(0, 1), (1, 2)]);
    let report = run.judge();
    let order = process(&report, key).order;
    assert_eq!((order.checked, order.breaches, order.threads), (3, 2, 1));
    assert_eq!(order.score, Some(1.0 - 2.0 / 3.0));
    let seen = off(&report, "LT301");
    assert_eq!(seen.map(|finding| finding.count), Some(2));
    assert!(report.findings.is_empty(), "off by default");
}

#[test]
fn last_in_first_out_is_no_breach() {
    let (mut run, key) = torn_down(&[
        (2, Kind::File, 110),
        (1, Kind::File, 120),
        (0, Kind::File, 130),
    ]);
    assert_eq!(pairs(&mut run, key, OrderMode::Instance), []);
    assert_eq!(process(&run.judge(), key).order.score, Some(1.0));
}

#[test]
fn what_is_held_at_exit_takes_no_part() {
    let (mut run, key) = torn_down(&[(2, Kind::File, 110), (0, Kind::File, 120)]);
    run.holds(key, Kind::File, Some(4), "/etc/b");
    assert_eq!(pairs(&mut run, key, OrderMode::Instance), []);
    assert!(off(&run.judge(), "LT201").is_some());
}

#[test]
fn classes_are_judged_apart_in_instance_mode_and_together_in_global() {
    let (mut run, key) = torn_down(&[(0, Kind::File, 110), (1, Kind::Tcp, 120)]);
    assert_eq!(pairs(&mut run, key, OrderMode::Instance), []);
    assert_eq!(pairs(&mut run, key, OrderMode::Global), [(0, 1)]);
}

#[test]
fn class_modes_look_at_classes_only() {
    let (mut run, key) = torn_down(&[
        (5, Kind::Tcp, 110),
        (0, Kind::File, 120),
        (1, Kind::File, 130),
    ]);
    assert_eq!(pairs(&mut run, key, OrderMode::FdsFirst), [(5, 0)]);
    assert_eq!(pairs(&mut run, key, OrderMode::MappingsFirst), []);
    run.policy.settings.order = OrderMode::FdsFirst;
    let report = run.judge();
    assert!(off(&report, "LT302").is_some());
    assert!(off(&report, "LT301").is_none());
}

#[test]
fn one_call_that_releases_much_has_no_order_in_itself() {
    let (mut run, key) = torn_down(&[
        (0, Kind::File, 110),
        (1, Kind::File, 110),
        (2, Kind::File, 120),
    ]);
    assert_eq!(pairs(&mut run, key, OrderMode::Instance), [(0, 2), (1, 2)]);
}

#[test]
fn releases_by_several_threads_are_judged_per_acquiring_thread() {
    let (mut run, key) = torn_down(&[]);
    let add = |run: &mut Run, rank: u64, ms: u64, owner: u32, by: u32| {
        let mut one = release(Kind::File, rank, 3, at(ms), Tid(owner));
        one.released_by = Tid(by);
        run.of(key).releases.push(one);
    };
    add(&mut run, 0, 110, 1, 1);
    add(&mut run, 1, 115, 2, 2);
    add(&mut run, 2, 120, 1, 1);
    add(&mut run, 3, 125, 2, 2);
    assert_eq!(pairs(&mut run, key, OrderMode::Instance), [(0, 2), (1, 3)]);
    add(&mut run, 4, 130, 1, 2);
    assert_eq!(pairs(&mut run, key, OrderMode::Instance), [(1, 3)]);
    add(&mut run, 5, 130, 2, 1);
    let order = process(&run.judge(), key).order;
    assert_eq!((order.checked, order.score), (0, None));
    assert_eq!(order.not_judged.as_deref(), Some("concurrent"));
}

#[test]
fn after_a_death_by_signal_order_is_not_judged() {
    let (mut run, key) = torn_down(&[(0, Kind::File, 110), (1, Kind::File, 120)]);
    run.end_of(key).status = 15;
    let order = process(&run.judge(), key).order;
    assert_eq!((order.checked, order.breaches), (0, 0));
    assert_eq!(order.not_judged.as_deref(), Some("ended by SIGTERM"));
}

#[test]
fn what_was_acquired_or_released_outside_teardown_takes_no_part() {
    let (mut run, key) = torn_down(&[
        (0, Kind::File, 50),
        (1, Kind::File, 110),
        (2, Kind::PrivateMapping, 120),
    ]);
    let mut late = release(Kind::File, 3, 3, at(130), Tid(4130));
    late.resource.acquired = Some(at(125));
    run.of(key).releases.push(late);
    assert_eq!(pairs(&mut run, key, OrderMode::Instance), []);
    assert_eq!(process(&run.judge(), key).order.checked, 1);
}

#[test]
fn half_a_million_releases_are_judged() {
    let mut run = Run::new();
    let key = run.process(4130, run.root(), 1, &["srv"]);
    run.exits(key, 900, 0);
    run.signal(key, 15, 3);
    let releases: Vec<_> = (0..500_000_u64)
        .map(|i| {
            let released = KtimeNs(START + 10 * MS + i);
            release(Kind::File, i, 3, released, Tid(4130))
        })
        .collect();
    run.of(key).releases = releases;
    run.policy.settings.order = OrderMode::Global;
    let order = process(&run.judge(), key).order;
    assert_eq!((order.checked, order.breaches), (500_000, 499_999));
}

/// The definition, in O(n²).
fn reference(releases: &[ReleaseFacts], mode: OrderMode) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for a in releases {
        let class = |release: &ReleaseFacts| release.resource.kind.class();
        let first = releases
            .iter()
            .filter(|b| b.resource.released > a.resource.released)
            .filter(|b| match mode {
                OrderMode::Instance => class(b) == class(a) && b.rank > a.rank,
                OrderMode::Global => b.rank > a.rank,
                OrderMode::FdsFirst | OrderMode::MappingsFirst => {
                    position(mode, class(b)) < position(mode, class(a))
                }
            })
            .map(|b| b.rank)
            .min();
        found.extend(first.map(|rank| (a.rank, rank)));
    }
    found.sort_unstable();
    found
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::File),
        Just(Kind::Tcp),
        Just(Kind::IoUring),
        Just(Kind::PosixMq),
        Just(Kind::SharedMapping),
    ]
}

proptest! {
    #[test]
    fn the_fast_judge_agrees_with_the_definition(
        times in proptest::collection::vec((0_u64..40, kinds()), 0..40),
        mode in prop_oneof![
            Just(OrderMode::Instance),
            Just(OrderMode::Global),
            Just(OrderMode::FdsFirst),
            Just(OrderMode::MappingsFirst),
        ],
    ) {
        let releases: Vec<_> = times
            .iter()
            .enumerate()
            .map(|(rank, (ms, kind))| (rank as u64, *kind, 110 + ms))
            .collect();
        let (mut run, key) = torn_down(&releases);
        let mut fast = pairs(&mut run, key, mode);
        fast.sort_unstable();
        prop_assert_eq!(fast, reference(&run.of(key).releases.clone(), mode));
    }
}
