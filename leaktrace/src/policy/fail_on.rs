//! `--fail-on` and the words that name rules, groups and families.

use leaktrace_common::record::Family;

use super::PolicyError;
use crate::audit::rule::{self, Group, RuleInfo, Status};

/// What `--fail-on` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// `none`: every rule is a note.
    None,
    /// Groups, and ids of rules, raised to error.
    These(Vec<String>),
}

/// Reads `GROUP|RULE,…` or `none`.
///
/// # Errors
/// An unknown word, with the nearest known one, and rules or groups that this version does not
/// judge: a gate that can never close must not look like one.
pub fn parse(text: &str) -> Result<FailOn, PolicyError> {
    if text.trim() == "none" {
        return Ok(FailOn::None);
    }
    text.split(',')
        .map(|word| one(word.trim()))
        .collect::<Result<_, _>>()
        .map(FailOn::These)
}

fn one(word: &str) -> Result<String, PolicyError> {
    if word == "none" {
        return Err(PolicyError::NoneWithOthers);
    }
    if let Some(group) = Group::ALL.into_iter().find(|group| group.name() == word) {
        let judged = |info: &&RuleInfo| info.group == group && info.status() == Status::Judged;
        return match rule::ALL.iter().copied().any(|info| judged(&info)) {
            true => Ok(word.to_owned()),
            false => Err(PolicyError::GroupNotJudged {
                group: word.to_owned(),
            }),
        };
    }
    let info = find(word).ok_or_else(|| PolicyError::Word {
        word: word.to_owned(),
        hint: hint(word, names().chain(Group::ALL.map(Group::name))),
    })?;
    match info.status() {
        Status::Judged => Ok(info.id.to_owned()),
        Status::Planned => Err(PolicyError::RuleNotJudged {
            rule: format!("{} {}", info.id, info.name),
        }),
    }
}

/// Reads `FAMILY,…` or `all`, as for `--require`.
///
/// # Errors
/// An unknown family, with the nearest known one.
pub fn parse_families(text: &str) -> Result<Vec<String>, PolicyError> {
    let known = || Family::ALL.map(Family::name).into_iter().chain(["all"]);
    text.split(',')
        .map(|word| {
            let word = word.trim();
            match known().find(|name| *name == word) {
                Some(name) => Ok(name.to_owned()),
                None => Err(PolicyError::Family {
                    word: word.to_owned(),
                    hint: hint(word, known()),
                }),
            }
        })
        .collect()
}

/// The rule with this id (in any case) or name.
pub(crate) fn find(word: &str) -> Option<&'static RuleInfo> {
    rule::ALL
        .iter()
        .copied()
        .find(|info| info.id.eq_ignore_ascii_case(word) || info.name == word)
}

/// As [`find`], with the nearest rule in the error.
pub(crate) fn rule(word: &str) -> Result<&'static RuleInfo, PolicyError> {
    find(word).ok_or_else(|| PolicyError::Rule {
        word: word.to_owned(),
        hint: hint(word, names()),
    })
}

fn names() -> impl Iterator<Item = &'static str> {
    rule::ALL.iter().flat_map(|info| [info.id, info.name])
}

fn hint(word: &str, known: impl Iterator<Item = &'static str>) -> String {
    match nearest(word, known) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => " (`leaktrace explain` lists them)".to_owned(),
    }
}

/// The known word that a wrong one may have been meant for.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    known
        .map(|name| (distance(&lower, &name.to_ascii_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 3 && *distance < word.chars().count())
        .map(|(_, name)| name)
}

/// A group's name, or the id of a rule, judged or not.
///
/// # Errors
/// An unknown word, with the nearest known one.
pub(crate) fn known(word: &str) -> Result<String, PolicyError> {
    if Group::ALL.into_iter().any(|group| group.name() == word) {
        return Ok(word.to_owned());
    }
    match find(word) {
        Some(info) => Ok(info.id.to_owned()),
        None => Err(PolicyError::Word {
            word: word.to_owned(),
            hint: hint(word, names().chain(Group::ALL.map(Group::name))),
        }),
    }
}

/// Edits from one word to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn groups_ids_and_names_are_taken() {
        let words = |text| parse(text).unwrap();
        assert_eq!(words("none"), FailOn::None);
        assert_eq!(
            words("residue, lt301,term-ignored"),
            FailOn::These(vec!["residue".into(), "LT301".into(), "LT502".into()])
        );
    }

    #[test]
    fn a_wrong_word_gets_the_nearest_right_one() {
        assert_eq!(
            error("resdue"),
            "`resdue` is neither a group nor a rule; did you mean `residue`?"
        );
        assert_eq!(
            error("order-instace"),
            "`order-instace` is neither a group nor a rule; did you mean `order-instance`?"
        );
        assert_eq!(
            error("xyzzy"),
            "`xyzzy` is neither a group nor a rule (`leaktrace explain` lists them)"
        );
    }

    #[test]
    fn what_is_not_judged_cannot_be_a_gate() {
        let planned = rule::ALL.iter();
        for info in planned.filter(|info| info.status() == Status::Planned) {
            let refusal = format!(
                "rule {} {} is known but not judged by this version, so it cannot fail a run",
                info.id, info.name
            );
            assert_eq!(error(info.id), refusal);
        }
        assert!(error("none,held").contains("none"));
    }

    #[test]
    fn families_are_checked() {
        assert_eq!(parse_families("ring,all").unwrap(), ["ring", "all"]);
        assert_eq!(
            parse_families("rng").unwrap_err().to_string(),
            "`rng` is not a family; did you mean `ring`?"
        );
    }
}
