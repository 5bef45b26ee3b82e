//! What of a leaktrace is in the kernel, and whether it is gone.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::patience;

/// Kinds of objects: bpftool's word, and the line of fdinfo that has the id.
const KINDS: [(&str, &str); 3] = [
    ("prog", "prog_id:"),
    ("map", "map_id:"),
    ("link", "link_id:"),
];

/// A process loads and attaches within this time, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(90);

/// Programs, maps and links of one process, by their ids: nobody else's are among them, so that
/// scenarios can run side by side.
#[derive(Debug)]
pub struct Objects(BTreeSet<(&'static str, u64)>);

impl Objects {
    /// Those of process `pid`, once it has attached.
    ///
    /// # Panics
    /// If it never has any, or bpftool does not list them.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let started = Instant::now();
        loop {
            let all = opened(pid);
            let has = |kind: &str| all.iter().any(|(what, _)| *what == kind);
            if KINDS.iter().all(|(kind, _)| has(kind)) {
                assert!(all.is_subset(&loaded()), "bpftool does not list {all:?}");
                return Self(all);
            }
            assert!(
                started.elapsed() < patience(PATIENCE),
                "{pid} has only {all:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Wants none of them to be in the kernel any more. Links go by the last fput, programs and
    /// maps after an RCU grace period.
    ///
    /// # Panics
    /// If some are.
    #[track_caller]
    pub fn are_gone(&self) {
        let started = Instant::now();
        loop {
            let left: Vec<_> = loaded().intersection(&self.0).copied().collect();
            if left.is_empty() {
                return;
            }
            assert!(
                started.elapsed() < patience(Duration::from_secs(30)),
                "left in the kernel: {left:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn opened(pid: u32) -> BTreeSet<(&'static str, u64)> {
    let dir = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("read /proc/PID/fdinfo");
    let mut all = BTreeSet::new();
    for entry in dir.filter_map(Result::ok) {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for (what, key) in KINDS {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            all.extend(line.and_then(|id| Some((what, id.trim().parse().ok()?))));
        }
    }
    all
}

/// All that is in the kernel, as bpftool lists it.
fn loaded() -> BTreeSet<(&'static str, u64)> {
    let mut all = BTreeSet::new();
    for (what, _) in KINDS {
        let output = Command::new("bpftool")
            .args(["-j", what, "list"])
            .output()
            .expect("bpftool");
        // An object that goes while they are listed ends the list with an error.
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let ids = listed
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it["id"].as_u64());
        all.extend(ids.map(|id| (what, id)));
    }
    all
}
