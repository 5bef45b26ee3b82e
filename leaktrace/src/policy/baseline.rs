//! The baseline: a file of known findings. With it only what is new fails.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fingerprint::{self, Identity, could_be_same};
use crate::sink::escape::shortened;

/// Name of the format; another one is refused.
pub const SCHEMA: &str = "leaktrace.baseline/1";

/// Known findings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// Where it was read; empty if nowhere.
    pub path: String,
    /// By fingerprint.
    pub known: Vec<Known>,
}

/// One known finding. All but the fingerprint is for people and for telling which of several
/// alike is new.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its fingerprint.
    pub fingerprint: String,
    /// Rule id.
    pub rule: String,
    /// Its program.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// The script that ran.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub script: String,
    /// Test or other scope.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Kind of the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Where the resource was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// The other one of an order breach.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub other: String,
    /// Further facts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    findings: Vec<Known>,
}

/// Why a baseline cannot be used; a clause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaselineError {
    /// Not JSON, or not of this form.
    #[error("{0}")]
    Json(String),
    /// Another format.
    #[error(
        "its schema is `{found}`, this leaktrace reads `{SCHEMA}`; write it anew with --write-baseline"
    )]
    Schema {
        /// What it says.
        found: String,
    },
    /// Something that is no fingerprint.
    #[error("`{text}` is not a fingerprint; write the file anew with --write-baseline")]
    Fingerprint {
        /// As given.
        text: String,
    },
    /// One fingerprint twice: two runs' files pasted together.
    #[error("the fingerprint {text} is there twice; write the file anew with --write-baseline")]
    Twice {
        /// As given.
        text: String,
    },
}

impl Known {
    fn new(fingerprint: String, identity: Identity) -> Known {
        let Identity {
            rule,
            program,
            script,
            scope,
            kind,
            place,
            other,
            detail,
        } = identity;
        Known {
            fingerprint,
            rule,
            program,
            script,
            scope,
            kind,
            place,
            other,
            detail,
        }
    }
}

impl Baseline {
    /// Reads a file's text.
    ///
    /// # Errors
    /// See [`BaselineError`].
    pub fn parse(path: &str, text: &str) -> Result<Baseline, BaselineError> {
        let json = |error: serde_json::Error| BaselineError::Json(shortened(&error.to_string()));
        let file: File = serde_json::from_str(text).map_err(json)?;
        if file.schema != SCHEMA {
            let found = shortened(&file.schema);
            return Err(BaselineError::Schema { found });
        }
        let mut known = file.findings;
        known.sort();
        for (i, entry) in known.iter().enumerate() {
            let text = shortened(&entry.fingerprint);
            if fingerprint::parse(&entry.fingerprint).is_none() {
                return Err(BaselineError::Fingerprint { text });
            }
            if i > 0 && known[i - 1].fingerprint == entry.fingerprint {
                return Err(BaselineError::Twice { text });
            }
        }
        Ok(Baseline {
            path: path.to_owned(),
            known,
        })
    }

    /// Of observations and their fingerprints, in any order.
    pub fn of(named: impl IntoIterator<Item = (String, Identity)>) -> Baseline {
        let mut known: Vec<Known> = named
            .into_iter()
            .map(|(fingerprint, identity)| Known::new(fingerprint, identity))
            .collect();
        known.sort();
        Baseline {
            path: String::new(),
            known,
        }
    }

    /// The file's text: sorted, one fact a line, so that changes of it read well.
    pub fn write(&self) -> String {
        let file = File {
            schema: SCHEMA.to_owned(),
            findings: self.known.clone(),
        };
        // SANITY: strings in structs, which always serialize.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// What is asked about an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether it is known.
    Known,
    /// Its fingerprint only: something else covers it.
    NameOnly,
}

/// What a baseline says of the observations of one rule.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// The fingerprint of each: that of the known finding that it is, else one that the baseline
    /// does not have.
    pub fingerprints: Vec<String>,
    /// Which are known.
    pub known: Vec<bool>,
}

