//! Little room: few files, little memory. What does not fit is refused in one sentence before the
//! command is run, and nobody is harmed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leaktrace_tests::{Outcome, Place};

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
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let major = release.split('.').next().map(str::parse::<u32>);
    match major {
        Some(Ok(..7)) => 64,
        _ => 70,
    }
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

/// A cgroup that limits memory, removed at the end.
struct Limited(PathBuf);

impl Limited {
    fn new(name: &str, bytes: u64) -> Self {
        let name = format!("leaktrace-{name}-{}", std::process::id());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let hierarchy = |line: &str| {
            let (point, rest) = (line.split(' ').nth(4)?, line.split_once(" - ")?.1);
            let unified = rest.starts_with("cgroup2 ");
            let v1 = rest.starts_with("cgroup ") && rest.ends_with("memory");
            let controllers = std::fs::read_to_string(format!("{point}/cgroup.controllers"));
            let has_memory = controllers.is_ok_and(|text| text.contains("memory"));
            (v1 || unified && has_memory).then(|| (PathBuf::from(point), unified))
        };
        let (root, unified) = mounts
            .lines()
            .find_map(hierarchy)
            .expect("a hierarchy that can limit memory");
        if unified {
            write(&root.join("cgroup.subtree_control"), "+memory");
        }
        let directory = root.join(name);
        std::fs::create_dir(&directory).expect("make a cgroup");
        let limit = match unified {
            true => "memory.max",
            false => "memory.limit_in_bytes",
        };
        write(&directory.join(limit), &bytes.to_string());
        Self(directory)
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
    let cgroup = Limited::new(&format!("{mib}m"), mib << 20);
    let script = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", cgroup.0.display());
    let outcome = check_sh(": >ran; exit 3")
        .text()
        .at(&place)
        .through(["sh", "-c", &script, "sh"])
        .end();
    (outcome, place)
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
