//! Where in the repository a finding is put, so that every format has a file and a line for it.
//!
//! In this order: the innermost stack frame whose source lies in the repository; the script or
//! source that the command line of the process names, or of its nearest ancestor that names one;
//! the file of the test; the policy's file. Whether a word of a command line is a file is for the
//! census to say, so that a capture gives the same places on another machine.

use std::collections::BTreeSet;

use crate::{
    audit::{ask::Scope, case::Case, evidence::Evidence, finding, resource, roots::inside, scope},
    census::{Answer, Found, Question},
    id::ProcessKey,
    model::facts::{Facts, ProcessFacts},
    policy::Policy,
    report::{Finding, Location},
    source::{End, Start},
};

/// The policy's file, where nothing nearer is known.
pub(crate) const POLICY: &str = "leaktrace.toml";
/// Words of one command line that are looked at.
const WORDS: usize = 64;
/// Longest path (PATH_MAX).
const PATH: usize = 4096;
/// Ancestors that are looked at.
const GENERATIONS: usize = 64;
/// Questions of one run.
const QUESTIONS: usize = 10_000;
/// Directories of other people's code within a repository; those whose name begins with a dot
/// count too.
const FOREIGN: [&[u8]; 2] = [b"node_modules", b"site-packages"];

/// What must be known of command lines: those of findings and of their ancestors, and for a
/// capture, which may be judged by another policy later, those of all processes.
pub fn sources(
    facts: &Facts,
    answers: &[Answer],
    start: &Start,
    policy: &Policy,
    scope: Scope,
) -> Vec<Question> {
    let end = End::default();
    let case = Case::new(facts, answers, start, &end, policy);
    let findings = finding::collect(&case);
    let named = findings.shown.iter().chain(&findings.off);
    let of_findings = named.flat_map(|finding| lineage(facts, finding.process));
    let of_all = match scope {
        Scope::Judged => None,
        Scope::Everything => Some(facts.processes.values()),
    };
    let mut seen = BTreeSet::new();
    let mut processes = BTreeSet::new();
    for process in of_findings.chain(of_all.into_iter().flatten()) {
        if processes.insert(process.key) && seen.len() < QUESTIONS {
            seen.extend(candidates(process, start));
        }
    }
    seen.into_iter()
        .take(QUESTIONS)
        .map(|path| Question::Source { path })
        .collect()
}

/// Gives each finding its place.
pub(crate) fn put(case: &Case<'_>, answers: &[Answer], findings: &mut [Finding]) {
    if findings.is_empty() {
        return;
    }
    let evidence = Evidence::new(answers);
    for finding in findings {
        finding.location = Some(place(case, &evidence, finding));
    }
}

fn place(case: &Case<'_>, evidence: &Evidence<'_>, finding: &Finding) -> Location {
    let stack = finding.resource.stack.iter();
    stack
        .filter_map(|frame| in_frame(frame, repository(case.start)))
        .next()
        .or_else(|| named(case, evidence, finding))
        .or_else(|| test_file(case, finding).map(|path| first_line(&path)))
        .unwrap_or_else(|| policy_file(case))
}

/// The policy that was read, if it is in the repository.
fn policy_file(case: &Case<'_>) -> Location {
    let read = case.policy.file.as_ref();
    read.and_then(|(path, _)| absolute(path.as_bytes(), &case.start.cwd))
        .and_then(|path| inside(repository(case.start), &path).map(first_line))
        .unwrap_or_else(|| first_line(POLICY.as_bytes()))
}

fn first_line(path: &[u8]) -> Location {
    Location {
        file: resource::text(path),
        line: 1,
        column: None,
    }
}

/// The script or source that a command line names. Of several in one the test's own file, if it
/// is among them.
fn named(case: &Case<'_>, evidence: &Evidence<'_>, finding: &Finding) -> Option<Location> {
    let test = test_file(case, finding);
    lineage(case.facts, finding.process).find_map(|process| {
        let mut there: Vec<Vec<u8>> = candidates(process, case.start)
            .into_iter()
            .filter(|path| is_source(evidence, path))
            .filter_map(|path| inside(repository(case.start), &path).map(<[u8]>::to_vec))
            .collect();
        if let Some(test) = &test
            && there.contains(test)
        {
            return Some(first_line(test));
        }
        (!there.is_empty()).then(|| first_line(&there.swap_remove(0)))
    })
}

