//! Little room: few files, few tasks, little memory. What does not fit is refused in one sentence before the
//! command is run, and nobody is harmed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leaktrace_tests::{Outcome, Place, linux};

use crate::check_sh;

/// The command, if it is run, says so and shows its limit.
fn with_files(limit: u32, place: &Place) -> Outcome {
    let script = format!("ulimit -n {limit}; exec \"$@\"");
    check_sh(": >ran; ulimit -n; ulimit -Hn")
        .text()
        .at(place)
        .through(["sh", "-c", &script, "sh"])
        .end()
}

/// What is enough: from Linux 7.0 on leaktrace has two programs more, with a link each.
fn enough() -> u32 {
    if linux() < (7, 0) { 64 } else { 70 }
}

#[test]
fn sixty_four_files_are_enough_and_the_command_keeps_its_limit() {
    let place = Place::new();
    let outcome = with_files(enough(), &place);
    assert_eq!(outcome.code(), 0, "{outcome}");
    assert_eq!(outcome.stdout, format!("{0}\n{0}\n", enough()), "{outcome}");
    assert!(outcome.stderr.contains("clean"), "{outcome}");
}

#[test]
fn too_few_files_are_refused_in_one_sentence() {
    for limit in [4, 5, 8, 10, 12, 16, 20, 32, 48] {
        let place = Place::new();
        let outcome = with_files(limit, &place);
        assert!(
            matches!(outcome.code(), 77 | 125),
            "limit {limit}: {outcome}"
        );
        assert_eq!(
            outcome.stderr.lines().count(),
            1,
            "limit {limit}: {outcome}"
        );
        assert!(outcome.stderr.contains("open files"), "{outcome}");
        assert!(
            !place.cwd().join("ran").exists(),
            "limit {limit}: {outcome}"
        );
    }
}

/// A cgroup with a limit, removed at the end.
struct Limited(PathBuf);

impl Limited {
    /// `controller` limits something to `most`: how the file is called in a hierarchy of its own, and
    /// in the unified one.
    fn new(controller: &str, [own, shared]: [&str; 2], most: u64) -> Self {
        let name = format!("leaktrace-{controller}-{most}-{}", std::process::id());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let hierarchy = |line: &str| {
            let (point, rest) = (line.split(' ').nth(4)?, line.split_once(" - ")?.1);
            let unified = rest.starts_with("cgroup2 ");
            let v1 = rest.starts_with("cgroup ") && rest.ends_with(controller);
            let controllers = std::fs::read_to_string(format!("{point}/cgroup.controllers"));
            let has_it = controllers.is_ok_and(|text| text.contains(controller));
            (v1 || unified && has_it).then(|| (PathBuf::from(point), unified))
        };
        let (root, unified) = mounts
            .lines()
            .find_map(hierarchy)
            .expect("a hierarchy with that controller");
        if unified {
            write(
                &root.join("cgroup.subtree_control"),
                &format!("+{controller}"),
            );
        }
        let directory = root.join(name);
        std::fs::create_dir(&directory).expect("make a cgroup");
        let file = if unified { shared } else { own };
        write(&directory.join(file), &most.to_string());
        Self(directory)
    }

    /// Runs a command that says that it ran, and ends with 3.
    fn check(&self, place: &Place) -> Outcome {
        let script = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", self.0.display());
        check_sh(": >ran; exit 3")
            .text()
            .at(place)
            .through(["sh", "-c", &script, "sh"])
            .end()
    }
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

impl Drop for Limited {
    fn drop(&mut self) {
        for _ in 0..200 {
            if std::fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn with_memory(mib: u64) -> (Outcome, Place) {
    let place = Place::new();
    let files = ["memory.limit_in_bytes", "memory.max"];
    let outcome = Limited::new("memory", files, mib << 20).check(&place);
    (outcome, place)
}

#[test]
fn a_cgroup_without_room_for_threads_is_refused_in_one_sentence() {
    for tasks in [1, 2, 3] {
        let place = Place::new();
        let outcome = Limited::new("pids", ["pids.max"; 2], tasks).check(&place);
        assert!(matches!(outcome.code(), 77 | 125), "{tasks}: {outcome}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{tasks}: {outcome}");
        let stderr = &outcome.stderr;
        let says = |word| stderr.contains(word);
        assert!(
            says("cannot fork") || says("cannot make a thread"),
            "{outcome}"
        );
        assert!(!place.cwd().join("ran").exists(), "{tasks}: {outcome}");
    }
    let place = Place::new();
    // leaktrace, the child that becomes the command, three threads, and those that are not quite gone.
    let outcome = Limited::new("pids", ["pids.max"; 2], 16).check(&place);
    assert_eq!(outcome.code(), 3, "{outcome}");
    assert!(outcome.stderr.contains("clean"), "{outcome}");
}

#[test]
fn a_cgroup_with_little_memory_is_not_made_to_kill_anybody() {
    for mib in [16, 64, 128] {
        let (outcome, place) = with_memory(mib);
        assert_eq!(outcome.code(), 77, "{mib} MiB: {outcome}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{mib} MiB: {outcome}");
        assert!(outcome.stderr.contains("memory limit"), "{outcome}");
        assert!(!place.cwd().join("ran").exists(), "{outcome}");
    }
}

#[test]
fn a_cgroup_with_enough_memory_is_no_obstacle() {
    let (outcome, _place) = with_memory(320);
    assert_eq!(outcome.code(), 3, "{outcome}");
    assert!(outcome.stderr.contains("clean"), "{outcome}");
}
