//! Filters: `comm=py* fd>100 state=teardown`. Every term must hold; a bare word is looked for
//! in comm and pid.

use globset::{Glob, GlobBuilder, GlobMatcher};

use crate::{
    id::Pid,
    model::snapshot::{LiveRow, State as ProcessState},
};

/// A parsed filter. The empty one lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// As typed, for the header.
    pub text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
enum Term {
    Comm(Polarity, GlobMatcher),
    Word(String),
    State(Polarity, ProcessState),
    Number(Field, Comparison, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Polarity {
    Is,
    IsNot,
}

impl Polarity {
    fn holds(self, matches: bool) -> bool {
        match self {
            Polarity::Is => matches,
            Polarity::IsNot => !matches,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    Unequal,
    AtLeast,
    Greater,
}

/// Longest first, so that `>=` is not read as `>`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::AtMost => left <= right,
            Comparison::Equal => left == right,
            Comparison::Unequal => left != right,
            Comparison::AtLeast => left >= right,
            Comparison::Greater => left > right,
        }
    }
}

macro_rules! fields {
    ($($name:ident, $text:literal, $row:ident => $value:expr;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Field { $($name,)* }
        impl Field {
            const ALL: &'static [(&'static str, Field)] = &[$(($text, Field::$name),)*];
            fn of(self, row: &LiveRow) -> f64 {
                match self { $(Field::$name => { let $row = row; $value })* }
            }
        }
    };
}

fields! {
    Pid, "pid", row => f64::from(row.key.pid.0);
    Uid, "uid", row => f64::from(row.uid);
    Fd, "fd", row => row.open as f64;
    Sock, "sock", row => row.sockets as f64;
    Map, "map", row => row.mappings as f64;
    Ring, "ring", row => row.rings as f64;
    Task, "task", row => row.tasks as f64;
    Ipc, "ipc", row => row.ipc as f64;
    Rate, "rate", row => row.rate;
    Limit, "limit", row => row.limit as f64;
    Full, "full", row => row.full_in_s.unwrap_or(f64::INFINITY);
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// One line that says which term is wrong and why.
    pub fn parse(text: &str) -> Result<Filter, String> {
        let terms = text
            .split_whitespace()
            .map(term)
            .collect::<Result<_, _>>()?;
        Ok(Filter {
            text: text.trim().to_owned(),
            terms,
        })
    }

    /// Whether the row is to be shown.
    pub fn admits(&self, row: &LiveRow) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Comm(..) | Term::Word(_) => term.admits_name(row.key.pid, &row.comm),
            Term::State(polarity, state) => polarity.holds(row.state == *state),
            Term::Number(field, comparison, value) => comparison.holds(field.of(row), *value),
        })
    }

    /// As [`Filter::admits`], by those terms alone that can be told of a process that is gone:
    /// comm and pid.
    pub fn admits_name(&self, pid: Pid, comm: &[u8]) -> bool {
        self.terms.iter().all(|term| term.admits_name(pid, comm))
    }
}

