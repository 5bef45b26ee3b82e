//! What processes made that has a name or an id of its own and may outlive them.
//!
//! Names are followed through renames, of directories above them too; what is removed is
//! forgotten. Nothing here is a verdict: the census asks the kernel whether a thing is there.

use std::{
    collections::BTreeMap,
    ops::Bound::{Included, Unbounded},
};

use super::{facts::Created, path};
use crate::id::ProcessKey;

/// A name in a mount namespace.
pub(super) type NameKey = (u32, Vec<u8>);

/// A SysV object: what it is, its ipc namespace, its id.
pub(super) type IpcKey = (u32, u32, i32);

/// Entries kept when the ledger is bounded. What is forgotten is the oldest: a system-wide view
/// shows what is left lately.
const BOUND: usize = 16_384;

/// Entries kept whose place no record tells for certain.
const UNDECIDED: usize = 64;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Extent {
    /// Everything.
    #[default]
    All,
    /// The latest.
    Latest,
}

#[derive(Clone, Debug)]
struct Entry {
    created: Created,
    /// Order of creation.
    number: u64,
}

/// The ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    extent: Extent,
    names: BTreeMap<NameKey, Entry>,
    /// Files that may have a name which another has in `names`: of calls that are told late no
    /// record tells which file they took. In the end the name is looked up, and the file known by
    /// its id.
    undecided: Vec<(NameKey, Entry)>,
    ipc: BTreeMap<IpcKey, Entry>,
    queues: BTreeMap<NameKey, Entry>,
    /// Mounts by where they are; the last of several covers the others.
    mounts: BTreeMap<NameKey, Vec<Entry>>,
    next: u64,
}

impl Ledger {
    /// An empty one.
    pub(super) fn new(extent: Extent) -> Ledger {
        Ledger {
            extent,
            ..Ledger::default()
        }
    }

    /// A file, directory, socket, fifo or link was made. What had the name has it no more: the
    /// call that took it may be told after this one.
    pub(super) fn add_name(&mut self, key: NameKey, created: Created) {
        let entry = self.entry(created);
        if let Some(before) = self.names.insert(key.clone(), entry) {
            self.leave_undecided(key, before);
        }
        self.bound();
    }

    /// Keeps what may have a name. Where the name has the same file already, nothing is undecided,
    /// and what has no id could not be told from another.
    fn leave_undecided(&mut self, key: NameKey, entry: Entry) {
        let id = entry.created.resource.id;
        let has = |other: &Entry| other.created.resource.id == id;
        let mut others = self.undecided.iter();
        let known = others.any(|(at, other)| *at == key && has(other))
            || self.names.get(&key).is_some_and(has);
        if id.is_none() || known || self.extent == Extent::Latest {
            return;
        }
        if self.undecided.len() >= UNDECIDED {
            self.undecided.remove(0);
        }
        self.undecided.push((key, entry));
    }

    /// A SysV object was made.
    pub(super) fn add_ipc(&mut self, key: IpcKey, created: Created) {
        let entry = self.entry(created);
        self.ipc.insert(key, entry);
        self.bound();
    }

    /// A message queue was made.
    pub(super) fn add_queue(&mut self, key: NameKey, created: Created) {
        let entry = self.entry(created);
        self.queues.insert(key, entry);
        self.bound();
    }

    /// Something was mounted.
    pub(super) fn add_mount(&mut self, key: NameKey, created: Created) {
        if self.extent == Extent::Latest {
            return;
        }
        let entry = self.entry(created);
        self.mounts.entry(key).or_default().push(entry);
    }

    /// What was mounted last at a place was unmounted.
    pub(super) fn remove_mount(&mut self, key: &NameKey) -> Option<Created> {
        let stack = self.mounts.get_mut(key)?;
        let top = stack.pop();
        if stack.is_empty() {
            self.mounts.remove(key);
        }
        top.map(|entry| entry.created)
    }

    /// What was mounted last at a place is at another now.
    pub(super) fn move_mount(&mut self, namespace: u32, from: &[u8], to: Vec<u8>) {
        if let Some(mut moved) = self.remove_mount(&(namespace, from.to_vec())) {
            moved.resource.path = Some(to.clone().into());
            self.add_mount((namespace, to), moved);
        }
    }

    /// A name was removed by a call that began then; 0 if that is not told.
    pub(super) fn unlink_name(&mut self, key: &NameKey, begin: u64) -> Option<Created> {
        self.undecided
            .retain(|(at, entry)| at != key || entry.created.came_after(begin));
        let anew = self.name(key).is_some_and(|it| it.came_after(begin));
        (!anew).then(|| self.remove_name(key)).flatten()
    }

    /// A name is no more.
    pub(super) fn remove_name(&mut self, key: &NameKey) -> Option<Created> {
        self.names.remove(key).map(|entry| entry.created)
    }

