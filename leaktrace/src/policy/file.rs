//! `leaktrace.toml` and suppression files: text to policy. What is wrong is told with its line.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    OrderMode, Policy, PolicyError,
    allow::Allow,
    date::Date,
    fail_on,
    fail_on::FailOn,
    locate::{Step, line_at, line_of},
    pattern::Pattern,
    program::{Expect, Select},
    settings::{Budgets, Changes, Rank, Section},
};
use crate::{
    model::facts::{Class, Kind},
    report::Level,
    sink::escape::shortened,
};

/// What is wrong in a file; one clause, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct FileError {
    /// From 1; none if it cannot be told.
    pub line: Option<usize>,
    /// What.
    pub text: String,
}

/// The whole of leaktrace.toml.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[schemars(title = "leaktrace.toml")]
struct Raw {
    /// Groups and rules that are errors too, as with --fail-on.
    fail_on: Vec<String>,
    /// Families whose absence makes a run inconclusive, or `all`, as with --require.
    require: Vec<String>,
    /// Lost records do not make a run inconclusive.
    allow_loss: bool,
    /// Levels by rule (LT201, held-fd) or group (held).
    levels: BTreeMap<String, Level>,
    /// How release order is judged.
    order: RawOrder,
    /// From where on something is slow, near, old or growing.
    thresholds: RawThresholds,
    /// Most that a process may hold at a time, by class (fd) or kind (tcp).
    max: BTreeMap<String, u64>,
    /// Where files are temporary.
    temp: RawTemp,
    /// What is tolerated.
    allow: Vec<RawAllow>,
    /// Programs that may stay when the run has ended.
    expect: Vec<RawExpect>,
    /// What is different for some programs.
    program: Vec<RawProgram>,
}

