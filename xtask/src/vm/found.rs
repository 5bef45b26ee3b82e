//! What a guest said, read from its console.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Asked;
use super::kernel::Kernel;
use super::qemu::Ended;

/// How much is seen of a family.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Everything.
    Full,
    /// Something.
    Partial,
    /// Nothing.
    None,
}

/// What a kernel showed.
pub struct Found {
    /// Which one.
    pub kernel: Kernel,
    /// From the start of QEMU to its end.
    pub seconds: u64,
    /// Whether the guest came to the end of what it was asked.
    pub ended: bool,
    /// By family, with the reason where it is not all.
    pub coverage: BTreeMap<String, (Level, String)>,
    /// `check -- true`.
    pub clean: Option<Timed>,
    /// `check` of a command that leaves a directory.
    pub leak: Option<Timed>,
    /// The same while the clock is set.
    pub step: Option<Timed>,
    /// `check -- make -j8`.
    pub make: Option<Make>,
    /// What was asked for.
    pub asked: Asked,
    /// Every scenario that there is.
    pub listed: BTreeSet<String>,
    /// Those that were asked for.
    pub wanted: BTreeSet<String>,
    /// Those that ran, and how they ended.
    pub scenarios: BTreeMap<String, Result<(), String>>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// Its status.
    pub status: i32,
    /// By the guest's clock, in steps of 10 ms.
    pub seconds: f64,
}

/// What a parallel build showed.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Make {
    /// How `check` ended.
    pub status: i32,
    /// Processes in the report.
    pub processes: u64,
    /// Records.
    pub produced: u64,
    /// Records that were lost.
    pub lost: u64,
    /// Programs that the kernel skipped; `None`: it does not count.
    pub not_run: Option<u64>,
}

impl Found {
    /// Reads a guest's console.
    pub fn read(kernel: &Kernel, ended: &Ended, asked: &Asked) -> Self {
        let part = |begin: &str, end: &str| {
            let rest = ended.text.split_once(begin).map_or("", |(_, rest)| rest);
            rest.split_once(end).map_or(rest, |(part, _)| part)
        };
        let listed: BTreeSet<String> = part("VM-LIST\n", "VM-SCENARIOS\n")
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect();
        let wanted = match asked {
            Asked::Start => BTreeSet::new(),
            Asked::Scenarios(parts) => listed
                .iter()
                .filter(|name| {
                    parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
                })
                .cloned()
                .collect(),
        };
        Found {
            kernel: kernel.clone(),
            seconds: ended.elapsed.as_secs(),
            ended: ended.status.is_some(),
            coverage: coverage(part("VM-DOCTOR\n", "VM-CHECK\n")).unwrap_or_default(),
            clean: timed(part("VM-CLEAN ", "\n")),
            leak: timed(part("VM-LEAK ", "\n")),
            step: timed(part("VM-STEP ", "\n")),
            make: serde_json::from_str(part("VM-MAKE ", "\n")).ok(),
            asked: asked.clone(),
            listed,
            wanted,
            scenarios: scenarios(part("VM-SCENARIOS\n", "VM-END ")),
        }
    }
}

/// `STATUS BEGIN END`, the times as in /proc/uptime.
fn timed(text: &str) -> Option<Timed> {
    let mut words = text.split_whitespace();
    let status = words.next()?.parse().ok()?;
    let begin: f64 = words.next()?.parse().ok()?;
    let end: f64 = words.next()?.parse().ok()?;
    Some(Timed {
        status,
        seconds: end - begin,
    })
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_console_is_read() {
        let text = "VM-DOCTOR\n\
            {\"facts\":{\"attempt\":{\"coverage\":[\
            {\"family\":\"file\",\"status\":\"full\"},\
            {\"family\":\"ring\",\"status\":\"partial\",\"reason\":\"skipped\"}]}}}\n\
            VM-CHECK\nVM-CLEAN 0 3.10 4.35\nVM-LEAK 100 5.00 6.00\nVM-STEP 100 6.00 8.50\n\
            VM-MAKE {\"status\":0,\"processes\":70,\"produced\":9000,\"lost\":0,\"not_run\":null}\n\
            VM-LIST\na::one: test\na::two: test\n\n2 tests, 0 benchmarks\nVM-SCENARIOS\n\
            test a::one ... ok\ntest a::two ... FAILED\n\
            ---- a::two stdout ----\n\nthread panicked at x.rs:1:\nit is not so\n";
        let kernel = Kernel {
            series: "6.1".to_owned(),
            release: "6.1.0".to_owned(),
            image: PathBuf::new(),
            modules: PathBuf::new(),
        };
        let ended = Ended {
            text: text.to_owned(),
            status: Some(101),
            elapsed: Duration::from_secs(9),
        };
        let found = Found::read(&kernel, &ended, &Asked::Scenarios(vec!["two".to_owned()]));
        assert_eq!(found.coverage["file"], (Level::Full, String::new()));
        assert_eq!(found.coverage["ring"].0, Level::Partial);
        assert_eq!(found.clean.map(|clean| clean.status), Some(0));
        assert_eq!(found.leak.map(|leak| leak.seconds), Some(1.0));
        assert_eq!(found.step.map(|step| step.status), Some(100));
        assert_eq!(found.make.as_ref().map(|make| make.produced), Some(9000));
        assert_eq!(found.listed.len(), 2);
        assert_eq!(found.wanted, BTreeSet::from(["a::two".to_owned()]));
        assert_eq!(found.scenarios["a::one"], Ok(()));
        assert_eq!(found.scenarios["a::two"], Err("it is not so".to_owned()));
    }

    #[test]
    fn a_console_that_breaks_off_shows_nothing() {
        let kernel = Kernel {
            series: "6.1".to_owned(),
            release: "6.1.0".to_owned(),
            image: PathBuf::new(),
            modules: PathBuf::new(),
        };
        let ended = Ended {
            text: "VM-DOCTOR\n{\"facts\":".to_owned(),
            status: None,
            elapsed: Duration::ZERO,
        };
        let found = Found::read(&kernel, &ended, &Asked::Scenarios(Vec::new()));
        assert!(!found.ended && found.coverage.is_empty() && found.clean.is_none());
        assert!(found.make.is_none() && found.listed.is_empty() && found.scenarios.is_empty());
    }
}