    /// A SysV object was removed.
    pub(super) fn remove_ipc(&mut self, key: &IpcKey) -> Option<Created> {
        self.ipc.remove(key).map(|entry| entry.created)
    }

    /// A message queue was removed by a call that began then.
    pub(super) fn unlink_queue(&mut self, key: &NameKey, begin: u64) -> Option<Created> {
        let queue = self.queues.get(key)?;
        let anew = queue.created.came_after(begin);
        (!anew)
            .then(|| self.queues.remove(key))
            .flatten()
            .map(|entry| entry.created)
    }

    /// What has this name.
    pub(super) fn name(&self, key: &NameKey) -> Option<&Created> {
        self.names.get(key).map(|entry| &entry.created)
    }

    /// The SysV object with this id.
    pub(super) fn ipc(&self, key: &IpcKey) -> Option<&Created> {
        self.ipc.get(key).map(|entry| &entry.created)
    }

    /// The SysV objects of a namespace: (what, id).
    pub(super) fn sysv(&self, namespace: u32) -> Vec<(u32, i32)> {
        let keys = self.ipc.keys().filter(|(_, of, _)| *of == namespace);
        keys.map(|(what, _, id)| (*what, *id)).collect()
    }

    /// A name became another, in the same namespace, with everything below it, by a call that
    /// began then; 0 if that is not told. What had the new name is gone.
    ///
    /// What came to either name after the call had begun may have come after its effect too: it
    /// stays where it is, and may have been moved as well.
    pub(super) fn rename(&mut self, namespace: u32, old: Vec<u8>, new: Vec<u8>, begin: u64) {
        if old == new {
            return;
        }
        let came_after = |(_, entry): &(Vec<u8>, Entry)| entry.created.came_after(begin);
        let (anew, moved): (Vec<_>, Vec<_>) = self
            .take_tree(namespace, &old)
            .into_iter()
            .partition(came_after);
        let over = self.take_tree(namespace, &new);
        let over = over.into_iter().filter(came_after);
        let stays: Vec<_> = anew.iter().cloned().chain(over).collect();
        for (name, entry) in stays {
            self.names.insert((namespace, name), entry);
        }
        let earlier = self.take_undecided(namespace, &old, begin);
        self.take_undecided(namespace, &new, begin);
        let moved = moved.into_iter().chain(earlier).chain(anew);
        self.put_tree(namespace, &old, &new, moved.collect());
    }

    /// Takes what may have a name, or one below it, and came before a call began.
    fn take_undecided(&mut self, namespace: u32, top: &[u8], begin: u64) -> Vec<(Vec<u8>, Entry)> {
        let is_there = |((other, name), entry): &mut (NameKey, Entry)| {
            let there = name == top || path::is_below(name, top);
            *other == namespace && there && !entry.created.came_after(begin)
        };
        let taken = self.undecided.extract_if(.., is_there);
        taken.map(|((_, name), entry)| (name, entry)).collect()
    }

    /// Two names changed places, with everything below them.
    pub(super) fn exchange(&mut self, namespace: u32, one: Vec<u8>, other: Vec<u8>) {
        let first = self.take_tree(namespace, &one);
        let second = self.take_tree(namespace, &other);
        self.put_tree(namespace, &one, &other, first);
        self.put_tree(namespace, &other, &one, second);
    }

    /// What these made, in order of creation.
    pub(super) fn made(&self, by: impl Fn(ProcessKey) -> bool) -> Vec<Created> {
        let undecided = self.undecided.iter().map(|(_, entry)| entry);
        let made = self.decided().chain(undecided);
        let mut made: Vec<&Entry> = made.filter(|entry| by(entry.created.creator)).collect();
        made.sort_by_key(|entry| entry.number);
        made.into_iter()
            .map(|entry| entry.created.clone())
            .collect()
    }

    fn decided(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.names.values().chain(self.ipc.values());
        let entries = entries.chain(self.mounts.values().flatten());
        entries.chain(self.queues.values())
    }