/// Holds observations of one rule against what is known. Of several alike, as many are known as
/// the baseline has; which of them is told by their exact names.
pub fn hold_against(known: &[Known], seen: &[(Identity, Question)]) -> Matched {
    let identities: Vec<&Identity> = seen.iter().map(|(identity, _)| identity).collect();
    let mut matched = Matched {
        fingerprints: fingerprint::fingerprints(&identities),
        known: vec![false; seen.len()],
    };
    let mut of_group: BTreeMap<&str, Vec<&Known>> = BTreeMap::new();
    for entry in known {
        if let Some((group, _)) = fingerprint::parse(&entry.fingerprint) {
            of_group.entry(group).or_default().push(entry);
        }
    }
    let mut members: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, text) in matched.fingerprints.iter().enumerate() {
        let group = fingerprint::parse(text).map_or(text.as_str(), |(group, _)| group);
        members.entry(group.to_owned()).or_default().push(i);
    }
    for (group, mut here) in members {
        let Some(entries) = of_group.remove(group.as_str()) else {
            continue;
        };
        here.sort_by_key(|&i| ordinal(&matched.fingerprints[i]));
        group_against(&group, entries, here, seen, &mut matched);
    }
    matched
}

fn ordinal(text: &str) -> usize {
    fingerprint::parse(text).map_or(1, |(_, ordinal)| ordinal)
}

/// Facts that must be equal, and what else must hold: the surest match first. An exact name is
/// worth more than all other facts.
struct Pass {
    of_known: fn(&Known) -> String,
    of_seen: fn(&Identity) -> String,
    fits: fn(&Known, &Identity) -> bool,
}

const PASSES: [Pass; 4] = [
    Pass {
        of_known: |known| format!("{}\0{}\0{}", known.place, known.other, known.detail),
        of_seen: |seen| format!("{}\0{}\0{}", seen.place, seen.other, seen.detail),
        fits: |_, _| true,
    },
    Pass {
        of_known: |known| format!("{}\0{}", known.place, known.other),
        of_seen: |seen| format!("{}\0{}", seen.place, seen.other),
        fits: |_, _| true,
    },
    Pass {
        of_known: |known| known.detail.clone(),
        of_seen: |seen| seen.detail.clone(),
        fits: same_names,
    },
    Pass {
        of_known: |_| String::new(),
        of_seen: |_| String::new(),
        fits: same_names,
    },
];

fn same_names(known: &Known, seen: &Identity) -> bool {
    could_be_same(&known.place, &seen.place) && could_be_same(&known.other, &seen.other)
}

fn group_against(
    group: &str,
    mut entries: Vec<&Known>,
    mut here: Vec<usize>,
    seen: &[(Identity, Question)],
    matched: &mut Matched,
) {
    let mut taken: Vec<usize> = entries.iter().map(|it| ordinal(&it.fingerprint)).collect();
    for pass in &PASSES {
        let mut open: BTreeMap<String, Vec<&Known>> = BTreeMap::new();
        // Taken from the end: the lowest ordinals first.
        for entry in entries.into_iter().rev() {
            open.entry((pass.of_known)(entry)).or_default().push(entry);
        }
        here.retain(|&i| {
            let (identity, question) = &seen[i];
            if *question == Question::NameOnly {
                return true;
            }
            let alike = open.get_mut(&(pass.of_seen)(identity));
            let found = alike.and_then(|alike| {
                let found = alike.iter().rposition(|it| (pass.fits)(it, identity))?;
                Some(alike.remove(found))
            });
            let Some(entry) = found else { return true };
            matched.fingerprints[i].clone_from(&entry.fingerprint);
            matched.known[i] = true;
            false
        });
        entries = open.into_values().flatten().collect();
        entries.sort_by_key(|it| ordinal(&it.fingerprint));
    }
    taken.sort_unstable();
    let free = (1..).filter(|n| taken.binary_search(n).is_err());
    for (i, ordinal) in here.into_iter().zip(free) {
        matched.fingerprints[i] = fingerprint::fingerprint(group, ordinal);
    }
}

#[cfg(test)]
#[path = "baseline_tests.rs"]
mod tests;
