//! `--allow RULE[:key=glob]`: suppressions by the facts of a finding.

use globset::{Glob, GlobMatcher};

use super::{PolicyError, defaults::matches, fail_on};

/// One suppression by resource facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// The text as given.
    pub text: String,
    /// Rule id or name.
    pub rule: String,
    /// Facts that must match, each a glob: `comm`, `exe`, `path`, `kind`, `id`.
    pub facts: Vec<(String, String)>,
}

/// Keys that a suppression may name.
pub const KEYS: [&str; 5] = ["comm", "exe", "path", "kind", "id"];

impl Allow {
    /// Reads `RULE[:key=glob]`. In the glob `*` matches `/` too.
    ///
    /// # Errors
    /// An unknown rule, an unknown key, or a glob that does not parse.
    pub fn parse(text: &str) -> Result<Allow, PolicyError> {
        let (rule, fact) = match text.split_once(':') {
            Some((rule, fact)) => (rule, Some(fact)),
            None => (text, None),
        };
        let info = fail_on::rule(rule)?;
        let facts = match fact {
            None => Vec::new(),
            Some(fact) => vec![parse_fact(text, fact)?],
        };
        Ok(Allow {
            text: text.to_owned(),
            rule: info.id.to_owned(),
            facts,
        })
    }
}

fn parse_fact(text: &str, fact: &str) -> Result<(String, String), PolicyError> {
    let (key, glob) = fact.split_once('=').ok_or_else(|| PolicyError::Shape {
        text: text.to_owned(),
    })?;
    if !KEYS.contains(&key) {
        return Err(PolicyError::Key {
            key: key.to_owned(),
        });
    }
    Glob::new(glob).map_err(|error| PolicyError::Glob {
        glob: glob.to_owned(),
        why: error.kind().to_string(),
    })?;
    Ok((key.to_owned(), glob.to_owned()))
}

/// What a suppression is held against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Rule id.
    pub rule: &'a str,
    /// Rule name.
    pub name: &'a str,
    /// comm of the finding's process.
    pub comm: &'a str,
    /// Its executable.
    pub exe: Option<&'a str>,
    /// Path of the resource.
    pub path: Option<&'a str>,
    /// Kind of the resource.
    pub kind: &'a str,
    /// ipc id, or pid.
    pub id: Option<i64>,
}

/// Suppressions with their globs compiled.
pub struct Matcher<'a> {
    allows: Vec<(&'a Allow, Vec<Fact<'a>>)>,
}

/// A key and its glob; none if that does not parse.
type Fact<'a> = (&'a str, Option<GlobMatcher>);

impl<'a> Matcher<'a> {
    /// Compiles each glob once. One that does not parse matches nothing: suppressing too little
    /// is the safe side.
    pub fn new(allows: &'a [Allow]) -> Self {
        let compile = |glob: &str| Glob::new(glob).ok().map(|glob| glob.compile_matcher());
        let allows = allows
            .iter()
            .map(|allow| {
                let facts = allow
                    .facts
                    .iter()
                    .map(|(key, glob)| (key.as_str(), compile(glob)))
                    .collect();
                (allow, facts)
            })
            .collect();
        Matcher { allows }
    }

    /// The first suppression that fits.
    pub fn find(&self, subject: &Subject<'_>) -> Option<&'a Allow> {
        self.allows
            .iter()
            .find(|(allow, facts)| {
                (allow.rule == subject.rule || allow.rule == subject.name)
                    && facts.iter().all(|(key, glob)| {
                        glob.as_ref()
                            .is_some_and(|glob| fact_matches(subject, key, glob))
                    })
            })
            .map(|(allow, _)| *allow)
    }
}

fn fact_matches(subject: &Subject<'_>, key: &str, glob: &GlobMatcher) -> bool {
    let id = subject.id.map(|id| id.to_string());
    let value = match key {
        "comm" => Some(subject.comm),
        "exe" => subject.exe,
        "path" => subject.path,
        "kind" => Some(subject.kind),
        "id" => id.as_deref(),
        _ => None,
    };
    value.is_some_and(|value| matches(glob, value.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const SUBJECT: Subject<'static> = Subject {
        rule: "LT109",
        name: "temp-file-left",
        comm: "cc1",
        exe: Some("/usr/lib/gcc/cc1"),
        path: Some("/tmp/a/b.s"),
        kind: "file",
        id: None,
    };

    fn allowed(text: &str) -> bool {
        let allows = [Allow::parse(text).unwrap()];
        Matcher::new(&allows).find(&SUBJECT).is_some()
    }

    #[test]
    fn a_rule_alone_allows_everything_of_it() {
        assert!(allowed("LT109"));
        assert!(allowed("temp-file-left"));
        assert!(!allowed("LT110"));
    }

    #[test]
    fn a_fact_narrows_it() {
        assert!(allowed("LT109:comm=cc*"));
        assert!(!allowed("LT109:comm=ld"));
        assert!(allowed("LT109:path=/tmp/*.s"));
        assert!(allowed("LT109:exe=*/cc1"));
        assert!(allowed("LT109:kind=file"));
        assert!(!allowed("LT109:id=*"), "it has no id");
    }

    #[test]
    fn mistakes_are_told_in_one_sentence() {
        let error = |text| Allow::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("LT109:com=x"),
            "`com` is not a fact of a finding (use comm, exe, path, kind or id)"
        );
        assert_eq!(
            error("LT109:x"),
            "`LT109:x` is not of the form RULE[:key=glob]"
        );
        assert_eq!(
            error("LT119x"),
            "`LT119x` is not a rule; did you mean `LT119`?"
        );
        assert!(error("LT109:path=[").starts_with("the glob `[` does not parse: "));
    }
}
