//! The table that is printed: kernels, families and what was found.

use std::collections::BTreeMap;

use super::found::{Found, Level, Timed};
use super::support::{FAMILIES, Support};

impl Support {
    /// The table, of what was found.
    pub fn table(&self, found: &[Found]) -> String {
        let mut lines = vec![self.header()];
        lines.extend(found.iter().map(|one| self.line(one)));
        let mut skipped: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for one in found {
            for (name, why) in self.not_run(one) {
                let series = one.kernel.series.as_str();
                skipped.entry((name, why)).or_default().push(series);
            }
        }
        for ((name, why), series) in skipped {
            lines.push(format!("not run: {name} ({}): {why}", series.join(", ")));
        }
        lines.join("\n")
    }

    fn header(&self) -> String {
        let mut line = format!("{:<28}{:>5}{:>13}{:>13}", "kernel", "s", "true", "leak");
        line.push_str(&format!("{:>22}", "make -j8"));
        for family in FAMILIES {
            line.push_str(&format!(" {family:>13}"));
        }
        line + "   not run"
    }

    /// A kernel's line: how `check` ended and how long it took, records of the build (lost,
    /// skipped), coverage, and scenarios that passed of those that ran.
    fn line(&self, found: &Found) -> String {
        let timed = |timed: Option<Timed>| {
            timed.map_or_else(
                || "-".to_owned(),
                |it| format!("{}: {:.2} s", it.status, it.seconds),
            )
        };
        let make = found.make.as_ref().map_or_else(
            || "-".to_owned(),
            |it| {
                let not_run = it.not_run.map_or("?".to_owned(), |n| n.to_string());
                format!("{}: {} ({}, {not_run})", it.status, it.produced, it.lost)
            },
        );
        let mut line = format!(
            "{:<28}{:>5}{:>13}{:>13}{make:>22}",
            found.kernel.release,
            found.seconds,
            timed(found.clean),
            timed(found.leak),
        );
        for family in FAMILIES {
            let mine: Vec<_> = found
                .scenarios
                .iter()
                .filter(|(name, _)| self.family_of(name) == family)
                .filter(|(_, outcome)| not_run(outcome).is_none())
                .collect();
            let passed = mine.iter().filter(|(_, outcome)| outcome.is_ok()).count();
            let level = match found.coverage.get(family) {
                Some((Level::Full, _)) => "full",
                Some((Level::Partial, _)) => "partial",
                _ => "none",
            };
            let cell = match mine.len() {
                0 => level.to_owned(),
                all => format!("{level} {passed}/{all}"),
            };
            line.push_str(&format!(" {cell:>13}"));
        }
        format!("{line} {:>9}", self.not_run(found).count())
    }

    /// What was asked for and did not run, with the reason.
    fn not_run<'a>(&'a self, found: &'a Found) -> impl Iterator<Item = (&'a str, &'a str)> {
        let said = found
            .scenarios
            .iter()
            .filter_map(|(name, outcome)| Some((name.as_str(), not_run(outcome)?)));
        let left_out = self
            .not_here
            .iter()
            .filter(|(name, _)| found.wanted.contains(*name))
            .map(|(name, why)| (name.as_str(), why.as_str()));
        said.chain(left_out)
    }

    fn family_of(&self, scenario: &str) -> &str {
        let prefix = |one: &&String| scenario.starts_with(one.as_str());
        self.families
            .iter()
            .filter_map(|(family, names)| {
                let longest = names.iter().filter(prefix).map(String::len).max()?;
                Some((longest, family.as_str()))
            })
            .max()
            .map_or("exit", |(_, family)| family)
    }
}

fn not_run(outcome: &Result<(), String>) -> Option<&str> {
    outcome.as_ref().err()?.strip_prefix("not run: ")
}
