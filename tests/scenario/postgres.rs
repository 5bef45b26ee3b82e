//! A database server: processes that share memory of every sort, a socket, lock files.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use leaktrace_tests::{Outcome, Place, Run};
use serde_json::Value;

const USER: &str = "postgres";

/// Where Debian has the server; there may be several.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("Debian's postgresql-15");
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.expect("a version").path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("Debian's postgresql-15")
}

/// A database of its own, used and then ended as `how` says.
fn used(place: &Place, how: &str) -> Outcome {
    let bin = programs();
    // The server refuses to be root, and directories that others may write to.
    let _copy = place.open_to_all();
    let data = place.cwd().join("data");
    let made = Command::new("setpriv")
        .args(["--reuid", USER, "--regid", USER, "--init-groups"])
        .arg(bin.join("initdb"))
        .args(["-A", "trust", "-N", "-D"])
        .arg(&data)
        .current_dir(place.cwd())
        .output()
        .expect("run initdb");
    assert!(made.status.success(), "{made:?}");
    let script = place.root().join("use.sh");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/program/postgres/use.sh");
    std::fs::copy(source, &script).expect("copy the script");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o644)).expect("let others read");
    Run::check([
        "sh".as_ref(),
        script.as_os_str(),
        bin.as_os_str(),
        data.as_os_str(),
        place.tmp().as_os_str(),
        how.as_ref(),
    ])
    .args(["--user", USER])
    .at(place)
    .end()
}

/// Each thing that is left, as (rule, what of it is known beforehand).
fn things<'a>(outcome: &'a Outcome, rule: &str) -> Vec<&'a Value> {
    let findings = outcome.of_rule(rule).into_iter();
    findings
        .flat_map(|finding| finding["instances"].as_array().into_iter().flatten())
        .collect()
}

fn paths(outcome: &Outcome, rule: &str) -> Vec<String> {
    let path = |thing: &&Value| thing["resource"]["path"].as_str().map(str::to_owned);
    let mut paths: Vec<_> = things(outcome, rule).iter().filter_map(path).collect();
    paths.sort();
    paths
}

/// What a killed server has left for good.
struct Left {
    survivors: Vec<i32>,
    segments: Vec<i32>,
    memory: Vec<String>,
}

impl Drop for Left {
    fn drop(&mut self) {
        for pid in self.survivors.iter().filter(|pid| **pid > 1) {
            // SAFETY: passes no memory.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        for id in &self.segments {
            // SAFETY: IPC_RMID needs no buffer.
            unsafe { libc::shmctl(*id, libc::IPC_RMID, std::ptr::null_mut()) };
        }
        for path in &self.memory {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn number(value: &Value) -> i32 {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.unwrap_or(-1)
}

#[test]
fn a_server_that_is_stopped_is_clean() {
    let place = Place::new();
    used(&place, "stop").clean();
}

#[test]
fn all_that_a_killed_server_leaves_is_named() {
    let place = Place::new();
    let outcome = used(&place, "kill");
    let left = Left {
        survivors: things(&outcome, "LT101")
            .iter()
            .map(|it| number(&it["pid"]))
            .collect(),
        segments: things(&outcome, "LT103")
            .iter()
            .map(|it| number(&it["resource"]["id"]))
            .collect(),
        memory: paths(&outcome, "LT106"),
    };
    assert_eq!(outcome.code(), 100, "{outcome}");
    // The client and the backend that computes for it; all others see that the server is gone.
    let mut comms: Vec<_> = things(&outcome, "LT101")
        .iter()
        .map(|it| it["comm"].as_str().unwrap_or_default().to_owned())
        .collect();
    comms.sort();
    assert_eq!(comms, ["postgres", "psql"], "{outcome}");
    // The segment that tells the next server that somebody is still there.
    assert_eq!(left.segments.len(), 1, "{outcome}");
    let backend = things(&outcome, "LT101")
        .into_iter()
        .find(|it| it["comm"] == "postgres")
        .map(|it| it["pid"].clone());
    let keeper = &outcome.of_rule("LT103")[0]["kept_alive_by"][0]["pid"];
    assert_eq!(Some(keeper), backend.as_ref(), "{outcome}");
    assert!(!left.memory.is_empty(), "{outcome}");
    assert!(
        left.memory
            .iter()
            .all(|path| path.starts_with("/dev/shm/PostgreSQL.")),
        "{outcome}"
    );
    let socket = place.temp(".s.PGSQL.5432");
    assert_eq!(
        paths(&outcome, "LT111"),
        std::slice::from_ref(&socket),
        "{outcome}"
    );
    let pid_file = place
        .cwd()
        .join("data/postmaster.pid")
        .display()
        .to_string();
    let mut locks = [format!("{socket}.lock"), pid_file];
    locks.sort();
    assert_eq!(paths(&outcome, "LT113"), locks, "{outcome}");
    let rules = ["LT101", "LT103", "LT106", "LT111", "LT113"];
    let known = |finding: &&Value| rules.iter().any(|rule| finding["rule"] == *rule);
    assert!(outcome.errors().iter().all(known), "{outcome}");
}
