//! Timing histograms: every process counted once, under its own key.

use std::{
    process::{Child, Command},
    time::{Duration, Instant},
};

use leaktrace_tests::{Place, Run, patience};
use serde_json::Value;

const LOOP: &str = "for i in $(seq 200); do ls >/dev/null; done";

fn groups(by: &[&str]) -> Vec<Value> {
    let outcome = Run::of("hist", ["sh", "-c", LOOP]).args(by).end();
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(outcome.report["schema"], "leaktrace.hist/1", "{outcome}");
    outcome.report["groups"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn every_process_has_its_own_histogram() {
    let groups = groups(&[]);
    let mut pids: Vec<u64> = groups.iter().filter_map(|it| it["pid"].as_u64()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 202, "sh, seq and 200 ls: {groups:?}");
    for group in &groups {
        let kernel = &group["samples"]["kernel"];
        assert_eq!(kernel["n"], 1, "{group}");
        assert!(
            kernel["p99_ns"].is_null(),
            "no percentile of one sample: {group}"
        );
    }
}

#[test]
fn by_comm_they_are_added_up() {
    let groups = groups(&["--by", "comm"]);
    let samples = |comm: &str| {
        groups
            .iter()
            .find(|it| it["comm"] == comm)
            .map(|it| it["samples"]["kernel"]["n"].clone())
    };
    assert_eq!(samples("sh"), Some(1.into()), "{groups:?}");
    assert_eq!(samples("seq"), Some(1.into()), "{groups:?}");
    assert_eq!(samples("ls"), Some(200.into()), "{groups:?}");
    let of_ls = groups
        .iter()
        .find(|it| it["comm"] == "ls")
        .cloned()
        .unwrap_or_default();
    assert!(
        of_ls["samples"]["kernel"]["p99_ns"].as_u64() > Some(0),
        "{of_ls}"
    );
}

/// A process that lives; ended with its scenario.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_that_gave_up_its_user_meanwhile_is_that_users() {
    let place = Place::new();
    let [go, capture] = ["go", "capture"].map(|name| place.root().join(name));
    let script = "import os, sys, time\n\
                  while not os.path.exists(sys.argv[1]): time.sleep(0.05)\n\
                  os.setuid(12321)\n\
                  while True:\n  os.close(os.open('/', os.O_RDONLY))\n  time.sleep(0.05)";
    let child = Command::new("python3")
        .args(["-c", script])
        .arg(&go)
        .spawn();
    let server = Server(child.expect("start python3"));
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            Run::of::<&str>("hist", [])
                .args(["--uid", "12321", "--duration", "5s", "--capture"])
                .args([&capture])
                .at(&place)
                .end()
        });
        let started = Instant::now();
        // It is written to from when everything is watched.
        while !std::fs::metadata(&capture).is_ok_and(|it| it.len() > 0) {
            assert!(started.elapsed() < patience(Duration::from_secs(60)));
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::write(&go, "").expect("tell the server");
        run.join().expect("a run")
    });
    assert_eq!(outcome.code(), 0, "{outcome}");
    let groups = outcome.report["groups"].as_array().expect("groups");
    let pids: Vec<_> = groups.iter().map(|it| it["pid"].clone()).collect();
    assert_eq!(pids, [server.0.id()], "{outcome}");
}
