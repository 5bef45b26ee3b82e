//! What a policy may say of all programs, and differently of some.

use std::{collections::BTreeMap, time::Duration};

use super::{OrderMode, pattern::Pattern, program::Select};
use crate::{
    model::facts::{Class, Kind},
    report::{Level, Resource},
};

/// How observations of a program are judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Levels by id of a rule, or by group.
    pub levels: BTreeMap<String, Level>,
    /// How order is judged.
    pub order: OrderMode,
    /// Priorities of releases; empty: none, and LT304 judges nothing.
    pub ranks: Vec<Rank>,
    /// From where on something is slow, near, old or growing.
    pub thresholds: Thresholds,
    /// Most that a process may hold at a time.
    pub budgets: Budgets,
}

impl Settings {
    /// The level that these settings give a rule, by its id or else by its group.
    pub fn level(&self, rule: &str, group: &str) -> Option<Level> {
        self.levels
            .get(rule)
            .or_else(|| self.levels.get(group))
            .copied()
    }
}

/// `[[order.rank]]`: what matches must have been released before everything of a higher rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rank {
    /// Place in the order: 1 is released before 2. Resources that match no rank take no part.
    pub rank: i64,
    /// Kind, as in reports.
    pub kind: Option<Pattern>,
    /// Class.
    pub class: Option<Pattern>,
    /// Path or name.
    pub path: Option<Pattern>,
    /// Local address of a socket.
    pub local: Option<Pattern>,
    /// Peer address of a socket.
    pub peer: Option<Pattern>,
}

impl Rank {
    /// Whether a resource is of this rank: all globs that are given match.
    pub fn fits(&self, resource: &Resource) -> bool {
        let fits = |pattern: &Option<Pattern>, text: Option<&str>| match (pattern, text) {
            (None, _) => true,
            (Some(pattern), Some(text)) => pattern.matches(text.as_bytes()),
            (Some(_), None) => false,
        };
        fits(&self.kind, Some(&resource.kind))
            && fits(&self.class, Some(&resource.class))
            && fits(&self.path, resource.path.as_deref())
            && fits(&self.local, resource.local.as_deref())
            && fits(&self.peer, resource.peer.as_deref())
    }
}

/// The rank of a resource: that of the first entry that fits.
pub fn rank(ranks: &[Rank], resource: &Resource) -> Option<i64> {
    ranks
        .iter()
        .find(|rank| rank.fits(resource))
        .map(|rank| rank.rank)
}

/// `[thresholds]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// LT501: a teardown that takes longer is slow.
    pub slow_teardown: Duration,
    /// LT503: this share of RLIMIT_NOFILE, from 0 to 1, is near it.
    pub near_limit: f64,
    /// LT507: an operation that has been going on for longer is stale.
    pub stale_operation: Duration,
    /// LT102: a child that has been a zombie for less is nothing.
    pub zombie: Duration,
    /// LT505: a trend is made from at least this much time.
    pub growth_window: Duration,
    /// LT505: and from a rise by at least this many.
    pub growth_rise: u64,
    /// LT505: and tells of growth if the limit is reached within this time.
    pub growth_within: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            slow_teardown: Duration::from_secs(5),
            near_limit: 0.8,
            stale_operation: Duration::from_secs(30),
            zombie: Duration::from_secs(1),
            growth_window: Duration::from_secs(30),
            growth_rise: 50,
            growth_within: Duration::from_secs(24 * 3600),
        }
    }
}

/// `[max]`: most at a time, by the name of a class or kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// By name.
    pub max: BTreeMap<String, u64>,
}

impl Budgets {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.max.is_empty()
    }

    /// The budget of a kind.
    pub fn of_kind(&self, kind: Kind) -> Option<u64> {
        self.max.get(kind.name()).copied()
    }

    /// The budget of a class.
    pub fn of_class(&self, class: Class) -> Option<u64> {
        self.max.get(class.name()).copied()
    }
}

/// `[[program]]`: what is different for some programs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Which.
    pub select: Select,
    /// Levels that win over the general ones.
    pub levels: BTreeMap<String, Level>,
    /// Another order mode.
    pub order: Option<OrderMode>,
    /// Other ranks; they replace the general ones.
    pub ranks: Option<Vec<Rank>>,
    /// Other thresholds.
    pub thresholds: Changes,
    /// Budgets that win over the general ones.
    pub budgets: Budgets,
}

