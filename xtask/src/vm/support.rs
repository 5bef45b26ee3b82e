//! The support table: what each kernel must show, and whether it does.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::found::{Found, Level};
use super::kernel::{Kernel, series_of};
use super::{Arch, Asked, modules};
use crate::run::root;

/// The families, in the order of the table.
pub const FAMILIES: [&str; 9] = [
    "file", "socket", "mapping", "ring", "signal", "ipc", "name", "task", "exit",
];

/// `leaktrace/docs/kernels.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// Scenarios for a short run: parts of their names.
    pub quick: Vec<String>,
    /// Which family scenarios say most about, by the beginnings of their names.
    pub families: BTreeMap<String, Vec<String>>,
    kernel: Vec<Row>,
    /// Scenarios that time things.
    own_speed: Vec<String>,
    /// Scenarios that need a module of the kernel.
    needs_a_module: Vec<String>,
    /// Scenarios that cannot be run in a guest, and what it lacks.
    pub not_here: BTreeMap<String, String>,
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
        let status = found.clean.map(|clean| clean.status);
        if status != Some(wanted) {
            lines.push(format!(
                "{release}: `check -- true` ended with {status:?}, not {wanted}"
            ));
        }
        if row.level == Level::None {
            return lines;
        }
        let status = found.leak.map(|leak| leak.status);
        if status != Some(100) {
            lines.push(format!("{release}: a leak ended with {status:?}, not 100"));
        }
        let status = found.step.map(|step| step.status);
        if status != Some(100) {
            lines.push(format!(
                "{release}: a leak while the clock was set ended with {status:?}, not 100"
            ));
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
                && !self.excused(row, &found.kernel, name, why)
            {
                lines.push(format!("{release}: {name}: {why}"));
            }
        }
        lines.extend(build(found, counts_skipped(row)));
        if found.asked != Asked::Start {
            lines.extend(self.left_out(found));
        }
        lines
    }

    /// Scenarios that were asked for and of which nothing was said, and names in the table that
    /// no scenario has.
    fn left_out(&self, found: &Found) -> Vec<String> {
        let release = &found.kernel.release;
        let mut lines = Vec::new();
        if found.wanted.is_empty() {
            lines.push(format!("{release}: no scenario ran"));
        }
        for name in &found.wanted {
            if !found.scenarios.contains_key(name) && !self.not_here.contains_key(name) {
                lines.push(format!("{release}: {name}: nothing was said of it"));
            }
        }
        let names = self.own_speed.iter().chain(&self.needs_a_module);
        let names = names.chain(self.not_here.keys());
        for name in names.filter(|name| !found.listed.contains(*name)) {
            lines.push(format!("the support table names {name}, which is none"));
        }
        let some = |part: &&String| !found.listed.iter().any(|name| name.contains(part.as_str()));
        for part in self.quick.iter().filter(some) {
            lines.push(format!("the support table names {part}, which is none"));
        }
        lines
    }

    /// Only what says itself that it did not run is excused: what times things and what needs a
    /// module that cannot be had, where that is recorded, and what needs a newer kernel, below the
    /// version that it names.
    fn excused(&self, row: &Row, kernel: &Kernel, name: &str, why: &str) -> bool {
        let Some(reason) = why.strip_prefix("not run: ") else {
            return false;
        };
        if reason.starts_with("needs a machine's own speed") {
            return self.own_speed.iter().any(|one| one == name);
        }
        if reason.starts_with("needs a module") {
            return modules::are_none(&kernel.modules)
                && self.needs_a_module.iter().any(|one| one == name);
        }
        // `needs NAME, Linux 6.4`
        let Some((_, version)) = reason.rsplit_once("Linux ") else {
            return false;
        };
        number(&row.series) < number(version) && number(version).is_some()
    }
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

/// Major and minor number of a version.
fn number(text: &str) -> Option<(u32, u32)> {
    let series = series_of(text).ok()?;
    let (major, minor) = series.split_once('.')?;
    Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
}

/// Whether a kernel is known to count the programs that it skips: `recursion_misses` of
/// `bpf_prog_info`, which others may have been given.
fn counts_skipped(row: &Row) -> bool {
    number(&row.series) >= Some((5, 12))
}

/// What is wrong with the parallel build.
fn build(found: &Found, counts_skipped: bool) -> Option<String> {
    let release = &found.kernel.release;
    let uncounted = (!counts_skipped).then_some(0);
    match &found.make {
        None => Some(format!("{release}: no parallel build")),
        // Emulated by a machine that is busy itself, a processor can stand still anywhere. That
        // what was skipped is counted and told is all that a short start can ask for.
        Some(make)
            if found.asked == Asked::Start
                && make.status == 75
                && make.lost == 0
                && make.not_run.is_some_and(|count| count > 0) =>
        {
            None
        }
        Some(make)
            if make.status != 0 || make.lost != 0 || make.not_run.or(uncounted) != Some(0) =>
        {
            Some(format!("{release}: `make -j8`: {make:?}"))
        }
        Some(_) => None,
    }
}