    /// Everything whose place is certain, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Created> {
        let mut entries: Vec<&Entry> = self.decided().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.number));
        entries.into_iter().map(|entry| &entry.created)
    }

    fn entry(&mut self, created: Created) -> Entry {
        self.next += 1;
        Entry {
            created,
            number: self.next,
        }
    }

    /// Takes a name and all below it out.
    fn take_tree(&mut self, namespace: u32, top: &[u8]) -> Vec<(Vec<u8>, Entry)> {
        let from = (namespace, top.to_vec());
        // "/a" and "/a/b" have "/a-b" between them: what is below begins at "/a/".
        let mut below = from.clone();
        if top != b"/" {
            below.1.push(b'/');
        }
        let range = self.names.range((Included(&below), Unbounded));
        let range =
            range.take_while(|((other, name), _)| *other == namespace && path::is_below(name, top));
        let mut keys: Vec<NameKey> = range.map(|(key, _)| key.clone()).collect();
        keys.push(from);
        let taken = keys.into_iter().filter_map(|key| {
            let entry = self.names.remove(&key)?;
            Some((key.1, entry))
        });
        taken.collect()
    }

    fn put_tree(&mut self, namespace: u32, old: &[u8], new: &[u8], tree: Vec<(Vec<u8>, Entry)>) {
        for (name, mut entry) in tree {
            let mut moved = new.to_vec();
            moved.extend_from_slice(&name[old.len()..]);
            entry.created.resource.path = Some(moved.clone().into());
            entry.created.resource.kind =
                super::kind::of_created(&moved, plain(entry.created.resource.kind));
            let key = (namespace, moved);
            match self.names.contains_key(&key) {
                true => self.leave_undecided(key, entry),
                false => drop(self.names.insert(key, entry)),
            }
        }
    }

    /// Forgets the oldest half when there are too many.
    fn bound(&mut self) {
        let len = self.names.len() + self.ipc.len() + self.queues.len();
        if self.extent == Extent::All || len <= BOUND {
            return;
        }
        let keep_from = self.next - BOUND as u64 / 2;
        self.names.retain(|_, entry| entry.number > keep_from);
        self.ipc.retain(|_, entry| entry.number > keep_from);
        self.queues.retain(|_, entry| entry.number > keep_from);
    }
}

/// The kind a file has outside /dev/shm.
fn plain(kind: super::facts::Kind) -> super::facts::Kind {
    use super::facts::Kind;
    match kind {
        Kind::PosixShm | Kind::PosixSem => Kind::File,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::facts::Kind, BOUND, Created, Extent, Ledger};
    use crate::{id::ProcessKey, model::facts::ResourceFacts};

    fn file(path: &str) -> Created {
        Created {
            resource: ResourceFacts {
                kind: Kind::File,
                path: Some(path.to_owned().into()),
                ..ResourceFacts::default()
            },
            creator: ProcessKey::default(),
            namespace: 1,
            sure: true,
            exclusive: None,
            locked: false,
            mounted: None,
        }
    }

    fn ledger(paths: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        for path in paths {
            ledger.add_name((1, path.as_bytes().to_vec()), file(path));
        }
        ledger
    }

    fn paths(ledger: &Ledger) -> Vec<String> {
        let paths = ledger.names.iter().map(|((_, name), entry)| {
            assert_eq!(entry.created.resource.path.as_deref(), Some(&name[..]));
            String::from_utf8_lossy(name).into_owned()
        });
        paths.collect()
    }

    #[test]
    fn a_renamed_directory_takes_what_is_below_it_along() {
        let mut ledger = ledger(&["/t/a", "/t/a-b", "/t/a/x", "/t/a/y/z", "/t/b", "/t/b/old"]);
        ledger.rename(1, b"/t/a".to_vec(), b"/t/b".to_vec(), 0);
        assert_eq!(paths(&ledger), ["/t/a-b", "/t/b", "/t/b/x", "/t/b/y/z"]);
    }

    #[test]
    fn a_file_of_others_renamed_over_ours_ends_ours() {
        let mut ledger = ledger(&["/t/a"]);
        ledger.rename(1, b"/t/theirs".to_vec(), b"/t/a".to_vec(), 0);
        assert!(paths(&ledger).is_empty());
    }

    #[test]
    fn exchange_swaps_trees_and_another_namespace_is_left_alone() {
        let mut ledger = ledger(&["/a", "/a/1", "/b"]);
        ledger.add_name((2, b"/a".to_vec()), file("/a"));
        ledger.exchange(1, b"/a".to_vec(), b"/b".to_vec());
        assert_eq!(paths(&ledger), ["/a", "/b", "/b/1", "/a"]);
        ledger.rename(1, b"/b".to_vec(), b"/c".to_vec(), 0);
        assert_eq!(paths(&ledger), ["/a", "/c", "/c/1", "/a"]);
    }

    #[test]
    fn what_moves_out_of_dev_shm_is_a_file() {
        let mut ledger = ledger(&["/dev/shm/x"]);
        ledger.rename(1, b"/dev/shm/x".to_vec(), b"/home/x".to_vec(), 0);
        assert_eq!(ledger.made(|_| true)[0].resource.kind, Kind::File);
        ledger.rename(1, b"/home/x".to_vec(), b"/dev/shm/sem.x".to_vec(), 0);
        assert_eq!(ledger.made(|_| true)[0].resource.kind, Kind::PosixSem);
    }

    #[test]
    fn a_bounded_ledger_keeps_the_latest() {
        let mut ledger = Ledger::new(Extent::Latest);
        for number in 0..3 * BOUND {
            let path = format!("/t/{number}");
            ledger.add_name((1, path.clone().into_bytes()), file(&path));
        }
        assert!(ledger.names.len() <= BOUND);
        let last = format!("/t/{}", 3 * BOUND - 1);
        assert!(ledger.name(&(1, last.into_bytes())).is_some());
    }
}
