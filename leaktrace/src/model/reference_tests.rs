//! The model against a plain one: a map from fd to file for each process, and nothing else.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use leaktrace_common::{abi::Op, record::FileIdentity};
use proptest::prelude::*;

use super::{
    Model, ModelConfig, Samples,
    testing::{Actor, Script, file},
};

/// One thing that a program does.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Close(u8),
    CloseFailing(u8),
    Dup(u8),
    DupOver(u8, u8),
    CloseRange(u8, u8),
    Fork(u8),
    Exec,
    Unshare,
    Exit,
    Map(u8, u8),
    Unmap(u8, u8),
    Signal(u8),
    Create(u8),
    Rename(u8, u8),
    Unlink(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let small = 0u8..12;
    prop_oneof![
        4 => Just(Step::Open),
        4 => small.clone().prop_map(Step::Close),
        1 => small.clone().prop_map(Step::CloseFailing),
        2 => small.clone().prop_map(Step::Dup),
        2 => (small.clone(), 0u8..24).prop_map(|(a, b)| Step::DupOver(a, b)),
        1 => (0u8..24, 0u8..24).prop_map(|(a, b)| Step::CloseRange(a, b)),
        1 => (0u8..2).prop_map(Step::Fork),
        1 => Just(Step::Exec),
        1 => Just(Step::Unshare),
        1 => Just(Step::Exit),
        1 => (small.clone(), 1u8..6).prop_map(|(a, b)| Step::Map(a, b)),
        1 => (small.clone(), 1u8..6).prop_map(|(a, b)| Step::Unmap(a, b)),
        1 => (1u8..65).prop_map(Step::Signal),
        1 => small.clone().prop_map(Step::Create),
        1 => (small.clone(), small.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => small.prop_map(Step::Unlink),
    ]
}

/// The plain model, and the kernel that tells of it.
struct World {
    script: Script,
    live: Vec<Actor>,
    tables: BTreeMap<u32, BTreeMap<i32, FileIdentity>>,
    next: u32,
}

impl World {
    fn new() -> World {
        let mut world = World {
            script: Script::new(),
            live: vec![Actor::new(100)],
            tables: BTreeMap::new(),
            next: 200,
        };
        let root = world.live[0];
        world.tables.insert(root.table, BTreeMap::new());
        world.script.root(&root);
        world.script.exec(&root, &[]);
        world
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn fresh(&mut self) -> FileIdentity {
        let address = u64::from(self.number()) << 8;
        FileIdentity {
            ino: address,
            ..file(address)
        }
    }

    fn lowest(&self, table: u32) -> i32 {
        (0..)
            .find(|fd| !self.tables[&table].contains_key(fd))
            .unwrap()
    }

    fn table(&mut self, actor: &Actor) -> &mut BTreeMap<i32, FileIdentity> {
        self.tables.get_mut(&actor.table).unwrap()
    }

    fn listed(&self, table: u32) -> Vec<(i32, FileIdentity)> {
        self.tables[&table]
            .iter()
            .map(|(fd, file)| (*fd, *file))
            .collect()
    }

    /// The fd in use that `number` picks.
    fn pick(&self, table: u32, number: u8) -> Option<(i32, FileIdentity)> {
        let open = self.listed(table);
        (!open.is_empty()).then(|| open[usize::from(number) % open.len()])
    }

    fn play(&mut self, who: usize, step: &Step) {
        let index = who % self.live.len();
        let actor = self.live[index];
        match *step {
            Step::Open => {
                let (fd, identity) = (self.lowest(actor.table), self.fresh());
                self.table(&actor).insert(fd, identity);
                self.script.acquire(&actor, fd, identity, Op::OPENAT, "/x");
            }
            Step::Close(number) => {
                if let Some((fd, identity)) = self.pick(actor.table, number) {
                    self.table(&actor).remove(&fd);
                    self.script.close(&actor, fd, identity.file);
                }
            }
            Step::CloseFailing(number) => {
                let seq = self.script.seq();
                let fd = 500 + i32::from(number);
                self.script.release_at(&actor, seq, fd, 0, Op::CLOSE, 9);
            }
            Step::Dup(number) => {
                if let Some((_, identity)) = self.pick(actor.table, number) {
                    let fd = self.lowest(actor.table);
                    self.table(&actor).insert(fd, identity);
                    self.script.acquire(&actor, fd, identity, Op::DUP, "");
                }
            }
            Step::DupOver(number, target) => self.dup_over(&actor, number, i32::from(target)),
            Step::CloseRange(a, b) => {
                self.close_range(&actor, u32::from(a.min(b)), u32::from(a.max(b)))
            }
            Step::Fork(shared) => self.fork(&actor, shared == 1),
            Step::Exec => self.exec(index),
            Step::Unshare => self.unshare(index),
            Step::Exit => self.exit(index),
            Step::Map(page, pages) => {
                let (start, bytes) = (u64::from(page) << 12, u64::from(pages) << 12);
                self.script
                    .map(&actor, start, bytes, 0x21 + u32::from(page % 2), -1);
            }
            Step::Unmap(page, pages) => {
                self.script
                    .unmap(&actor, u64::from(page) << 12, u64::from(pages) << 12);
            }
            Step::Signal(signal) => self.script.signal(&actor, u32::from(signal)),
            Step::Create(name) => self.script.name(&actor, Op::MKDIR, 0o755, &path(name), ""),
            Step::Rename(old, new) => {
                self.script
                    .name(&actor, Op::RENAME, 0, &path(old), &path(new))
            }
            Step::Unlink(name) => self.script.name(&actor, Op::UNLINK, 0, &path(name), ""),
        }
    }

    fn dup_over(&mut self, actor: &Actor, number: u8, target: i32) {
        let Some((fd, identity)) = self
            .pick(actor.table, number)
            .filter(|(fd, _)| *fd != target)
        else {
            return;
        };
        assert_ne!(fd, target);
        if let Some(old) = self.table(actor).insert(target, identity) {
            let seq = self.script.seq();
            self.script
                .release_at(actor, seq, target, old.file, Op::DUP2, 0);
        }
        self.script.acquire(actor, target, identity, Op::DUP2, "");
    }

    fn close_range(&mut self, actor: &Actor, first: u32, last: u32) {
        let range = leaktrace_common::record::file::FdRange {
            first,
            last,
            begin_ns: self.script.now,
            ..Default::default()
        };
        let seq = self.script.seq();
        let kind = leaktrace_common::record::kind::FD_RANGE;
        self.script.record(actor, kind, seq, &range, &[]);
        self.table(actor)
            .retain(|fd, _| !(first..=last).contains(&(*fd as u32)));
    }

    fn fork(&mut self, parent: &Actor, shared: bool) {
        let mut child = Actor::child_of(parent, self.number());
        if shared {
            child.table = parent.table;
        } else {
            let copy = self.tables[&parent.table].clone();
            self.tables.insert(child.table, copy);
        }
        self.script.fork(parent, &child, 0);
        self.live.push(child);
    }

    fn unshare(&mut self, index: usize) {
        let old = self.live[index].table;
        let new = self.number();
        self.live[index].table = new;
        let copy = self.tables[&old].clone();
        self.tables.insert(new, copy);
        let actor = self.live[index];
        self.script.table(&actor, old);
    }

    fn exec(&mut self, index: usize) {
        let shared = |table| {
            self.live
                .iter()
                .filter(|other| other.table == table)
                .count()
                > 1
        };
        if shared(self.live[index].table) {
            self.unshare(index);
        }
        let actor = self.live[index];
        // Every third fd is close-on-exec.
        self.table(&actor).retain(|fd, _| fd % 3 != 0);
        let left = self.listed(actor.table);
        self.script.exec(&actor, &left);
    }

    fn exit(&mut self, index: usize) {
        if self.live.len() == 1 {
            return;
        }
        let actor = self.live.remove(index);
        let left = self.listed(actor.table);
        self.script.exit(&actor, 0, &left);
    }
}

fn path(name: u8) -> String {
    match name % 3 {
        0 => format!("/t/{}", name / 3),
        1 => format!("/t/{}/a", name / 3),
        _ => format!("/t/{}/a/b", name / 3),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_with_the_tables_that_a_plain_model_has(
        steps in proptest::collection::vec((0usize..8, step()), 1..120),
    ) {
        let mut world = World::new();
        for (who, step) in &steps {
            world.play(*who, step);
        }
        let mut model = Model::new(ModelConfig { samples: Samples::Kept, ..ModelConfig::default() });
        model.feed(&world.script.take());
        prop_assert_eq!(model.read().malformed, 0);
        for actor in &world.live {
            let table = &model.tables[&actor.table];
            let ours: Vec<(i32, u64)> = table
                .iter()
                .map(|(fd, slot)| (fd as i32, model.descriptions.get(slot.description).file))
                .collect();
            let plain: Vec<(i32, u64)> =
                world.listed(actor.table).into_iter().map(|(fd, file)| (fd, file.file)).collect();
            prop_assert_eq!(&ours, &plain);
            prop_assert_eq!(table.open.all as usize, plain.len());
            prop_assert!(table.displaced.is_empty() && table.parked.is_empty());
        }
        let facts = model.facts();
        prop_assert_eq!(facts.self_check.1, 0);
        // Of a shared table one process may release what another acquired: sums only.
        let mut sums: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for (kind, counts) in facts.processes.values().flat_map(|process| &process.by_kind) {
            let (acquired, released) = sums.entry(*kind).or_default();
            *acquired += counts.acquired;
            *released += counts.released;
            prop_assert!(counts.held <= counts.peak, "{:?} {:?}", kind, counts);
        }
        for (kind, (acquired, released)) in sums {
            prop_assert!(released <= acquired, "{:?}: {} of {}", kind, released, acquired);
        }
        drop(model.snapshot(Some(facts.root.unwrap())));
    }

    /// The same with records lost, doubled and out of order: nothing is right then, but
    /// nothing panics and nothing underflows.
    #[test]
    fn broken_histories_never_panic(
        steps in proptest::collection::vec((0usize..8, step()), 1..80),
        order in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..80),
    ) {
        let mut world = World::new();
        let mut batches = vec![world.script.take()];
        for (who, step) in &steps {
            world.play(*who, step);
            batches.push(world.script.take());
        }
        for (index, doubled) in order {
            let place = index.index(batches.len());
            let batch = batches.remove(place);
            if doubled {
                batches.push(batch.clone());
                batches.insert(0, batch);
            }
            if batches.is_empty() {
                break;
            }
        }
        let mut model = Model::new(ModelConfig::default());
        for batch in &batches {
            model.feed(batch);
        }
        let facts = model.facts();
        model.flush();
        let key = facts.processes.keys().next().copied();
        drop(model.snapshot(key));
    }
}
