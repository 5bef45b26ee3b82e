//! LT106, LT107, LT108: POSIX objects are names, and names stay.

use leaktrace_tests::{Outcome, Run, is_emulated};

use crate::check_steps;

/// Removes a name under /dev/shm, whatever becomes of the scenario.
struct Shm(String);

impl Drop for Shm {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(format!("/dev/shm/{}", self.0));
    }
}

fn name(what: &str) -> String {
    format!("leaktrace-{what}-{}", std::process::id())
}

fn python(script: &str) -> Outcome {
    Run::check(["python3", "-c", script]).end()
}

#[test]
fn shared_memory_never_unlinked_is_an_error() {
    let made = Shm(name("py"));
    let outcome = python(&format!(
        "import _posixshmem, os\nos.close(_posixshmem.shm_open('/{}', os.O_CREAT|os.O_RDWR, 0o600))",
        made.0
    ));
    let finding = outcome.only_error("LT106");
    assert_eq!(finding["name"], "posix-shm-left");
    assert!(
        finding["comm"]
            .as_str()
            .is_some_and(|comm| comm.starts_with("python"))
    );
    let path = finding["resource"]["path"].as_str().unwrap_or_default();
    assert!(path.ends_with(&made.0), "{outcome}");
}

#[test]
fn shared_memory_unlinked_by_its_creator_is_gone() {
    let name = name("rs-twin");
    check_steps(&[
        &format!("shm_open a /{name}"),
        "mmap-shared m a 65536",
        "munmap m",
        "close a",
        &format!("shm_unlink /{name}"),
    ])
    .end()
    .twin_clean("LT106");
}

#[test]
fn pythons_tracker_may_unlink_later() {
    // The resource tracker, a child, unlinks after its parent has gone: nothing is left over.
    let script = "from multiprocessing.shared_memory import SharedMemory\n\
                  SharedMemory(create=True, size=4096)";
    let run = Run::check(["python3", "-c", script]);
    // Emulated, the end of a Python takes longer than what is waited for.
    let run = if is_emulated() {
        run.args(["--settle", "10s"])
    } else {
        run
    };
    run.end().clean();
}

#[test]
fn shared_memory_taken_from_pythons_tracker_is_an_error() {
    let made = Shm(name("untracked"));
    let outcome = python(&format!(
        "from multiprocessing import shared_memory, resource_tracker\n\
         shm = shared_memory.SharedMemory(name='{}', create=True, size=4096)\n\
         resource_tracker.unregister(shm._name, 'shared_memory')",
        made.0
    ));
    let finding = outcome.only_error("LT106");
    assert_eq!(finding["resource"]["bytes"], 4096, "{outcome}");
}

#[test]
fn a_named_semaphore_never_unlinked_is_an_error() {
    let name = name("sem");
    let _made = Shm(format!("sem.{name}"));
    let outcome = check_steps(&[&format!("sem_open /{name}")]).end();
    let finding = outcome.only_error("LT107");
    assert_eq!(finding["name"], "posix-sem-left");
    assert_eq!(finding["comm"], "steps");
    let twin = self::name("sem-twin");
    let unlink = format!("sem_unlink /{twin}");
    check_steps(&[&format!("sem_open /{twin}"), &unlink])
        .end()
        .twin_clean("LT107");
}

#[test]
fn a_message_queue_never_unlinked_is_an_error() {
    let name = name("mq");
    let open = format!("mq_open q /{name}");
    let outcome = check_steps(&[&open, "close q"]).end();
    let removed = std::process::Command::new(crate::STEPS)
        .arg(format!("mq_unlink /{name}"))
        .status();
    let finding = outcome.only_error("LT108");
    assert_eq!(finding["name"], "posix-mq-left");
    assert_eq!(finding["comm"], "steps");
    assert!(
        removed.is_ok_and(|status| status.success()),
        "it was left, so it can be removed"
    );
    let unlink = format!("mq_unlink /{name}");
    check_steps(&[&open, "close q", &unlink])
        .end()
        .twin_clean("LT108");
}