/// A file of suppressions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSuppressions {
    allow: Vec<RawAllow>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawOrder {
    /// instance, global, class:fds-first or class:mappings-first.
    mode: Option<String>,
    /// Priorities: what has rank 1 is released before what has rank 2.
    rank: Option<Vec<RawRank>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRank {
    /// `{ kind, class, path, local, peer }`, each a glob; or the name of a kind or class, or a
    /// glob for a path.
    #[serde(rename = "match")]
    #[schemars(with = "serde_json::Value")]
    matches: toml::Value,
    /// Place in the order.
    rank: i64,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RawThresholds {
    /// LT501: a teardown that takes longer is slow ("5s").
    slow_teardown: Option<String>,
    /// LT503: this share of RLIMIT_NOFILE, from 0 to 1, is near it (0.8).
    near_limit: Option<f64>,
    /// LT507: an operation that goes on for longer is stale ("30s").
    stale_operation: Option<String>,
    /// LT102: a younger zombie is nothing ("1s").
    zombie: Option<String>,
    /// LT505: a trend is made from at least this much time ("30s").
    growth_window: Option<String>,
    /// LT505: and from a rise by at least this many (50).
    growth_rise: Option<u64>,
    /// LT505: and told of if the limit is reached within this time ("24h").
    growth_within: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawTemp {
    /// Further temp roots; a relative one begins where the file is.
    roots: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawAllow {
    /// Id or name of the rule.
    rule: String,
    /// Why it is tolerated.
    reason: String,
    /// Last day on which it counts, as 2026-12-31.
    #[schemars(with = "Option<String>")]
    expires: Option<toml::Value>,
    /// Glob for the name of the process.
    comm: Option<String>,
    /// Glob for the path of its executable.
    exe: Option<String>,
    /// Glob for the path or name of the resource.
    path: Option<String>,
    /// Glob for its kind.
    kind: Option<String>,
    /// Glob for its ipc id, or pid.
    #[schemars(with = "Option<String>")]
    id: Option<toml::Value>,
    /// Glob for the test or other scope.
    scope: Option<String>,
    /// Globs for frames that are on the stack in this order, others between them.
    #[serde(default)]
    stack: Vec<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    /// Glob for the name of the process.
    comm: Option<String>,
    /// Glob for the path of its executable.
    exe: Option<String>,
    /// Glob for its arguments, joined by single spaces.
    argv: Option<String>,
    /// Why it may stay.
    reason: String,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RawProgram {
    /// Glob for the name of the process.
    comm: Option<String>,
    /// Glob for the path of its executable.
    exe: Option<String>,
    /// Glob for its arguments, joined by single spaces.
    argv: Option<String>,
    /// Levels that win over the general ones.
    levels: BTreeMap<String, Level>,
    /// Another order.
    order: RawOrder,
    /// Other thresholds.
    thresholds: RawThresholds,
    /// Other budgets.
    max: BTreeMap<String, u64>,
}

/// The JSON Schema of leaktrace.toml, for editors.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Raw);
    // SANITY: a JSON value always serializes.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads leaktrace.toml; `name` is what reports call it. Temp roots are as written.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(name: &str, text: &str) -> Result<Policy, FileError> {
    let raw: Raw = from_toml(text)?;
    let reader = Reader { name, text };
    reader.policy(raw)
}

/// Reads a file that has only `[[allow]]` in it.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse_suppressions(name: &str, text: &str) -> Result<Vec<Allow>, FileError> {
    let raw: RawSuppressions = from_toml(text)?;
    let reader = Reader { name, text };
    reader.allows(raw.allow)
}

/// So many brackets open at once are no policy.
const DEEPEST: usize = 64;

/// The parser goes down a level for each inline table in another, without a bound: a file of nothing
/// but `{a=` would end leaktrace by the end of its stack.
fn from_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, FileError> {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'[' => open += 1,
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > DEEPEST {
            return Err(FileError {
                line: Some(line_at(text, at)),
                text: format!("more than {DEEPEST} brackets are open here"),
            });
        }
    }
    toml::from_str(text).map_err(|error| toml_error(text, &error))
}

/// toml's message in one line; an unknown key with the nearest known one.
fn toml_error(text: &str, error: &toml::de::Error) -> FileError {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    let line = error.span().map(|span| line_at(text, span.start));
    // serde: unknown field `x`, expected one of `a`, `b`
    let mut words = message.split('`').skip(1).step_by(2);
    let text = match (message.starts_with("unknown field "), words.next()) {
        (true, Some(key)) => {
            let known: Vec<&str> = words.collect();
            let hint = fail_on::nearest(key, known.iter().copied())
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_else(|| format!(", known here are {}", known.join(", ")));
            format!("unknown key `{key}`{hint}")
        }
        _ => message,
    };
    let text = shortened(&text);
    FileError { line, text }
}

/// A file that is being read.
struct Reader<'a> {
    name: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn wrong(&self, at: &[Step<'_>], text: impl Into<String>) -> FileError {
        FileError {
            line: line_of(self.text, at),
            text: shortened(&text.into()),
        }
    }

    fn at<T>(&self, at: &[Step<'_>], result: Result<T, PolicyError>) -> Result<T, FileError> {
        result.map_err(|error| self.wrong(at, error.to_string()))
    }

    fn policy(&self, raw: Raw) -> Result<Policy, FileError> {
        let mut policy = Policy {
            allow_loss: raw.allow_loss,
            ..Policy::default()
        };
        for word in &raw.fail_on {
            let at = [Step::Key("fail-on")];
            match self.at(&at, fail_on::parse(word))? {
                FailOn::None => policy.fail_on_none = true,
                FailOn::These(words) => policy.fail_on.extend(words),
            }
        }
        for word in &raw.require {
            let families = self.at(&[Step::Key("require")], fail_on::parse_families(word))?;
            policy.require.extend(families);
        }
        let general = self.section(&[], raw.levels, raw.order, &raw.thresholds, raw.max)?;
        general.apply(&mut policy.settings);
        policy.temp_roots = raw.temp.roots.into_iter().map(String::into_bytes).collect();
        policy.allow = self.allows(raw.allow)?;
        for (i, expect) in raw.expect.into_iter().enumerate() {
            let at = [Step::Key("expect"), Step::Index(i)];
            let select = self.select(&at, [&expect.comm, &expect.exe, &expect.argv])?;
            let reason = self.reason(&at, expect.reason)?;
            let source = self.source(&at);
            policy.expect.push(Expect {
                select,
                reason,
                source,
            });
        }
        for (i, program) in raw.program.into_iter().enumerate() {
            let at = [Step::Key("program"), Step::Index(i)];
            let select = self.select(&at, [&program.comm, &program.exe, &program.argv])?;
            let RawProgram {
                levels,
                order,
                thresholds,
                max,
                ..
            } = program;
            policy.programs.push(Section {
                select,
                ..self.section(&at, levels, order, &thresholds, max)?
            });
        }
        Ok(policy)
    }

    fn section(
        &self,
        at: &[Step<'_>],
        levels: BTreeMap<String, Level>,
        order: RawOrder,
        thresholds: &RawThresholds,
        max: BTreeMap<String, u64>,
    ) -> Result<Section, FileError> {
        let mut section = Section {
            thresholds: self.thresholds(at, thresholds)?,
            ..Section::default()
        };
        for (word, level) in levels {
            let name = self.at(&below(at, &["levels", &word]), fail_on::known(&word))?;
            section.levels.insert(name, level);
        }
        if let Some(mode) = order.mode {
            let mode = OrderMode::parse(&mode)
                .map_err(|text| self.wrong(&below(at, &["order", "mode"]), text))?;
            section.order = Some(mode);
        }
        if let Some(ranks) = order.rank {
            let ranks = ranks.iter().enumerate().map(|(i, rank)| {
                let mut at = below(at, &["order", "rank"]);
                at.push(Step::Index(i));
                self.rank(&at, rank)
            });
            section.ranks = Some(ranks.collect::<Result<_, _>>()?);
        }
        for name in max.keys() {
            let known = || {
                let kinds = Kind::ALL.iter().map(|kind| kind.name());
                Class::ALL.into_iter().map(Class::name).chain(kinds)
            };
            if !known().any(|it| it == name) {
                let hint = fail_on::nearest(name, known())
                    .map(|it| format!("; did you mean `{it}`?"))
                    .unwrap_or_default();
                let text = format!("`{name}` is neither a class nor a kind of resource{hint}");
                return Err(self.wrong(&below(at, &["max", name]), text));
            }
        }
        section.budgets = Budgets { max };
        Ok(section)
    }

    fn thresholds(&self, at: &[Step<'_>], raw: &RawThresholds) -> Result<Changes, FileError> {
        let time = |key: &str, value: &Option<String>| {
            let read = |text: &String| {
                super::duration::parse(text)
                    .map_err(|why| self.wrong(&below(at, &["thresholds", key]), why))
            };
            value.as_ref().map(read).transpose()
        };
        if raw
            .near_limit
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            let at = below(at, &["thresholds", "near-limit"]);
            return Err(self.wrong(&at, "a share is a number from 0 to 1"));
        }
        Ok(Changes {
            slow_teardown: time("slow-teardown", &raw.slow_teardown)?,
            near_limit: raw.near_limit,
            stale_operation: time("stale-operation", &raw.stale_operation)?,
            zombie: time("zombie", &raw.zombie)?,
            growth_window: time("growth-window", &raw.growth_window)?,
            growth_rise: raw.growth_rise,
            growth_within: time("growth-within", &raw.growth_within)?,
        })
    }

    fn rank(&self, at: &[Step<'_>], raw: &RawRank) -> Result<Rank, FileError> {
        let mut rank = Rank {
            rank: raw.rank,
            ..Rank::default()
        };
        match &raw.matches {
            toml::Value::String(word) => {
                let pattern = Some(self.at(at, Pattern::new(word))?);
                if Class::ALL.iter().any(|class| class.name() == word) {
                    rank.class = pattern;
                } else if Kind::ALL.iter().any(|kind| kind.name() == word) {
                    rank.kind = pattern;
                } else {
                    rank.path = pattern;
                }
            }
            toml::Value::Table(table) if !table.is_empty() => {
                for (key, value) in table {
                    let text = value.as_str().ok_or_else(|| {
                        self.wrong(at, format!("`{key}` of a match is a glob in quotes"))
                    })?;
                    let pattern = Some(self.at(at, Pattern::new(text))?);
                    match key.as_str() {
                        "kind" => rank.kind = pattern,
                        "class" => rank.class = pattern,
                        "path" => rank.path = pattern,
                        "local" => rank.local = pattern,
                        "peer" => rank.peer = pattern,
                        _ => {
                            let known = "kind, class, path, local or peer";
                            let text = format!("unknown key `{key}` in a match (use {known})");
                            return Err(self.wrong(at, text));
                        }
                    }
                }
            }
            _ => {
                let text =
                    "match is a word, a glob for a path, or a table such as { kind = \"tcp\" }";
                return Err(self.wrong(at, text));
            }
        }
        Ok(rank)
    }

    fn select(&self, at: &[Step<'_>], raw: [&Option<String>; 3]) -> Result<Select, FileError> {
        let pattern = |text: &Option<String>| {
            let pattern = text.as_deref().map(Pattern::new).transpose();
            self.at(at, pattern)
        };
        let select = Select {
            comm: pattern(raw[0])?,
            exe: pattern(raw[1])?,
            argv: pattern(raw[2])?,
        };
        match select.is_empty() {
            true => Err(self.wrong(at, "which program is meant? give comm, exe or argv")),
            false => Ok(select),
        }
    }

    fn reason(&self, at: &[Step<'_>], reason: String) -> Result<String, FileError> {
        match reason.trim().is_empty() {
            true => Err(self.wrong(at, "the reason is empty; say why it is tolerated")),
            false => Ok(reason),
        }
    }

    fn source(&self, at: &[Step<'_>]) -> Option<String> {
        line_of(self.text, at).map(|line| format!("{}:{line}", self.name))
    }

    fn allows(&self, raw: Vec<RawAllow>) -> Result<Vec<Allow>, FileError> {
        raw.into_iter()
            .enumerate()
            .map(|(i, allow)| self.allow(&[Step::Key("allow"), Step::Index(i)], allow))
            .collect()
    }

    fn allow(&self, at: &[Step<'_>], raw: RawAllow) -> Result<Allow, FileError> {
        let mut allow = self.at(&below(at, &["rule"]), Allow::of_rule(&raw.rule))?;
        allow.reason = Some(self.reason(at, raw.reason)?);
        allow.source = self.source(at);
        let id = raw.id.as_ref().map(word);
        let facts = [
            ("comm", raw.comm),
            ("exe", raw.exe),
            ("path", raw.path),
            ("kind", raw.kind),
            ("id", id),
            ("scope", raw.scope),
        ];
        for (key, glob) in facts {
            if let Some(glob) = glob {
                self.at(&below(at, &[key]), allow.take(key, &glob))?;
            }
        }
        for glob in &raw.stack {
            self.at(&below(at, &["stack"]), allow.take("stack", glob))?;
        }
        if let Some(day) = &raw.expires {
            let text = word(day);
            let date = Date::parse(&text).ok_or(PolicyError::Date { text });
            allow.expires = Some(self.at(&below(at, &["expires"]), date)?);
        }
        allow.text = allow.form();
        Ok(allow)
    }
}

/// A value in quotes or without.
fn word(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn below<'a>(at: &[Step<'a>], keys: &[&'a str]) -> Vec<Step<'a>> {
    let keys = keys.iter().map(|key| Step::Key(key));
    at.iter().copied().chain(keys).collect()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
