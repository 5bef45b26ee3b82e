//! Test suites of well-known packages under `leaktrace check` with nothing but its defaults.
//!
//! Each suite is fetched once from where its package is published, run N times, and run once more
//! with one leak put into it. It is right if no run has an error, all have the same findings, and
//! the leak is the one error of the last run. `leaktrace/docs/suites.md` has what it printed, and
//! what each note is.

mod bats;
mod cargo;
mod found;
mod go;
mod junit;
mod node;
mod place;
mod pytest;

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::{found::Found, place::Place};
use crate::install;
use crate::test::{Profile, binary};

/// A test suite.
struct Suite {
    /// How it is called on the command line.
    name: &'static str,
    /// The package, with its version.
    package: &'static str,
    /// Programs that it needs, and the Debian packages they are in.
    programs: &'static [(&'static str, &'static str)],
    /// Fetches and builds it; a step that was made is not made again.
    prepare: fn(&Place) -> Result<()>,
    /// Where and what to run; with the leak that was put into it, or without.
    call: fn(&Place, Leak) -> Result<Call>,
    /// How many tests its output tells of.
    tests: fn(&str) -> Option<u64>,
    /// The rule that its leak breaks.
    leak: &'static str,
}

const SUITES: [Suite; 6] = [
    pytest::SUITE,
    node::SUITE,
    go::SUITE,
    cargo::SUITE,
    junit::SUITE,
    bats::SUITE,
];

/// Fewer are no suite.
const TESTS: u64 = 100;

/// Whether the leak is run too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leak {
    In,
    Out,
}

/// A command and where it runs.
struct Call {
    dir: PathBuf,
    words: Vec<String>,
}

impl Call {
    fn new<W: Into<String>>(dir: PathBuf, words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(Into::into).collect();
        Self { dir, words }
    }
}

/// Runs those named, or all.
///
/// # Errors
/// If a suite cannot be fetched, fails by itself, or is not right.
pub fn suites(profile: Profile, repeat: u32, names: &[String]) -> Result<()> {
    if let Some(unknown) = names
        .iter()
        .find(|name| SUITES.iter().all(|suite| suite.name != **name))
    {
        let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        bail!(
            "no suite is called `{unknown}`; there are {}",
            known.join(", ")
        );
    }
    let binary = match std::env::var_os("LEAKTRACE_BIN") {
        Some(path) => PathBuf::from(path),
        None => binary(profile)?,
    };
    let mut table = "| suite | package | tests | processes | records | errors | notes | runs, all alike | leak put in: found | s |\n\
                     |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut wrong = Vec::new();
    let wanted = |suite: &&Suite| names.is_empty() || names.iter().any(|it| it == suite.name);
    for suite in SUITES.iter().filter(wanted) {
        let judged = judge(suite, &binary, repeat.max(1))
            .with_context(|| format!("suite {}", suite.name))?;
        writeln!(table, "{}", judged.line)?;
        wrong.extend(judged.wrong);
    }
    println!("{table}");
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

/// A line of the table, and what is not as it should be.
struct Judged {
    line: String,
    wrong: Vec<String>,
}

fn judge(suite: &Suite, binary: &Path, repeat: u32) -> Result<Judged> {
    install::programs(suite.programs)?;
    let place = Place::new(suite.name)?;
    (suite.prepare)(&place)?;
    let mut wrong = Vec::new();
    let mut first: Option<(Found, u64)> = None;
    let mut alike = 0;
    let mut took = Duration::ZERO;
    for round in 1..=repeat {
        let began = Instant::now();
        let (found, output) = check(&place, binary, &(suite.call)(&place, Leak::Out)?)?;
        took += began.elapsed();
        let tests = (suite.tests)(&output).unwrap_or(0);
        if tests < TESTS {
            wrong.push(format!("{} {round}: {tests} tests", suite.name));
        }
        wrong.extend(
            found
                .faults()
                .map(|it| format!("{} {round}: {it}", suite.name)),
        );
        let (reference, _) = &*first.get_or_insert_with(|| (found.clone(), tests));
        let differs = reference.differs(&found);
        alike += u32::from(differs.is_empty());
        wrong.extend(
            differs
                .iter()
                .map(|it| format!("{} {round}: {it}", suite.name)),
        );
        for told in &found.told {
            eprintln!("xtask: {} {round}: {told}", suite.name);
        }
    }
    let (found, tests) = first.context("at least one run")?;
    let (leaking, _) = check(&place, binary, &(suite.call)(&place, Leak::In)?)?;
    leaking.clean_up(suite.leak);
    let leak = leaking.errors().join(", ");
    if leaking.errors() != [suite.leak] {
        wrong.push(format!(
            "{}: the leak of {} that was put in was found as `{leak}`",
            suite.name, suite.leak
        ));
    }
    let line = format!(
        "| {} | {} | {tests} | {} | {} | {} | {} | {alike} of {repeat} | {}: {leak} | {:.1} |",
        suite.name,
        suite.package,
        found.processes,
        found.records,
        found.errors().len(),
        found.notes(),
        suite.leak,
        (took / repeat).as_secs_f64(),
    );
    Ok(Judged { line, wrong })
}

/// Runs leaktrace with its defaults: what it found, and what the suite wrote.
fn check(place: &Place, binary: &Path, call: &Call) -> Result<(Found, String)> {
    let output = place.path("output");
    let report = place.path("report.json");
    let file = File::create(&output).context("make the output")?;
    let status = Command::new(binary)
        .args(["check", "-q", "-f"])
        .arg(format!("json:{}", report.display()))
        .arg("--")
        .args(&call.words)
        .current_dir(&call.dir)
        .stdin(Stdio::null())
        .stderr(file.try_clone().context("share the output")?)
        .stdout(file)
        .status()
        .context("start leaktrace")?;
    let text = std::fs::read(&output).context("read the output")?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let found = Found::read(&report)
        .with_context(|| format!("{status}; the suite wrote\n{}", tail(&text)))?;
    Ok((found, text))
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(2_000);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at));
    &text[from.unwrap_or(text.len())..]
}

/// The number in the last line that begins with `before`, as in `# pass 147`.
fn after(output: &str, before: &str) -> Option<u64> {
    let line = output
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(before))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_what_the_suites_write() {
        let count = |suite: Suite, output: &str| (suite.tests)(output);
        assert_eq!(
            count(pytest::SUITE, "....\n909 passed in 21.64s\n"),
            Some(909)
        );
        assert_eq!(
            count(pytest::SUITE, "1 failed, 908 passed in 2s\n"),
            Some(908)
        );
        assert_eq!(
            count(node::SUITE, "# tests 147\n# pass 147\n# fail 0\n"),
            Some(147)
        );
        let two = "test result: ok. 100 passed; 0 failed;\nx\ntest result: ok. 20 passed; 0\n";
        assert_eq!(count(cargo::SUITE, two), Some(120));
        assert_eq!(count(junit::SUITE, "..\nOK (611 tests)\n\n"), Some(611));
        assert_eq!(
            count(bats::SUITE, "1..3\nok 1 a\nnot ok 2 b\nok 3 c\n"),
            Some(2)
        );
        let go = "=== RUN   TestA\n--- PASS: TestA (0.00s)\n    --- PASS: TestA/b (0.00s)\nPASS\n";
        assert_eq!(count(go::SUITE, go), Some(2));
        assert_eq!(count(junit::SUITE, "nothing"), None);
    }

    #[test]
    fn the_end_of_an_output_is_cut_between_characters() {
        let text = "ä".repeat(2_000);
        assert!(tail(&text).len() <= 2_000);
    }
}
