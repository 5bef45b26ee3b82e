//! `check` of a service that something else has started.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leaktrace_tests::{Outcome, Place, Run, needs, patience};
use serde_json::Value;

use crate::STEPS;

const PATIENCE: Duration = Duration::from_secs(60);

/// A service that does `steps` before it is watched, and `then` afterwards, until it is told to
/// end.
struct Service<'a> {
    place: &'a Place,
    process: Child,
}

impl<'a> Service<'a> {
    /// Starts it; `cgroup` is the directory of the one that it enters first.
    fn start(place: &'a Place, steps: &[&str], then: &[&str], cgroup: Option<&Path>) -> Self {
        let [ready, go, end] = ["ready", "go", "end"].map(|name| path(place, name));
        let [ready, go, end] = [
            format!("ready {ready}"),
            format!("await {go}"),
            format!("await {end}"),
        ];
        let enter = cgroup.map_or(String::new(), |cgroup| {
            format!("echo $$ >{}/cgroup.procs; ", cgroup.display())
        });
        let process = Command::new("sh")
            .args(["-c", &format!("{enter}exec \"$@\""), "sh", STEPS])
            .args(steps)
            .args([&ready, &go])
            .args(then)
            .arg(&end)
            .env("TMPDIR", place.tmp())
            .current_dir(place.cwd())
            .stdin(Stdio::null())
            .spawn()
            .expect("start the service");
        let service = Self { place, process };
        service.wait_for("ready", |text| !text.is_empty());
        service
    }

    fn pid(&self) -> String {
        self.process.id().to_string()
    }

