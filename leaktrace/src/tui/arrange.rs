//! Which rows, in which order: filter, sort, tree.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    filter::Filter,
    state::{Arrangement, Direction, Row, SortKey, State},
};
use crate::{
    id::ProcessKey,
    model::snapshot::{LiveRow, Snapshot},
};

/// Computes the rows of every view anew from the picture shown.
pub fn arrange(state: &mut State) {
    let picture = state.picture();
    let rows = live(
        picture,
        &state.filter,
        state.sort,
        state.direction,
        state.arrangement,
    );
    let exits = admitted(&picture.exits, |row| {
        state.filter.admits_name(row.key.pid, &row.comm)
    });
    let residue = admitted(&picture.residue, |row| {
        state.filter.admits_name(row.creator.pid, &row.comm)
    });
    state.rows = rows;
    state.exits = exits;
    state.residue = residue;
}

fn admitted<T>(rows: &[T], admits: impl Fn(&T) -> bool) -> Vec<usize> {
    (0..rows.len()).filter(|i| admits(&rows[*i])).collect()
}

fn live(
    picture: &Snapshot,
    filter: &Filter,
    sort: SortKey,
    direction: Direction,
    arrangement: Arrangement,
) -> Vec<Row> {
    let mut order = admitted(&picture.live, |row| filter.admits(row));
    order.sort_by(|a, b| {
        let (a, b) = (&picture.live[*a], &picture.live[*b]);
        let by_column = match direction {
            Direction::Natural => compare(a, b, sort),
            Direction::Reversed => compare(b, a, sort),
        };
        // Equal rows must not change places from one picture to the next.
        by_column
            .then_with(|| b.open.cmp(&a.open))
            .then_with(|| a.key.cmp(&b.key))
    });
    match arrangement {
        Arrangement::Flat => order
            .into_iter()
            .map(|index| Row { index, depth: 0 })
            .collect(),
        Arrangement::Tree => tree(picture, &order),
    }
}

/// The natural order of a column: what asks for attention comes first.
fn compare(a: &LiveRow, b: &LiveRow, sort: SortKey) -> Ordering {
    match sort {
        SortKey::Rate => b.rate.total_cmp(&a.rate),
        SortKey::Fd => b.open.cmp(&a.open),
        SortKey::Sock => b.sockets.cmp(&a.sockets),
        SortKey::Map => b.mappings.cmp(&a.mappings),
        SortKey::Ring => b.rings.cmp(&a.rings),
        SortKey::Task => b.tasks.cmp(&a.tasks),
        SortKey::Ipc => b.ipc.cmp(&a.ipc),
        SortKey::FullIn => {
            let seconds = |row: &LiveRow| row.full_in_s.unwrap_or(f64::INFINITY);
            seconds(a).total_cmp(&seconds(b))
        }
        SortKey::Age => b.key.start.cmp(&a.key.start),
        SortKey::Pid => a.key.pid.cmp(&b.key.pid),
        SortKey::Comm => a.comm.cmp(&b.comm),
    }
}

/// Children below their parents, siblings in the given order. A process whose parent is not
/// shown stands at the left edge.
fn tree(picture: &Snapshot, order: &[usize]) -> Vec<Row> {
    let shown: BTreeSet<ProcessKey> = order.iter().map(|i| picture.live[*i].key).collect();
    let mut children: BTreeMap<ProcessKey, Vec<usize>> = BTreeMap::new();
    let mut roots = Vec::new();
    for &index in order {
        let row = &picture.live[index];
        if row.parent != row.key && shown.contains(&row.parent) {
            children.entry(row.parent).or_default().push(index);
        } else {
            roots.push(index);
        }
    }
    let mut rows = Vec::with_capacity(order.len());
    let mut stack: Vec<Row> = roots
        .into_iter()
        .rev()
        .map(|index| Row { index, depth: 0 })
        .collect();
    while let Some(row) = stack.pop() {
        rows.push(row);
        let below = children
            .remove(&picture.live[row.index].key)
            .unwrap_or_default();
        stack.extend(below.into_iter().rev().map(|index| Row {
            index,
            depth: row.depth + 1,
        }));
    }
    rows
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::{KtimeNs, Pid};

    fn key(pid: u32) -> ProcessKey {
        ProcessKey {
            pid: Pid(pid),
            start: KtimeNs(u64::from(pid)),
        }
    }

    fn row(pid: u32, parent: u32, rate: f64, open: u64) -> LiveRow {
        LiveRow {
            key: key(pid),
            parent: key(parent),
            comm: Bytes::from(format!("p{pid}")),
            rate,
            open,
            ..LiveRow::default()
        }
    }

    fn picture() -> Snapshot {
        Snapshot {
            live: vec![
                row(1, 0, 0.0, 5),
                row(2, 1, 0.0, 9),
                row(3, 2, 7.0, 1),
                row(4, 1, 1.0, 1),
                row(5, 77, -1.0, 50),
            ],
            ..Snapshot::default()
        }
    }

    fn pids(sort: SortKey, direction: Direction, arrangement: Arrangement) -> Vec<(u32, usize)> {
        let picture = picture();
        live(&picture, &Filter::default(), sort, direction, arrangement)
            .into_iter()
            .map(|row| (picture.live[row.index].key.pid.0, row.depth))
            .collect()
    }

    #[test]
    fn rows_are_sorted_and_ties_have_an_order_of_their_own() {
        let flat = |sort, direction| -> Vec<u32> {
            pids(sort, direction, Arrangement::Flat)
                .into_iter()
                .map(|(pid, _)| pid)
                .collect()
        };
        assert_eq!(flat(SortKey::Rate, Direction::Natural), [3, 4, 2, 1, 5]);
        assert_eq!(flat(SortKey::Rate, Direction::Reversed), [5, 2, 1, 4, 3]);
        assert_eq!(flat(SortKey::Fd, Direction::Natural), [5, 2, 1, 3, 4]);
        assert_eq!(flat(SortKey::Pid, Direction::Natural), [1, 2, 3, 4, 5]);
        assert_eq!(flat(SortKey::Age, Direction::Natural), [5, 4, 3, 2, 1]);
    }

    #[test]
    fn a_tree_has_every_row_once_below_its_parent() {
        assert_eq!(
            pids(SortKey::Rate, Direction::Natural, Arrangement::Tree),
            [(1, 0), (4, 1), (2, 1), (3, 2), (5, 0)]
        );
    }
}
