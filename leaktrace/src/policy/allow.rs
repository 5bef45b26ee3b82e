//! Suppressions: by the facts of a finding first, by its stack second. `[[allow]]` and
//! `--allow RULE[:key=glob,…]` are two spellings of one form.

use super::{PolicyError, date::Date, fail_on, pattern::Pattern};

/// One suppression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// In the form of the command line.
    pub text: String,
    /// Rule id.
    pub rule: String,
    /// Facts that must match, all of them.
    pub facts: Vec<(Key, Pattern)>,
    /// Frames that must be on the stack of the acquisition, in this order, others between them.
    pub stack: Vec<Pattern>,
    /// Why it is tolerated; files must say.
    pub reason: Option<String>,
    /// The last day on which it counts.
    pub expires: Option<Date>,
    /// `leaktrace.toml:12`; none if it came on the command line.
    pub source: Option<String>,
}

macro_rules! keys {
    ($($name:ident, $text:literal, $what:literal;)*) => {
        /// Facts of a finding that a suppression may name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Key {
            $(#[doc = $what] $name,)*
        }
        impl Key {
            /// Every key.
            pub const ALL: &'static [Key] = &[$(Key::$name,)*];
            /// As written.
            pub fn name(self) -> &'static str {
                match self { $(Key::$name => $text,)* }
            }
        }
    };
}

keys! {
    Comm, "comm", "Name of the finding's process.";
    Exe, "exe", "Path of its executable.";
    Path, "path", "Path or name of the resource.";
    Kind, "kind", "Kind of the resource.";
    Id, "id", "ipc id, or pid.";
    Scope, "scope", "Test or other scope.";
}

impl Key {
    /// The key of this name.
    pub fn parse(name: &str) -> Option<Key> {
        Key::ALL.iter().copied().find(|key| key.name() == name)
    }
}

/// Words besides the keys that the command line takes.
const STACK: &str = "stack";
const REASON: &str = "reason";
const EXPIRES: &str = "expires";

impl Allow {
    /// A suppression of everything of one rule.
    ///
    /// # Errors
    /// An unknown rule.
    pub fn of_rule(rule: &str) -> Result<Allow, PolicyError> {
        Ok(Allow {
            text: rule.to_owned(),
            rule: fail_on::rule(rule)?.id.to_owned(),
            ..Allow::default()
        })
    }

    /// Reads `RULE[:key=glob[,key=glob…]]`. A comma that is not before a key belongs to the glob;
    /// in the glob `*` matches `/` too.
    ///
    /// # Errors
    /// An unknown rule, an unknown key, a glob that does not parse, or no such day.
    pub fn parse(text: &str) -> Result<Allow, PolicyError> {
        let (rule, facts) = match text.split_once(':') {
            Some((rule, facts)) => (rule, Some(facts)),
            None => (text, None),
        };
        let mut allow = Allow::of_rule(rule)?;
        allow.text = text.to_owned();
        for fact in facts.map(split).unwrap_or_default() {
            let (key, value) = fact.split_once('=').ok_or_else(|| PolicyError::Shape {
                text: text.to_owned(),
            })?;
            allow.take(key, value)?;
        }
        Ok(allow)
    }

    pub(super) fn take(&mut self, key: &str, value: &str) -> Result<(), PolicyError> {
        match key {
            STACK => self.stack.push(Pattern::new(value)?),
            REASON => self.reason = Some(value.to_owned()),
            EXPIRES => {
                let date = Date::parse(value).ok_or_else(|| PolicyError::Date {
                    text: value.to_owned(),
                })?;
                self.expires = Some(date);
            }
            _ => {
                let known = Key::parse(key).ok_or_else(|| PolicyError::Key {
                    key: key.to_owned(),
                })?;
                self.facts.push((known, Pattern::new(value)?));
            }
        }
        Ok(())
    }

    /// Its facts in the form of the command line.
    pub fn form(&self) -> String {
        let facts = self.facts.iter().map(|(key, glob)| (key.name(), glob));
        let frames = self.stack.iter().map(|glob| (STACK, glob));
        let words: Vec<String> = facts
            .chain(frames)
            .map(|(key, glob)| format!("{key}={}", glob.text()))
            .collect();
        match words.is_empty() {
            true => self.rule.clone(),
            false => format!("{}:{}", self.rule, words.join(",")),
        }
    }

    /// Whether its last day is over.
    pub fn is_expired(&self, today: Date) -> bool {
        self.expires.is_some_and(|expires| expires < today)
    }

    /// Whether it is about this.
    pub fn fits(&self, subject: &Subject<'_>) -> bool {
        self.rule == subject.rule
            && self.facts.iter().all(|(key, glob)| {
                let value = subject.fact(*key);
                value.is_some_and(|value| glob.matches(value.as_bytes()))
            })
            && self.is_on(subject.stack)
    }

    fn is_on(&self, stack: &[String]) -> bool {
        let mut frames = stack.iter();
        self.stack
            .iter()
            .all(|glob| frames.any(|frame| is_at(glob, frame)))
    }
}

/// Whether a glob is for a frame: for its function, or for all that is known of it.
fn is_at(glob: &Pattern, frame: &str) -> bool {
    glob.matches(function(frame).as_bytes()) || glob.matches(frame.as_bytes())
}

/// The function of a frame: `open_cache` of `open_cache at /repo/cache.c:12` and of
/// `open_cache in /usr/lib/libcache.so`.
pub fn function(frame: &str) -> &str {
    let end = [" at /", " in /"]
        .iter()
        .filter_map(|word| frame.find(word));
    frame.split_at(end.min().unwrap_or(frame.len())).0
}

/// Splits at commas that a key and `=` follow.
fn split(facts: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (comma, _) in facts.match_indices(',') {
        let word = facts[comma + 1..].split('=').next().unwrap_or_default();
        let is_key = Key::parse(word).is_some() || [STACK, REASON, EXPIRES].contains(&word);
        if is_key && facts[comma + 1..].contains('=') {
            parts.push(&facts[begin..comma]);
            begin = comma + 1;
        }
    }
    parts.push(&facts[begin..]);
    parts
}

/// What a suppression is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Rule id.
    pub rule: &'a str,
    /// comm of the finding's process.
    pub comm: &'a str,
    /// Its executable.
    pub exe: Option<&'a str>,
    /// Path of the resource.
    pub path: Option<&'a str>,
    /// Kind of the resource.
    pub kind: &'a str,
    /// ipc id, or pid, as text.
    pub id: Option<&'a str>,
    /// Test or other scope.
    pub scope: Option<&'a str>,
    /// Stack of the acquisition, innermost first.
    pub stack: &'a [String],
}

impl<'a> Subject<'a> {
    fn fact(&self, key: Key) -> Option<&'a str> {
        match key {
            Key::Comm => Some(self.comm),
            Key::Exe => self.exe,
            Key::Path => self.path,
            Key::Kind => Some(self.kind),
            Key::Id => self.id,
            Key::Scope => self.scope,
        }
    }
}

/// The first suppression that fits and has not expired, by its place in the list.
pub fn find(allows: &[Allow], subject: &Subject<'_>, today: Date) -> Option<usize> {
    allows
        .iter()
        .position(|allow| !allow.is_expired(today) && allow.fits(subject))
}

#[cfg(test)]
#[path = "allow_tests.rs"]
mod tests;
