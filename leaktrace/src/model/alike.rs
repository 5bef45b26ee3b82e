//! Lists of what processes held at their ends: many processes end with the same, as they
//! inherited it, and then share one list.

use std::{collections::VecDeque, sync::Arc};

use super::facts::Held;

/// Lists that are remembered. Processes that are alike end one after the other, but how many refer to
/// what they inherited changes with every one of them that is there.
const LISTS: usize = 64;

/// Longer lists are not compared with others.
const LONGEST: usize = 256;

/// The last different lists, each with what tells most of them from others at once.
#[derive(Debug, Default)]
pub(super) struct Alike(VecDeque<(u64, Arc<Vec<Held>>)>);

impl Alike {
    /// The same list as before, if there was one.
    pub(super) fn list(&mut self, held: Vec<Held>) -> Arc<Vec<Held>> {
        let fits = held.len() <= LONGEST;
        let sum = sum(&held);
        let mut alike = self.0.iter().filter(|(other, _)| fits && *other == sum);
        if let Some((_, known)) = alike.find(|(_, known)| **known == held) {
            return Arc::clone(known);
        }
        let new = Arc::new(held);
        if fits {
            if self.0.len() >= LISTS {
                self.0.pop_front();
            }
            self.0.push_back((sum, Arc::clone(&new)));
        }
        new
    }
}

/// The same of lists that are the same.
fn sum(held: &[Held]) -> u64 {
    held.iter().fold(held.len() as u64, |sum, held| {
        let one = held.description.wrapping_add(u64::from(held.count));
        sum.rotate_left(7).wrapping_add(one)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::facts::Kind;

    #[test]
    fn what_is_the_same_is_kept_once() {
        let held = |kind| {
            let mut held = Held::default();
            held.resource.kind = kind;
            vec![held]
        };
        let mut alike = Alike::default();
        let first = alike.list(held(Kind::File));
        let other = alike.list(held(Kind::Pipe));
        assert!(Arc::ptr_eq(&first, &alike.list(held(Kind::File))));
        assert!(!Arc::ptr_eq(&first, &other));
        for n in 0..LISTS {
            let mut one = held(Kind::File);
            one[0].count = n as u32 + 1;
            alike.list(one);
        }
        assert_eq!(alike.0.len(), LISTS);
    }
}
