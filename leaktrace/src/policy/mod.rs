//! What the user tolerates: one value, handed to audit.

#![forbid(unsafe_code)]

pub mod allow;
pub mod baseline;
pub mod date;
pub mod defaults;
pub mod duration;
pub mod fail_on;
pub mod file;
pub mod fingerprint;
pub mod generate;
pub mod pattern;
pub mod program;
pub mod settings;
pub mod show;

mod locate;

use std::borrow::Cow;

use self::{
    program::{Expect, Program},
    settings::{Section, Settings},
};
use crate::{
    audit::rule::RuleInfo,
    model::{
        conduct::Budget,
        facts::{Class, Kind},
    },
    report::Level,
};

/// Everything that decides how observations are judged.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `--fail-on`: groups and rules (ids or names) raised to error.
    pub fail_on: Vec<String>,
    /// `--fail-on none`: every rule is a note.
    pub fail_on_none: bool,
    /// `--allow` and `[[allow]]`.
    pub allow: Vec<allow::Allow>,
    /// `--baseline`: what is known.
    pub baseline: Option<baseline::Baseline>,
    /// Whether suppressions that are of no use fail the run.
    pub strictness: Strictness,
    /// The file that was read: path and SHA-256.
    pub file: Option<(String, String)>,
    /// Known caches and daemons.
    pub known: defaults::Known,
    /// What holds for all programs.
    pub settings: Settings,
    /// `[[program]]`: what is different for some; a later one speaks last.
    pub programs: Vec<Section>,
    /// `[[expect]]`: who may stay.
    pub expect: Vec<Expect>,
    /// `temp.roots`: further temp roots, absolute.
    pub temp_roots: Vec<Vec<u8>>,
    /// `--require`: families (or `all`) whose absence is inconclusive.
    pub require: Vec<String>,
    /// `--allow-loss`: loss does not make the run inconclusive.
    pub allow_loss: bool,
}

/// What becomes of suppressions that nothing matched or whose day is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// They are reported.
    #[default]
    Report,
    /// They fail the run (`--strict-suppressions`).
    Fail,
}

/// Order modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderMode {
    /// Last in, first out within a class.
    #[default]
    Instance,
    /// Reverse acquisition over all kinds.
    Global,
    /// fd, socket, signal, ring, task, ipc, mapping, memory.
    FdsFirst,
    /// mapping, memory, task, ring, signal, ipc, socket, fd.
    MappingsFirst,
}

impl OrderMode {
    /// Every mode.
    pub const ALL: [OrderMode; 4] = [
        OrderMode::Instance,
        OrderMode::Global,
        OrderMode::FdsFirst,
        OrderMode::MappingsFirst,
    ];

    /// The mode of this name.
    ///
    /// # Errors
    /// A clause with the modes there are.
    pub fn parse(text: &str) -> Result<OrderMode, String> {
        let found = OrderMode::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| {
            let names = OrderMode::ALL.map(OrderMode::name).join(", ");
            format!("unknown order mode `{text}`, use {names}")
        })
    }

    /// The name used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            OrderMode::Instance => "instance",
            OrderMode::Global => "global",
            OrderMode::FdsFirst => "class:fds-first",
            OrderMode::MappingsFirst => "class:mappings-first",
        }
    }
}

