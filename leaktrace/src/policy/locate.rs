//! Lines of things in a TOML text, for messages.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One step from a table or array to what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Of a table.
    Key(&'a str),
    /// Of an array.
    Index(usize),
}

/// The line, from 1, of a byte.
pub(crate) fn line_at(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().iter().take(byte);
    before.filter(|byte| **byte == b'\n').count() + 1
}

/// The line of what the steps lead to, or of the last step that leads anywhere.
pub(crate) fn line_of(text: &str, steps: &[Step<'_>]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let (first, rest) = steps.split_first()?;
    let Step::Key(key) = first else { return None };
    let (mut start, mut value) = entry(table.get_ref(), key)?;
    for step in rest {
        let next = match (step, value.get_ref()) {
            (Step::Key(key), DeValue::Table(table)) => entry(table, key),
            (Step::Index(i), DeValue::Array(array)) => {
                array.get(*i).map(|value| (value.span().start, value))
            }
            (Step::Key(_) | Step::Index(_), _) => None,
        };
        let Some(next) = next else { break };
        (start, value) = next;
    }
    Some(line_at(text, start))
}

fn entry<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<(usize, &'a Spanned<DeValue<'i>>)> {
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
    Some((name.span().start, value))
}