impl Term {
    fn admits_name(&self, pid: Pid, comm: &[u8]) -> bool {
        match self {
            Term::Comm(polarity, glob) => polarity.holds(glob.is_match(&*lossy(comm))),
            Term::Word(word) => lossy(comm).contains(word) || pid.to_string() == *word,
            Term::Number(Field::Pid, comparison, value) => {
                comparison.holds(f64::from(pid.0), *value)
            }
            Term::State(..) | Term::Number(..) => true,
        }
    }
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn term(word: &str) -> Result<Term, String> {
    let Some((name, comparison, value)) = split(word) else {
        return Ok(Term::Word(word.to_owned()));
    };
    match name.to_ascii_lowercase().as_str() {
        "comm" => Ok(Term::Comm(polarity(word, comparison)?, glob(value)?)),
        "state" => Ok(Term::State(polarity(word, comparison)?, state(value)?)),
        "fd/s" => number(Field::Rate, comparison, value),
        other => match Field::ALL.iter().find(|(text, _)| *text == other) {
            Some((_, field)) => number(*field, comparison, value),
            None => Err(format!("no field `{name}`: {}", known())),
        },
    }
}

fn split(word: &str) -> Option<(&str, Comparison, &str)> {
    let at = word.find(['=', '<', '>', '!'])?;
    let (name, rest) = word.split_at(at);
    COMPARISONS
        .iter()
        .find_map(|(sign, comparison)| Some((name, *comparison, rest.strip_prefix(sign)?)))
}

fn known() -> String {
    let mut names = vec!["comm", "state"];
    names.extend(Field::ALL.iter().map(|(text, _)| *text));
    names.join(" ")
}

fn polarity(word: &str, comparison: Comparison) -> Result<Polarity, String> {
    match comparison {
        Comparison::Equal => Ok(Polarity::Is),
        Comparison::Unequal => Ok(Polarity::IsNot),
        Comparison::Less | Comparison::AtMost | Comparison::AtLeast | Comparison::Greater => {
            Err(format!("`{word}`: only = and != here"))
        }
    }
}

fn glob(pattern: &str) -> Result<GlobMatcher, String> {
    GlobBuilder::new(pattern)
        .build()
        .as_ref()
        .map(Glob::compile_matcher)
        .map_err(|error| format!("comm `{pattern}`: {}", error.kind()))
}

fn state(value: &str) -> Result<ProcessState, String> {
    match value.to_ascii_lowercase().as_str() {
        "run" => Ok(ProcessState::Run),
        "teardown" => Ok(ProcessState::Teardown),
        "exiting" => Ok(ProcessState::Exiting),
        "zombie" => Ok(ProcessState::Zombie),
        other => Err(format!(
            "no state `{other}`: run, teardown, exiting, zombie"
        )),
    }
}

fn number(field: Field, comparison: Comparison, value: &str) -> Result<Term, String> {
    match value.parse::<f64>() {
        Ok(parsed) if parsed.is_finite() => Ok(Term::Number(field, comparison, parsed)),
        _ => Err(format!("`{value}` is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::{KtimeNs, ProcessKey};

    fn row() -> LiveRow {
        LiveRow {
            key: ProcessKey {
                pid: Pid(42),
                start: KtimeNs(1),
            },
            comm: Bytes::from_static(b"python3"),
            open: 101,
            rate: -2.5,
            state: ProcessState::Teardown,
            ..LiveRow::default()
        }
    }

    fn admits(text: &str) -> bool {
        Filter::parse(text).expect(text).admits(&row())
    }

    #[test]
    fn every_term_must_hold() {
        for text in [
            "",
            "comm=py* fd>100 state=teardown",
            "COMM=python? rate<0 pid=42",
            "thon",
            "42",
            "state!=zombie fd/s<=-2.5",
            "full>1000",
        ] {
            assert!(admits(text), "{text}");
        }
        for text in ["comm=py", "comm=py* fd>101", "state=run", "4", "comm!=py*"] {
            assert!(!admits(text), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        let error = |text| Filter::parse(text).expect_err(text);
        assert_eq!(error("fd>many"), "`many` is not a number");
        assert_eq!(error("fd>nan"), "`nan` is not a number");
        assert_eq!(error("comm>a"), "`comm>a`: only = and != here");
        assert!(error("what=1").starts_with("no field `what`: comm state pid"));
        assert!(error("comm=[a").starts_with("comm `[a`: "));
        assert!(error("state=up").starts_with("no state `up`"));
        assert!(!error("x=1").contains('\n'));
    }

    #[test]
    fn of_an_ended_process_only_its_name_is_asked() {
        let filter = Filter::parse("comm=w* fd>5").expect("good");
        assert!(filter.admits_name(Pid(1), b"worker"));
        assert!(!filter.admits_name(Pid(1), b"sh"));
    }
}