/// A word of the policy that means nothing. Each is one sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not a rule.
    #[error("`{word}` is not a rule{hint}")]
    Rule {
        /// As given.
        word: String,
        /// A clause with the nearest one.
        hint: String,
    },
    /// Neither a group nor a rule.
    #[error("`{word}` is neither a group nor a rule{hint}")]
    Word {
        /// As given.
        word: String,
        /// A clause with the nearest one.
        hint: String,
    },
    /// Not a family.
    #[error("`{word}` is not a family{hint}")]
    Family {
        /// As given.
        word: String,
        /// A clause with the nearest one.
        hint: String,
    },
    /// A rule without a check yet.
    #[error("rule {rule} is known but not judged by this version, so it cannot fail a run")]
    RuleNotJudged {
        /// Id and name.
        rule: String,
    },
    /// A group of such rules.
    #[error("no rule of group `{group}` is judged by this version, so it cannot fail a run")]
    GroupNotJudged {
        /// Its name.
        group: String,
    },
    /// `none` among others.
    #[error("`none` cannot be combined with other words")]
    NoneWithOthers,
    /// An unknown key.
    #[error("`{key}` is not a fact of a finding (use comm, exe, path, kind, id, scope or stack)")]
    Key {
        /// As given.
        key: String,
    },
    /// No `=`.
    #[error("`{text}` is not of the form RULE[:key=glob]")]
    Shape {
        /// As given.
        text: String,
    },
    /// Not a day.
    #[error("`{text}` is not a day, write it as 2026-12-31")]
    Date {
        /// As given.
        text: String,
    },
    /// Not a glob.
    #[error("the glob `{glob}` does not parse: {why}")]
    Glob {
        /// As given.
        glob: String,
        /// globset's clause.
        why: String,
    },
}

impl Policy {
    /// Takes one `--fail-on` argument.
    ///
    /// # Errors
    /// See [`fail_on::parse`].
    pub fn add_fail_on(&mut self, text: &str) -> Result<(), PolicyError> {
        match fail_on::parse(text)? {
            fail_on::FailOn::None => self.fail_on_none = true,
            fail_on::FailOn::These(words) => self.fail_on.extend(words),
        }
        Ok(())
    }

    /// Takes one `--allow` argument.
    ///
    /// # Errors
    /// See [`allow::Allow::parse`].
    pub fn add_allow(&mut self, text: &str) -> Result<(), PolicyError> {
        self.allow.push(allow::Allow::parse(text)?);
        Ok(())
    }

    /// Takes one `--require` argument.
    ///
    /// # Errors
    /// See [`fail_on::parse_families`].
    pub fn add_require(&mut self, text: &str) -> Result<(), PolicyError> {
        self.require.extend(fail_on::parse_families(text)?);
        Ok(())
    }

    /// What holds for a program.
    pub fn settings(&self, program: &Program<'_>) -> Cow<'_, Settings> {
        let mut settings = Cow::Borrowed(&self.settings);
        for section in &self.programs {
            if section.select.fits(program) {
                section.apply(settings.to_mut());
            }
        }
        settings
    }

    /// The level of a rule where these settings hold; `default` is the rule's own, or the
    /// observation's.
    pub fn level(&self, settings: &Settings, rule: &RuleInfo, default: Level) -> Level {
        if self.fail_on_none {
            return default.min(Level::Note);
        }
        let group = rule.group.name();
        let named = self
            .fail_on
            .iter()
            .any(|word| word == rule.id || word == rule.name || word == group);
        match named {
            true => Level::Error,
            false => settings.level(rule.id, group).unwrap_or(default),
        }
    }

    /// Every budget that holds for any program, each once.
    pub fn all_budgets(&self) -> Vec<Budget> {
        let of_programs = self.programs.iter().map(|section| &section.budgets);
        let all = of_programs.chain([&self.settings.budgets]);
        let all = all.flat_map(|budgets| &budgets.max);
        let kinds = Kind::ALL.iter().map(|kind| kind.name());
        let names: Vec<&'static str> = kinds.chain(Class::ALL.map(Class::name)).collect();
        let mut budgets: Vec<Budget> = all
            .filter_map(|(name, most)| {
                let of = *names.iter().find(|known| *known == name)?;
                Some(Budget { of, most: *most })
            })
            .collect();
        budgets.sort();
        budgets.dedup();
        budgets
    }

    /// The highest level that a rule has for any program.
    pub fn highest_level(&self, rule: &RuleInfo) -> Level {
        let of_sections = self.programs.iter().map(|section| {
            let mut settings = self.settings.clone();
            section.apply(&mut settings);
            self.level(&settings, rule, rule.level)
        });
        let general = self.level(&self.settings, rule, rule.level);
        of_sections.fold(general, Level::max)
    }
}