fn is_source(evidence: &Evidence<'_>, path: &[u8]) -> bool {
    let question = Question::Source {
        path: path.to_vec(),
    };
    evidence
        .about(&question)
        .is_some_and(|answer| answer.found == Found::Source)
}

/// The file of the finding's scope, relative to the repository.
fn test_file(case: &Case<'_>, finding: &Finding) -> Option<Vec<u8>> {
    let file = scope::file_of(finding.scope.as_deref()?)?;
    let process = case.process(finding.process)?;
    let path = absolute(file.as_bytes(), directory(process, case.start))?;
    inside(repository(case.start), &path).map(<[u8]>::to_vec)
}

/// A process and its ancestors within the run. Who made it counts, not who looks after it now.
fn lineage(facts: &Facts, key: ProcessKey) -> impl Iterator<Item = &ProcessFacts> {
    let first = facts.processes.get(&key);
    std::iter::successors(first, |process| {
        let above = process.maker.map_or(process.parent, |(maker, _)| maker);
        facts.processes.get(&above)
    })
    .take(GENERATIONS)
}

/// The words of a command line that may be the path of a file of the repository, absolute, in
/// their order.
fn candidates(process: &ProcessFacts, start: &Start) -> Vec<Vec<u8>> {
    let words = process.argv.iter().take(WORDS);
    words
        .filter(|word| !word.is_empty() && !word.starts_with(b"-") && word.len() < PATH)
        .filter(|word| !word.iter().any(|byte| byte.is_ascii_control()))
        .filter_map(|word| absolute(file_part(word), directory(process, start)))
        .filter(|path| inside(repository(start), path).is_some_and(is_own))
        .collect()
}

/// `tests/test_a.py` of `tests/test_a.py::test_b`.
fn file_part(word: &[u8]) -> &[u8] {
    let end = word.windows(2).position(|pair| pair == b"::");
    &word[..end.unwrap_or(word.len())]
}

fn is_own(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .all(|name| !name.starts_with(b".") && !FOREIGN.contains(&name))
}

fn directory<'a>(process: &'a ProcessFacts, start: &'a Start) -> &'a [u8] {
    process.cwd.as_deref().unwrap_or(&start.cwd)
}

/// Captures from before the repository was looked for have the working directory only.
fn repository(start: &Start) -> &[u8] {
    match start.repository.is_empty() {
        true => &start.cwd,
        false => &start.repository,
    }
}

/// A path without `.` and `..`, by its text alone.
fn absolute(path: &[u8], directory: &[u8]) -> Option<Vec<u8>> {
    let whole = match path.starts_with(b"/") {
        true => path.to_vec(),
        false => [directory, b"/", path].concat(),
    };
    if !whole.starts_with(b"/") {
        return None;
    }
    let mut names: Vec<&[u8]> = Vec::new();
    for name in whole.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    Some([b"/", names.join(&b'/').as_slice()].concat())
}

/// `FUNCTION … PATH:LINE` or `PATH:LINE:COLUMN`, in whatever brackets, if the path is absolute
/// and in the repository. Relative paths are those of other people's builds.
fn in_frame(frame: &str, repository: &[u8]) -> Option<Location> {
    let root = str::from_utf8(repository).ok()?.trim_end_matches('/');
    let begin = frame.rfind(&format!("{root}/"))?;
    let text = frame[begin..].trim_end_matches([')', ']', '>']);
    let (rest, last) = number(text)?;
    let (path, line, column) = match number(rest) {
        Some((path, line)) => (path, line, Some(last)),
        None => (rest, last, None),
    };
    let path = absolute(path.as_bytes(), b"/")?;
    let relative = inside(repository, &path).filter(|path| is_own(path))?;
    Some(Location {
        file: resource::text(relative),
        line,
        column,
    })
}

/// `a:7` as `a` and 7; lines and columns begin at 1.
fn number(text: &str) -> Option<(&str, u32)> {
    let (rest, digits) = text.rsplit_once(':')?;
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    Some((rest, number))
}

#[cfg(test)]
#[path = "location_tests.rs"]
mod tests;
