//! LT114: what is passed to somebody outside lives on, which is a note. How survivors came by what
//! they have.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use leaktrace_tests::{Outcome, Place, needs};
use serde_json::Value;

use crate::check_steps;

/// Somebody outside of the run, who takes what is passed to it and keeps it.
pub(crate) struct Outsider {
    path: String,
    takes: JoinHandle<OwnedFd>,
}

impl Outsider {
    pub(crate) fn new(place: &Place) -> Self {
        let path = place.root().join("outsider").display().to_string();
        let listener = UnixListener::bind(&path).expect("bind a socket");
        let takes = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("somebody connects");
            take(&stream)
        });
        Self { path, takes }
    }

    /// Steps that make something named `x` and pass it on.
    pub(crate) fn check(self, place: &Place, steps: &[&str]) -> (Outcome, OwnedFd) {
        let connect = format!("connect-unix s {}", self.path);
        let mut all = vec!["unix s", &connect];
        all.extend(steps);
        // Long enough for it to be taken.
        all.extend(["send-fd s x", "sleep 300", "close x", "close s"]);
        let outcome = check_steps(&all).at(place).end();
        (outcome, self.takes.join().expect("something was passed"))
    }
}

/// One fd from a message.
fn take(stream: &UnixStream) -> OwnedFd {
    let mut byte = [0_u8; 1];
    let mut control = [0_u64; 4];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: all-zero bytes are a valid msghdr; the buffers outlive the call; the fd in the message
    // is ours alone.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let received = libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        assert_eq!(received, 1, "a byte with an fd");
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!header.is_null(), "an fd comes with the byte");
        OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<i32>().read_unaligned())
    }
}

/// That the finding names this very process and fd. Another scenario may just be starting something:
/// until that is executed it has a copy of the fd, by the same number.
#[track_caller]
pub(crate) fn kept_by_us(finding: &Value, fd: &OwnedFd) {
    let keepers = finding["kept_alive_by"].as_array().expect("a list");
    let is_ours = |keeper: &&Value| keeper["pid"] == std::process::id();
    assert_eq!(keepers.iter().filter(is_ours).count(), 1, "{finding}");
    for keeper in keepers {
        assert_eq!(keeper["fd"], fd.as_raw_fd(), "{finding}");
        let how = keeper["how"].as_str().unwrap_or_default();
        assert!(how.contains("passed over a socket"), "{finding}");
    }
}

#[test]
fn a_pipe_that_somebody_outside_has_is_a_note_that_names_them() {
    let place = Place::new();
    let (outcome, fd) = Outsider::new(&place).check(&place, &["pipe r x", "close r"]);
    outcome.clean();
    let finding = outcome.fired("LT114");
    assert_eq!(finding["level"], "note", "{outcome}");
    assert_eq!(finding["kind"], "pipe", "{outcome}");
    assert_eq!(finding["comm"], "steps", "{outcome}");
    kept_by_us(finding, &fd);
}

#[test]
fn what_is_closed_with_a_range_of_others_is_told_too() {
    let place = Place::new();
    let outsider = Outsider::new(&place);
    let connect = format!("connect-unix s {}", outsider.path);
    let steps = [
        "unix s",
        &connect,
        "pipe r x",
        "send-fd s x",
        "sleep 300",
        "close-range 3",
    ];
    let outcome = check_steps(&steps).at(&place).end();
    let fd = outsider.takes.join().expect("something was passed");
    outcome.clean();
    kept_by_us(outcome.fired("LT114"), &fd);
}

#[test]
fn a_file_that_somebody_outside_has_is_a_note() {
    let place = Place::new();
    let (outcome, fd) = Outsider::new(&place).check(&place, &["open x /etc/hosts"]);
    outcome.clean();
    kept_by_us(outcome.fired("LT114"), &fd);
}

#[test]
fn a_dup_of_what_the_run_was_given_is_not_the_runs() {
    // The shell around has the same pipe; within, its dup is what goes last.
    let around = "set -o pipefail; { \"$@\"; exit $?; } | cat";
    let shell = ["bash", "-c", around, "sh"];
    let command = ["sh", "-c", "exec 3>&1; exec 1>&-; exec 3>&-"];
    let outcome = leaktrace_tests::Run::check(command).through(shell).end();
    outcome.clean();
    assert!(outcome.of_rule("LT114").is_empty(), "{outcome}");
}

#[test]
fn what_is_passed_within_the_run_ends_with_it() {
    let steps = [
        "socketpair s t",
        "pipe r x",
        "fork k sleep 50",
        "send-fd s x",
        "close x",
        "close r",
        "close s",
        "close t",
        "wait k",
    ];
    check_steps(&steps).end().twin_clean("LT114");
}

#[test]
fn how_a_survivor_came_by_what_it_has_is_told() {
    let place = Place::new();
    let path = place.temp("shared");
    let create = format!("create a {path}");
    let steps = [&create, "fork k sleep 30000", "close a"];
    let outcome = check_steps(&steps)
        .args(["--settle", "100ms"])
        .at(&place)
        .end();
    let survivor = outcome.of_rule("LT101")[0];
    let pid = survivor["pid"].as_i64().unwrap_or_default();
    // SAFETY: no memory is passed; the survivor of this scenario.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    let caused = survivor["caused"].as_array().expect("a list");
    let file = caused.iter().find(|it| it["path"] == path);
    assert_eq!(
        file.map(|it| &it["how"]),
        Some(&Value::from("inherited at fork")),
        "{outcome}"
    );
    // The file is its maker's, and says who has it.
    let left = outcome.of_rule("LT109")[0];
    let keeper = &left["kept_alive_by"][0];
    assert_eq!(keeper["pid"], survivor["pid"], "{outcome}");
    assert_eq!(keeper["how"], "inherited at fork", "{outcome}");
    assert!(outcome.of_rule("LT114").is_empty(), "{outcome}");
}

#[test]
fn who_mapped_what_is_left_is_told() {
    needs("an iterator over mappings", (5, 12));
    let place = Place::new();
    let file = place.temp("mapped");
    let ready = place.cwd().join("ready");
    // This process maps the file while the run is under way, and closes it again.
    let (other, told) = (file.clone(), ready.clone());
    let holder = std::thread::spawn(move || {
        while !std::path::Path::new(&other).exists() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let opened = std::fs::File::open(&other).expect("it is there");
        // SAFETY: a new mapping of a file that is open, which nobody reads.
        let at = unsafe {
            let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                read,
                shared,
                opened.as_raw_fd(),
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED, "it can be mapped");
        std::fs::write(told, "").expect("say that it is mapped");
        at as usize
    });
    let create = format!("create a {file}");
    let wait = format!("await {}", ready.display());
    let outcome = check_steps(&[&create, &wait, "close a"]).at(&place).end();
    let at = holder.join().expect("somebody outside");
    // SAFETY: the mapping made above.
    unsafe { libc::munmap(at as *mut libc::c_void, 4096) };
    let finding = outcome.only_error("LT109");
    let keeper = &finding["kept_alive_by"][0];
    assert_eq!(keeper["pid"], std::process::id(), "{outcome}");
    assert_eq!(keeper["how"], "mapped it", "{outcome}");
}