    fn wait_for(&self, file: &str, has: impl Fn(&str) -> bool) {
        let started = Instant::now();
        while !std::fs::read_to_string(self.place.root().join(file)).is_ok_and(|text| has(&text)) {
            assert!(
                started.elapsed() < patience(PATIENCE),
                "{file} did not come"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn tell(&self, what: &str) {
        std::fs::write(self.place.root().join(what), "").expect("tell the service");
    }

    /// Watches it from here on, lets it do the rest, does something itself, and ends it.
    fn checked<I: Into<OsString>>(
        mut self,
        options: impl IntoIterator<Item = I>,
        meanwhile: impl FnOnce(),
    ) -> Outcome {
        let options: Vec<OsString> = options.into_iter().map(Into::into).collect();
        let place = self.place;
        std::thread::scope(|scope| {
            let run = scope.spawn(move || Run::check::<&str>([]).args(&options).at(place).end());
            self.wait_for("stderr", |text| {
                assert!(!text.contains("exit"), "{text}");
                text.contains("watching")
            });
            self.tell("go");
            meanwhile();
            self.tell("end");
            let status = self.process.wait().expect("wait for the service");
            assert!(status.success(), "the service failed");
            run.join().expect("a run")
        })
    }
}

fn path(place: &Place, name: &str) -> String {
    place.root().join(name).display().to_string()
}

#[track_caller]
fn only_left<'a>(outcome: &'a Outcome, path: &str) -> &'a Value {
    let finding = outcome.only_error("LT109");
    assert_eq!(finding["resource"]["path"], path, "{outcome}");
    assert_eq!(finding["count"], 1, "{outcome}");
    finding
}

#[test]
fn a_service_is_judged_when_it_ends_and_only_for_what_it_did_since() {
    let place = Place::new();
    let (before, after) = (place.temp("before"), place.temp("after"));
    let (before, create) = (format!("create b {before}"), format!("create a {after}"));
    let service = Service::start(&place, &[&before], &[&create], None);
    let pid = service.pid();
    let outcome = service.checked(["-p", &pid], || ());
    let finding = only_left(&outcome, &after);
    assert_eq!(finding["pid"].to_string(), pid, "{outcome}");

    let place = Place::new();
    let file = place.temp("after");
    let (create, remove) = (format!("create a {file}"), format!("unlink {file}"));
    let service = Service::start(
        &place,
        &["open x /etc/hosts"],
        &[&create, &remove, "close a"],
        None,
    );
    let pid = service.pid();
    service.checked(["-p", &pid], || ()).spotless();
}

#[test]
fn its_children_are_judged_with_it_and_what_outlives_it_is_named() {
    let place = Place::new();
    let file = place.temp("left");
    let child = format!("fork c create f {file}");
    let service = Service::start(&place, &[], &[&child, "wait c"], None);
    let pid = service.pid();
    only_left(&service.checked(["-p", &pid], || ()), &file);

    let place = Place::new();
    let service = Service::start(&place, &[], &["fork c sleep 20000"], None);
    let pid = service.pid();
    let outcome = service.checked(["-p", &pid, "--settle", "200ms"], || ());
    let survivor = outcome.only_error("LT101")["pid"].to_string();
    let killed = Command::new("kill").args(["-9", &survivor]).status();
    assert!(killed.is_ok_and(|status| status.success()), "{outcome}");
}

#[test]
fn while_the_service_goes_on_what_is_there_is_a_note() {
    let place = Place::new();
    let file = place.temp("left");
    let child = format!("fork c create f {file}");
    let mut service = Service::start(&place, &[], &[&child, "wait c"], None);
    let run = Run::check::<&str>([])
        .args(["-p", &service.pid(), "--duration", "3s"])
        .at(&place);
    std::thread::scope(|scope| {
        let run = scope.spawn(move || run.end());
        service.wait_for("stderr", |text| text.contains("watching"));
        service.tell("go");
        let outcome = run.join().expect("a run");
        outcome.clean();
        let notes = outcome.of_rule("LT109");
        assert_eq!(notes.len(), 1, "{outcome}");
        assert_eq!(notes[0]["level"], "note", "{outcome}");
        assert!(outcome.of_rule("LT101").is_empty(), "{outcome}");
    });
    service.tell("end");
    let status = service.process.wait().expect("wait for the service");
    assert!(status.success());
}

/// What is found of a service that wants a lock, and is watched for three seconds more until it
/// goes on; with a lock that somebody has until then, or without.
fn found_while_it_wants_a_lock(taken: bool) -> Outcome {
    let place = Place::new();
    let policy = "[thresholds]\nstale-operation = \"1s\"\n";
    std::fs::write(place.cwd().join("leaktrace.toml"), policy).expect("write the policy");
    let lock = File::create(place.root().join("lock")).expect("make the lock");
    if taken {
        lock.lock().expect("take the lock");
    }
    let (ready, go) = (path(&place, "ready"), path(&place, "go"));
    let process = Command::new(STEPS)
        .arg(format!("open g {}", path(&place, "lock")))
        .args([&format!("ready {ready}"), "flock g", "unlock g"])
        .args([&format!("await {go}"), "sleep 3000", "close g"])
        .current_dir(place.cwd())
        .stdin(Stdio::null())
        .spawn()
        .expect("start the service");
    let service = Service {
        place: &place,
        process,
    };
    service.wait_for("ready", |text| !text.is_empty());
    // Until it sleeps in the call.
    std::thread::sleep(Duration::from_secs(1));
    let pid = service.pid();
    service.checked(["-p", &pid], || {
        std::thread::sleep(Duration::from_secs(3));
        drop(lock);
    })
}

#[test]
fn a_call_that_it_is_in_when_it_is_watched_waits_from_then_on() {
    needs("bpf_loop", (5, 17));
    let outcome = found_while_it_wants_a_lock(true);
    outcome.clean();
    let note = outcome.fired("LT507");
    assert_eq!(note["resource"]["syscall"], "flock", "{outcome}");
    found_while_it_wants_a_lock(false).twin_clean("LT507");
}

/// A cgroup of a test's own, in the v2 hierarchy.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the list of mounts");
        let mount = mounts
            .lines()
            .find(|line| line.contains(" - cgroup2 "))
            .and_then(|line| line.split(' ').nth(4))
            .expect("a mounted v2 hierarchy");
        let directory = Path::new(mount).join(name);
        std::fs::create_dir(&directory).expect("make a cgroup");
        Self(directory)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel lets go of ended tasks a little later.
        for _ in 0..200 {
            if std::fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What is started in a watched cgroup is watched, by whomever it is started.
fn watched_group(name: &str, options: &[&str]) {
    let group = Group::new(name);
    let place = Place::new();
    let file = place.temp("left");
    let service = Service::start(&place, &[], &[], Some(&group.0));
    let script = format!(
        "echo $$ >{}/cgroup.procs; exec touch {file}",
        group.0.display()
    );
    let outcome = service.checked(options, || {
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.is_ok_and(|status| status.success()));
    });
    let finding = only_left(&outcome, &file);
    assert_eq!(finding["comm"], "touch", "{outcome}");
}

#[test]
fn a_cgroup_is_watched_with_what_enters_it() {
    let name = format!("leaktrace-test-{}", std::process::id());
    watched_group(&name, &["--cgroup", &format!("/{name}")]);
}

#[test]
fn a_container_is_found_by_the_cgroup_that_its_engine_has_made() {
    let id = format!("{:0>64x}", std::process::id());
    let id = format!("feedc0ffee00{}", &id[12..]);
    watched_group(&format!("docker-{id}.scope"), &["--container", &id[..12]]);
    let outcome = Run::check::<&str>([])
        .args(["--container", "no-such-container"])
        .end();
    assert_eq!(outcome.code(), 2, "{outcome}");
}

#[test]
fn a_capture_of_a_watched_service_is_judged_as_live() {
    let place = Place::new();
    let file = place.temp("left");
    let create = format!("create f {file}");
    let capture = path(&place, "capture.ltr");
    let service = Service::start(&place, &[], &[&create], None);
    let pid = service.pid();
    let live = service.checked(["-p", &pid, "--capture", &capture], || ());
    only_left(&live, &file);
    let again = Run::check::<&str>([])
        .args(["--from", &capture])
        .at(&place)
        .end();
    assert_eq!(
        again.report["findings"], live.report["findings"],
        "{live}\n{again}"
    );
    assert_eq!(again.report["processes"], live.report["processes"]);
}

#[test]
fn a_histogram_of_a_cgroup_has_nobody_else() {
    let name = format!("leaktrace-hist-{}", std::process::id());
    let group = Group::new(&name);
    let script = format!(
        "echo $$ >{}/cgroup.procs; while sleep 0.05; do ls >/dev/null; done",
        group.0.display()
    );
    let mut inside = Command::new("sh")
        .args(["-c", &script])
        .spawn()
        .expect("start a loop");
    let outcome = Run::of::<&str>("hist", [])
        .args([
            "--cgroup",
            &format!("/{name}"),
            "--by",
            "comm",
            "--duration",
            "3s",
        ])
        .end();
    inside.kill().expect("end the loop");
    inside.wait().expect("wait for the loop");
    assert_eq!(outcome.code(), 0, "{outcome}");
    let groups = outcome.report["groups"].as_array().expect("groups");
    let mut comms: Vec<_> = groups
        .iter()
        .filter_map(|group| group["comm"].as_str())
        .collect();
    // A child of the shell may be seen before its exec.
    comms.retain(|comm| *comm != "sh");
    comms.sort_unstable();
    assert_eq!(comms, ["ls", "sleep"], "{outcome}");
}
