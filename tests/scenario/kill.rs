//! `kill -9` of leaktrace: the kernel takes everything back, and the command does not notice.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use leaktrace_tests::{Place, alone};
use serde_json::Value;

use crate::check_sh;

/// (what, id) of the programs, maps and links that process `pid` has open.
fn opened(pid: u32) -> BTreeSet<(&'static str, u64)> {
    let dir = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("read /proc/PID/fdinfo");
    let mut all = BTreeSet::new();
    for entry in dir.filter_map(Result::ok) {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for (what, key) in [
            ("prog", "prog_id:"),
            ("map", "map_id:"),
            ("link", "link_id:"),
        ] {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            all.extend(line.and_then(|id| Some((what, id.trim().parse().ok()?))));
        }
    }
    all
}

/// The same of all that is in the kernel, as bpftool lists it.
fn loaded() -> BTreeSet<(&'static str, u64)> {
    let mut all = BTreeSet::new();
    for what in ["prog", "map", "link"] {
        let output = Command::new("bpftool")
            .args(["-j", what, "list"])
            .output()
            .expect("bpftool");
        let listed: Value = serde_json::from_slice(&output.stdout).expect("bpftool writes JSON");
        let ids = listed
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it["id"].as_u64());
        all.extend(ids.map(|id| (what, id)));
    }
    all
}

#[test]
fn killing_leaktrace_leaves_nothing_and_does_not_touch_the_command() {
    let alone = alone();
    let place = Place::new();
    let script = "sleep 3; echo $? >status.tmp; mv status.tmp status";
    let started = Instant::now();
    let mut child = check_sh(script).alone(&alone).spawn(&place);
    std::thread::sleep(Duration::from_millis(1000));
    let ours = opened(child.id());
    for kind in ["prog", "map", "link"] {
        assert!(
            ours.iter().any(|(what, _)| *what == kind),
            "no {kind}: {ours:?}"
        );
    }
    assert!(ours.is_subset(&loaded()), "bpftool does not list {ours:?}");
    child.kill().expect("kill leaktrace");
    child.wait().expect("reap leaktrace");
    // Links go by the last fput, programs and maps after an RCU grace period.
    std::thread::sleep(Duration::from_millis(1000));
    let left: Vec<_> = loaded().intersection(&ours).copied().collect();
    assert!(left.is_empty(), "left in the kernel: {left:?}");
    let status = place.cwd().join("status");
    while !status.exists() {
        assert!(
            started.elapsed() < Duration::from_secs(6),
            "the command never ended"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let elapsed = started.elapsed();
    assert!((3000..=4000).contains(&elapsed.as_millis()), "{elapsed:?}");
    assert_eq!(std::fs::read_to_string(status).expect("a status"), "0\n");
}
