//! LT204: rings of sockets held at exit. Those of io_uring are among what is `held`.

use leaktrace_tests::{Outcome, Run};
use serde_json::Value;

/// A program that takes rings from a socket.
const RINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/program/rings.py");

const ASKED: [&str; 2] = ["--fail-on", "LT204"];

fn rings(which: &str, end: &str) -> Outcome {
    Run::check(["python3", RINGS, which, end]).args(ASKED).end()
}

/// Acquired, released and held of a kind, by the last program of the root process.
fn counts(outcome: &Outcome, kind: &str) -> [u64; 3] {
    let counts = &outcome.report["processes"][0]["by_kind"][kind];
    ["acquired", "released", "held"].map(|name| counts[name].as_u64().unwrap_or(0))
}

fn bytes(outcome: &Outcome, kind: &str) -> Vec<u64> {
    let held = outcome.report["processes"][0]["held"].as_array();
    let of_kind = held.into_iter().flatten().filter(|it| it["kind"] == kind);
    let mut bytes: Vec<u64> = of_kind.filter_map(|it| it["bytes"].as_u64()).collect();
    bytes.sort_unstable();
    bytes
}

#[test]
fn a_packet_ring_is_held_with_its_socket() {
    let outcome = rings("packet", "keep");
    let error = outcome.only_error("LT204");
    assert_eq!(error["kind"], "packet-ring", "{outcome}");
    assert_eq!(error["resource"]["bytes"], 4 * 4096, "{outcome}");
    assert_eq!(counts(&outcome, "packet-ring"), [2, 1, 1], "{outcome}");
    let twin = rings("packet", "close");
    assert_eq!(counts(&twin, "packet-ring"), [2, 2, 0], "{twin}");
    twin.twin_clean("LT204");
}

#[test]
fn the_rings_of_an_express_data_path_are_held_with_its_socket() {
    let outcome = rings("xdp", "keep");
    assert_eq!(outcome.code(), 100, "{outcome}");
    assert_eq!(counts(&outcome, "xdp-ring"), [3, 0, 3], "{outcome}");
    assert_eq!(
        bytes(&outcome, "xdp-ring"),
        [32 * 16, 64 * 8, 65536],
        "{outcome}"
    );
    let twin = rings("xdp", "close");
    assert_eq!(counts(&twin, "xdp-ring"), [3, 3, 0], "{twin}");
    twin.twin_clean("LT204");
}

#[test]
fn what_a_program_leaves_to_the_kernel_is_counted() {
    let outcome = Run::check([
        "python3",
        "-c",
        "import os, signal, threading\nsignal.signal(15, lambda *_: 0)\nsignal.pthread_sigmask(0, [10])\n\
         os.kill(os.getpid(), 10)\nthreading.Thread(target=signal.pause).start()\nos._exit(0)",
    ])
    .end();
    for kind in ["heap", "anonymous", "private-mapping", "signal-handler"] {
        assert!(counts(&outcome, kind)[2] > 0, "{kind}: {outcome}");
    }
    assert_eq!(counts(&outcome, "heap")[2], 1, "{outcome}");
    assert_eq!(counts(&outcome, "stack")[2], 1, "of the thread: {outcome}");
    let signals = &outcome.report["processes"][0]["teardown"]["signals"];
    let has = |set: &str, name: &str| {
        let names = signals[set].as_array();
        names.is_some_and(|names| names.contains(&Value::from(name)))
    };
    assert!(has("handled", "SIGTERM"), "{outcome}");
    assert!(has("ignored", "SIGPIPE"), "{outcome}");
    assert!(has("blocked", "SIGUSR1"), "{outcome}");
    assert!(has("pending", "SIGUSR1"), "{outcome}");
}
