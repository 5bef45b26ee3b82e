//! LT601 and LT602: rings and aio contexts that go before their requests, buffers that go before
//! their ring.

use leaktrace_tests::needs;

use crate::check_steps;

#[test]
fn a_ring_that_is_closed_while_a_read_waits() {
    let steps = ["pipe r w", "ring q", "ring-read q r", "ring-close q"];
    let outcome = check_steps(&steps).end();
    outcome.clean();
    let note = outcome.fired("LT601");
    assert_eq!(note["kind"], "io_uring", "{outcome}");
    let message = note["message"].as_str().unwrap_or_default();
    assert!(message.contains("1 request in flight"), "{outcome}");
}

#[test]
fn a_ring_that_ends_with_its_process_while_a_read_waits() {
    let outcome = check_steps(&["pipe r w", "ring q", "ring-read q r"]).end();
    outcome.clean();
    outcome.fired("LT601");
}

#[test]
fn a_ring_whose_read_is_done_is_not() {
    let steps = [
        "pipe r w",
        "ring q",
        "ring-read q r",
        "write w 1",
        "ring-await q",
        "ring-close q",
    ];
    check_steps(&steps).end().twin_clean("LT601");
    check_steps(&["ring q"]).end().twin_clean("LT601");
}

#[test]
fn a_buffer_that_is_unmapped_while_it_is_registered() {
    let steps = [
        "mmap m 4096",
        "ring q",
        "ring-buffers q m",
        "munmap m",
        "ring-close q",
    ];
    let outcome = check_steps(&steps).end();
    outcome.clean();
    assert_eq!(
        outcome.fired("LT602")["resource"]["bytes"],
        4096,
        "{outcome}"
    );
    let first = [
        "mmap m 4096",
        "ring q",
        "ring-buffers q m",
        "ring-close q",
        "munmap m",
    ];
    check_steps(&first).end().twin_clean("LT602");
    let taken_back = [
        "mmap m 4096",
        "ring q",
        "ring-buffers q m",
        "ring-unregister q",
        "munmap m",
        "ring-close q",
    ];
    check_steps(&taken_back).end().twin_clean("LT602");
}

#[test]
fn an_aio_context_is_a_ring() {
    let outcome = check_steps(&["aio a"]).args(["--fail-on", "ring"]).end();
    assert_eq!(outcome.only_error("LT204")["kind"], "aio", "{outcome}");
    let twin = check_steps(&["aio a", "aio-destroy a"]);
    twin.args(["--fail-on", "ring"]).end().twin_clean("LT204");
}

#[test]
fn an_aio_context_that_is_destroyed_while_a_request_waits() {
    needs("bpf_loop", (5, 17));
    let outcome = check_steps(&["pipe r w", "aio a", "aio-poll a r", "aio-destroy a"]).end();
    outcome.clean();
    let note = outcome.fired("LT601");
    assert_eq!(note["kind"], "aio", "{outcome}");
    assert_eq!(note["resource"]["syscall"], "io_destroy", "{outcome}");
    let message = note["message"].as_str().unwrap_or_default();
    assert!(message.contains("1 request in flight"), "{outcome}");
}

#[test]
fn an_aio_context_that_ends_with_its_process_while_a_request_waits() {
    needs("bpf_loop", (5, 17));
    let outcome = check_steps(&["pipe r w", "aio a", "aio-poll a r"]).end();
    outcome.clean();
    assert_eq!(outcome.fired("LT601")["kind"], "aio", "{outcome}");
}

#[test]
fn an_aio_context_whose_requests_are_done_is_not() {
    let taken = [
        "pipe r w",
        "aio a",
        "aio-poll a r",
        "write w 1",
        "aio-await a",
        "aio-destroy a",
    ];
    check_steps(&taken).end().twin_clean("LT601");
    // Nobody takes its event: it is done all the same.
    let done = ["pipe r w", "aio a", "aio-poll a r", "write w 1"];
    check_steps(&done).end().twin_clean("LT601");
    let destroyed = [&done[..], &["aio-destroy a"]].concat();
    check_steps(&destroyed).end().twin_clean("LT601");
    check_steps(&["aio a"]).end().twin_clean("LT601");
}
