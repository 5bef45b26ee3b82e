//! The support table: what each kernel must show, and whether it does.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Arch;
use super::kernel::{Kernel, series_of};
use super::qemu::Ended;
use crate::run::root;

/// The families, in the order of the table.
const FAMILIES: [&str; 9] = [
    "file", "socket", "mapping", "ring", "signal", "ipc", "name", "task", "exit",
];

/// `leaktrace/docs/kernels.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// Scenarios for a short run: parts of their names.
    pub quick: Vec<String>,
    /// Which family scenarios say most about, by the beginnings of their names.
    families: BTreeMap<String, Vec<String>>,
    kernel: Vec<Row>,
    /// Scenarios that time things.
    own_speed: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    series: String,
    /// x86_64 if it does not say.
    arch: Option<String>,
    /// What every family is, where it does not stand below.
    level: Level,
    #[serde(default)]
    except: BTreeMap<String, Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    level: Level,
    #[expect(dead_code, reason = "for the readers of the file")]
    why: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Level {
    Full,
    Partial,
    None,
}

/// What a kernel showed.
pub struct Found {
    kernel: Kernel,
    seconds: u64,
    ended: bool,
    /// How `check -- true` ended.
    check: Option<i32>,
    coverage: BTreeMap<String, (Level, String)>,
    /// Scenario and how it ended.
    scenarios: BTreeMap<String, Result<(), String>>,
}

impl Found {
    /// Reads a guest's console.
    pub fn read(kernel: &Kernel, ended: &Ended) -> Self {
        let part = |begin: &str, end: &str| {
            let rest = ended.text.split_once(begin).map_or("", |(_, rest)| rest);
            rest.split_once(end).map_or(rest, |(part, _)| part)
        };
        let doctor = part("VM-DOCTOR\n", "VM-CHECK\n");
        Found {
            kernel: kernel.clone(),
            seconds: ended.elapsed.as_secs(),
            ended: ended.status.is_some(),
            coverage: coverage(doctor).unwrap_or_default(),
            check: part("VM-STATUS ", "\n").parse().ok(),
            scenarios: scenarios(part("VM-SCENARIOS\n", "VM-END ")),
        }
    }
}

fn coverage(doctor: &str) -> Result<BTreeMap<String, (Level, String)>> {
    let value: serde_json::Value = serde_json::from_str(doctor.trim()).context("read doctor")?;
    let families = value["facts"]["attempt"]["coverage"]
        .as_array()
        .context("find the coverage")?;
    families
        .iter()
        .map(|one| {
            let level: Level = serde_json::from_value(one["status"].clone())?;
            let family = one["family"].as_str().unwrap_or_default().to_owned();
            let why = one["reason"].as_str().unwrap_or_default().to_owned();
            Ok((family, (level, why)))
        })
        .collect()
}

fn scenarios(text: &str) -> BTreeMap<String, Result<(), String>> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let Some((name, end)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        else {
            continue;
        };
        let outcome = match end.trim() {
            "ok" => Ok(()),
            _ => Err(why(text, name)),
        };
        all.insert(name.to_owned(), outcome);
    }
    all
}

/// The first line of a scenario's panic.
fn why(text: &str, name: &str) -> String {
    text.split_once(&format!("---- {name} stdout ----\n"))
        .map_or("", |(_, rest)| rest)
        .lines()
        .skip_while(|line| !line.contains("panicked at"))
        .nth(1)
        .unwrap_or("it did not end")
        .to_owned()
}