/// Thresholds that are different.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changes {
    /// See [`Thresholds`].
    pub slow_teardown: Option<Duration>,
    /// See [`Thresholds`].
    pub near_limit: Option<f64>,
    /// See [`Thresholds`].
    pub stale_operation: Option<Duration>,
    /// See [`Thresholds`].
    pub zombie: Option<Duration>,
    /// See [`Thresholds`].
    pub growth_window: Option<Duration>,
    /// See [`Thresholds`].
    pub growth_rise: Option<u64>,
    /// See [`Thresholds`].
    pub growth_within: Option<Duration>,
}

impl Changes {
    /// Puts what is different into effect.
    pub fn apply(&self, to: &mut Thresholds) {
        fn set<T: Copy>(to: &mut T, from: Option<T>) {
            if let Some(value) = from {
                *to = value;
            }
        }
        set(&mut to.slow_teardown, self.slow_teardown);
        set(&mut to.near_limit, self.near_limit);
        set(&mut to.stale_operation, self.stale_operation);
        set(&mut to.zombie, self.zombie);
        set(&mut to.growth_window, self.growth_window);
        set(&mut to.growth_rise, self.growth_rise);
        set(&mut to.growth_within, self.growth_within);
    }
}

impl Section {
    /// Puts what is different into effect. A level for a group also replaces what was said of
    /// its rules before: a section speaks last.
    pub fn apply(&self, settings: &mut Settings) {
        for (word, level) in &self.levels {
            settings.levels.retain(|known, _| !is_rule_of(known, word));
            settings.levels.insert(word.clone(), *level);
        }
        settings.order = self.order.unwrap_or(settings.order);
        if let Some(ranks) = &self.ranks {
            settings.ranks.clone_from(ranks);
        }
        self.thresholds.apply(&mut settings.thresholds);
        let budgets = self.budgets.max.iter();
        let budgets = budgets.map(|(name, most)| (name.clone(), *most));
        settings.budgets.max.extend(budgets);
    }
}

/// Whether a word is the id of a rule of this group.
fn is_rule_of(word: &str, group: &str) -> bool {
    crate::audit::rule::ALL
        .iter()
        .any(|info| info.id == word && info.group.name() == group)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::policy::{Policy, program::Program};

    fn select(comm: &str) -> Select {
        Select {
            comm: Some(Pattern::new(comm).unwrap()),
            ..Select::default()
        }
    }

    #[test]
    fn a_section_changes_what_it_names_for_its_programs_only() {
        let mut policy = Policy::default();
        policy.settings.levels.insert("LT201".into(), Level::Error);
        policy.settings.budgets.max.insert("fd".into(), 10);
        policy.programs = vec![Section {
            select: select("cc*"),
            levels: BTreeMap::from([("held".to_owned(), Level::Note)]),
            thresholds: Changes {
                zombie: Some(Duration::from_secs(9)),
                ..Changes::default()
            },
            budgets: Budgets {
                max: BTreeMap::from([("socket".to_owned(), 1)]),
            },
            ..Section::default()
        }];
        let of = |comm: &'static str| {
            policy.settings(&Program {
                comm: comm.as_bytes(),
                ..Program::default()
            })
        };
        let other = of("ld");
        assert_eq!(other.level("LT201", "held"), Some(Level::Error));
        assert_eq!(other.thresholds, Thresholds::default());
        let cc1 = of("cc1");
        assert_eq!(cc1.level("LT201", "held"), Some(Level::Note));
        assert_eq!(cc1.level("LT109", "residue"), None);
        assert_eq!(cc1.thresholds.zombie, Duration::from_secs(9));
        assert_eq!(cc1.thresholds.near_limit, 0.8);
        assert_eq!(cc1.budgets.of_class(Class::Fd), Some(10));
        assert_eq!(cc1.budgets.of_class(Class::Socket), Some(1));
    }

    #[test]
    fn the_first_rank_that_fits_counts() {
        let entry = |rank, kind: &str| Rank {
            rank,
            kind: Some(Pattern::new(kind).unwrap()),
            ..Rank::default()
        };
        let ranks = [entry(1, "tcp"), entry(2, "*")];
        let kind = |kind: &str| Resource {
            kind: kind.to_owned(),
            ..Resource::default()
        };
        assert_eq!(rank(&ranks, &kind("tcp")), Some(1));
        assert_eq!(rank(&ranks, &kind("udp")), Some(2));
        assert_eq!(rank(&ranks[..1], &kind("udp")), None);
    }
}
