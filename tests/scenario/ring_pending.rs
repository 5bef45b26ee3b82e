//! LT117: requests that go on when their ring and their process are gone.

use std::process::Command;

use leaktrace_tests::{Place, Run, needs_a_module};
use serde_json::json;

use crate::environment::{calls_can_be_missed, coverage};

/// Sends one datagram without a copy, and ends. `WAIT`: not before the network has let go of it.
const SEND: &str = "
import ctypes, mmap, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
params = bytearray(120)
ring = libc.syscall(425, 4, (ctypes.c_char * 120).from_buffer(params))
assert ring >= 0, os.strerror(ctypes.get_errno())
sq_entries, cq_entries = struct.unpack_from('II', params, 0)
tail, array = struct.unpack_from('I', params, 44)[0], struct.unpack_from('I', params, 64)[0]
sq = mmap.mmap(ring, array + sq_entries * 4, offset=0)
sqes = mmap.mmap(ring, sq_entries * 64, offset=0x10000000)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9))
data = mmap.mmap(-1, 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(data))
IORING_OP_SEND_ZC = 47
sqes[0:40] = struct.pack('<BBHiQQIIQ', IORING_OP_SEND_ZC, 0, 0, s.fileno(), 0, address, 1000, 0, 7)
sq[array:array + 4] = struct.pack('I', 0)
sq[tail:tail + 4] = struct.pack('I', 1)
GETEVENTS = 1
wait = int(sys.argv[2])
assert libc.syscall(426, ring, 1, wait, GETEVENTS if wait else 0, None, 0) == 1
os._exit(0)
";

/// A network of its own with an address at which nobody answers: what is sent there waits for a
/// minute for a neighbour, which a machine that is busy needs too.
struct Network(String);

impl Network {
    fn new(place: &Place) -> Self {
        needs_a_module();
        let path = place.root().join("net").display().to_string();
        std::fs::write(&path, "").expect("make a file");
        let network = Self(path);
        let made = Command::new("unshare")
            .args([&format!("--net={}", network.0), "true"])
            .status();
        assert!(made.is_ok_and(|it| it.success()), "make a network");
        let setup = "ip link add v0 type veth peer name v1 && ip addr add 10.9.0.1/24 dev v0 \
                     && ip link set v0 up && ip link set v1 up && ip link set lo up \
                     && echo 60 >/proc/sys/net/ipv4/neigh/v0/mcast_solicit";
        let done = Command::new("nsenter")
            .args([&format!("--net={}", network.0), "sh", "-c", setup])
            .status();
        assert!(done.is_ok_and(|it| it.success()), "set up a network");
        network
    }

    fn send(&self, place: &Place, to: &str, wait: &str) -> leaktrace_tests::Outcome {
        crate::uring::needs(47, "IORING_OP_SEND_ZC", "6.0");
        let inside = format!("--net={}", self.0);
        let command = ["nsenter", &inside, "python3", "-c", SEND, to, wait];
        Run::check(command).at(place).args(["--settle", "1s"]).end()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_send_that_the_network_still_has_when_its_process_is_gone_is_an_error() {
    let place = Place::new();
    let outcome = Network::new(&place).send(&place, "10.9.0.2", "0");
    // Of an end that can be missed nobody can say that it does not come.
    if calls_can_be_missed() {
        assert_eq!(coverage(&outcome, "ring").0, "partial", "{outcome}");
        assert_eq!(outcome.report["not_judged"], json!(["LT117"]), "{outcome}");
        outcome.twin_clean("LT117");
        return;
    }
    let finding = outcome.only_error("LT117");
    assert_eq!(finding["name"], "ring-pending");
    assert_eq!(finding["kind"], "io_uring");
    assert!(
        finding["comm"]
            .as_str()
            .is_some_and(|comm| comm.starts_with("python")),
        "{outcome}"
    );
    let waited = outcome.report["settle"]["waited_ns"]
        .as_u64()
        .unwrap_or_default();
    // At least half of the time to settle; the rest is for asking and judging.
    assert!(waited >= 500_000_000, "settling waits for it: {outcome}");
}

#[test]
fn a_send_whose_completions_are_waited_for_is_none() {
    let place = Place::new();
    // Two completions: sent, and let go of.
    let outcome = Network::new(&place).send(&place, "127.0.0.1", "2");
    outcome.twin_clean("LT117");
    let waited = outcome.report["settle"]["waited_ns"]
        .as_u64()
        .unwrap_or_default();
    assert!(
        waited < 900_000_000,
        "a ring's own end takes no second: {outcome}"
    );
}