impl Support {
    /// Reads the table.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read() -> Result<Self> {
        let path = root().join("leaktrace/docs/kernels.toml");
        let text = std::fs::read_to_string(&path).context("read the support table")?;
        toml::from_str(&text).context("read the support table")
    }

    /// Every series for a machine, the oldest first.
    pub fn series(&self, arch: Arch) -> Vec<String> {
        self.kernel
            .iter()
            .filter(|row| row.is_for(arch))
            .map(|row| row.series.clone())
            .collect()
    }

    /// The oldest series on which something is seen, and the newest.
    ///
    /// # Errors
    /// If the table has none for this machine.
    pub fn ends(&self, arch: Arch) -> Result<Vec<String>> {
        let seen: Vec<&Row> = self
            .kernel
            .iter()
            .filter(|row| row.is_for(arch) && row.level != Level::None)
            .collect();
        let first = seen.first().context("the table has no kernel")?;
        let last = seen.last().context("the table has no kernel")?;
        Ok(vec![first.series.clone(), last.series.clone()])
    }

    fn row_of(&self, kernel: &Kernel, arch: Arch) -> Option<&Row> {
        self.kernel
            .iter()
            .find(|row| row.series == kernel.series && row.is_for(arch))
    }

    /// The table's first line.
    pub fn header(&self) -> String {
        let mut line = format!("{:<30}{:>5}", "kernel", "s");
        for family in FAMILIES {
            line.push_str(&format!(" {family:>13}"));
        }
        line + "   not run"
    }

    /// A kernel's line: coverage, and scenarios that passed of those that ran.
    pub fn line(&self, found: &Found) -> String {
        let mut line = format!("{:<30}{:>5}", found.kernel.release, found.seconds);
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
            let cell = format!("{level} {passed}/{}", mine.len());
            line.push_str(&format!(" {cell:>13}"));
        }
        let skipped = found
            .scenarios
            .values()
            .filter(|outcome| not_run(outcome).is_some())
            .count();
        format!("{line} {skipped:>9}")
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

    /// What is other than recorded, a line each.
    pub fn differences(&self, found: &Found, arch: Arch) -> Vec<String> {
        let release = &found.kernel.release;
        let Some(row) = self.row_of(&found.kernel, arch) else {
            return vec![format!("{release}: not in the support table")];
        };
        let mut lines = Vec::new();
        if !found.ended {
            lines.push(format!("{release}: the guest crashed or hung"));
        }
        let wanted = if row.level == Level::None { 77 } else { 0 };
        if found.check != Some(wanted) {
            lines.push(format!(
                "{release}: `check -- true` ended with {:?}, not {wanted}",
                found.check
            ));
        }
        if row.level == Level::None {
            return lines;
        }
        if found.scenarios.is_empty() {
            lines.push(format!("{release}: no scenario ran"));
        }
        for family in FAMILIES {
            let wanted = row.except.get(family).map_or(row.level, |one| one.level);
            let got = found.coverage.get(family);
            if got.map(|(level, _)| *level) != Some(wanted) {
                let why = got.map_or("doctor says nothing", |(_, why)| why.as_str());
                lines.push(format!(
                    "{release}: {family} is recorded as {wanted:?} and is {:?}: {why}",
                    got.map(|(level, _)| *level)
                ));
            }
        }
        for (name, outcome) in &found.scenarios {
            if let Err(why) = outcome
                && !self.excused(row, name, why)
            {
                lines.push(format!("{release}: {name}: {why}"));
            }
        }
        lines
    }

    /// Only what says itself that it did not run is excused: what times things, where that is
    /// recorded, and what needs a newer kernel, below the version that it names.
    fn excused(&self, row: &Row, name: &str, why: &str) -> bool {
        let Some(reason) = why.strip_prefix("not run: ") else {
            return false;
        };
        if reason.starts_with("needs a machine's own speed") {
            return self.own_speed.iter().any(|one| one == name);
        }
        // `needs NAME, Linux 6.4`
        let Some((_, version)) = reason.rsplit_once("Linux ") else {
            return false;
        };
        let number = |text: &str| {
            let series = series_of(text).ok()?;
            let (major, minor) = series.split_once('.')?;
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        };
        number(&row.series) < number(version) && number(version).is_some()
    }
}

fn not_run(outcome: &Result<(), String>) -> Option<&str> {
    outcome.as_ref().err()?.strip_prefix("not run: ")
}

impl Row {
    fn is_for(&self, arch: Arch) -> bool {
        let name = match arch {
            Arch::X86 => "x86_64",
            Arch::Arm => "aarch64",
        };
        self.arch.as_deref().unwrap_or("x86_64") == name
    }
}
