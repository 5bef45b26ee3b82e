//! Four or more alike resources of a process become one line: a leak of 400 connections to one
//! database reads as one thing, and the other resources stay in sight.

use std::collections::{BTreeMap, BTreeSet};

use super::format;
use crate::{
    id::KtimeNs,
    model::{
        facts::{Kind, ResourceFacts},
        snapshot::DetailRow,
    },
};

/// A group has at least this many members.
const AT_LEAST: usize = 4;
/// Of a group so many, the newest, are shown all the same.
const SHOWN: usize = 3;
/// Window of a group's rate.
const WINDOW_NS: u64 = 10_000_000_000;

/// What alike resources have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    /// Kind.
    pub kind: Kind,
    /// Directory, peer or other place in common, ready for the screen; empty if none.
    pub place: String,
}

/// One line of the detail pane.
#[derive(Clone, Debug)]
pub enum Entry<'a> {
    /// A resource.
    Resource(&'a DetailRow),
    /// The rest of a group.
    Folded(Fold),
}

/// The rest of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// What its members have in common.
    pub alike: Alike,
    /// How many are folded.
    pub count: usize,
    /// When the oldest of those with a known time was acquired.
    pub oldest: Option<KtimeNs>,
    /// Members acquired per second over the last 10 s and still held, shown ones included.
    pub per_second: f64,
}

/// The lines for these resources, which come newest first.
pub fn fold<'a>(rows: &'a [DetailRow], unfolded: &BTreeSet<Alike>, now: KtimeNs) -> Vec<Entry<'a>> {
    let mut groups: BTreeMap<Alike, Group> = BTreeMap::new();
    for row in rows {
        groups
            .entry(alike(&row.resource))
            .or_default()
            .add(row, now);
    }
    let mut entries = Vec::new();
    for row in rows {
        let key = alike(&row.resource);
        let open = unfolded.contains(&key);
        // The first loop has made an entry for every row.
        let Some(group) = groups.get_mut(&key) else {
            continue;
        };
        group.passed += 1;
        if open || group.members < AT_LEAST || group.passed <= SHOWN {
            entries.push(Entry::Resource(row));
        } else if group.passed == SHOWN + 1 {
            entries.push(Entry::Folded(group.rest(key)));
        }
    }
    entries
}

#[derive(Default)]
struct Group {
    members: usize,
    recent: usize,
    oldest: Option<KtimeNs>,
    passed: usize,
}

impl Group {
    fn add(&mut self, row: &DetailRow, now: KtimeNs) {
        self.members += 1;
        if let Some(at) = row.resource.acquired {
            self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
            let recent = now.since(at).is_some_and(|age| age < WINDOW_NS);
            self.recent += usize::from(recent);
        }
    }

    fn rest(&self, alike: Alike) -> Fold {
        Fold {
            alike,
            count: self.members - SHOWN,
            oldest: self.oldest,
            per_second: self.recent as f64 / (WINDOW_NS / 1_000_000_000) as f64,
        }
    }
}

/// The group of a resource: its kind, and the peer of a socket or the directory of a path.
pub fn alike(resource: &ResourceFacts) -> Alike {
    let place = match (&resource.peer, &resource.path, &resource.local) {
        (Some(peer), _, _) => format::text(peer),
        (None, Some(path), _) => format::name(directory(path)),
        (None, None, Some(local)) => format::text(local),
        (None, None, None) => String::new(),
    };
    Alike {
        kind: resource.kind,
        place,
    }
}

/// All before the last slash; the whole of a name without one.
fn directory(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => &path[..1],
        Some(slash) => &path[..slash],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn file(path: &'static str, at_s: u64) -> DetailRow {
        DetailRow {
            resource: ResourceFacts {
                kind: Kind::File,
                path: Some(Bytes::from_static(path.as_bytes())),
                acquired: Some(KtimeNs(at_s * 1_000_000_000)),
                ..ResourceFacts::default()
            },
            ..DetailRow::default()
        }
    }

    fn lines(rows: &[DetailRow], unfolded: &BTreeSet<Alike>) -> Vec<String> {
        fold(rows, unfolded, KtimeNs(100_000_000_000))
            .into_iter()
            .map(|entry| match entry {
                Entry::Resource(row) => format::name(row.resource.path.as_deref().unwrap_or(b"")),
                Entry::Folded(fold) => {
                    format!("{} in {} {}", fold.count, fold.alike.place, fold.per_second)
                }
            })
            .collect()
    }

    #[test]
    fn three_alike_stay_and_four_fold_behind_the_newest_three() {
        let rows = [
            file("/d/1", 99),
            file("/e/x", 98),
            file("/d/2", 97),
            file("/d/3", 50),
        ];
        assert_eq!(
            lines(&rows, &BTreeSet::new()),
            ["/d/1", "/e/x", "/d/2", "/d/3"]
        );
        let mut more = rows.to_vec();
        more.extend([file("/d/4", 40), file("/d/5", 30), file("/e/y", 20)]);
        assert_eq!(
            lines(&more, &BTreeSet::new()),
            ["/d/1", "/e/x", "/d/2", "/d/3", "2 in /d 0.2", "/e/y"]
        );
    }

    #[test]
    fn an_unfolded_group_shows_every_member() {
        let rows: Vec<_> = (0..6).map(|_| file("/d/a", 1)).collect();
        let open = BTreeSet::from([alike(&rows[0].resource)]);
        assert_eq!(lines(&rows, &open).len(), 6);
        assert_eq!(lines(&rows, &BTreeSet::new()).len(), 4);
    }

    #[test]
    fn sockets_are_alike_by_their_peer() {
        let to = |peer: &str| ResourceFacts {
            kind: Kind::Tcp,
            local: Some("10.0.0.1:5".into()),
            peer: Some(peer.into()),
            ..ResourceFacts::default()
        };
        assert_eq!(alike(&to("10.0.9.2:5432")).place, "10.0.9.2:5432");
        assert_ne!(alike(&to("a")), alike(&to("b")));
    }
}
