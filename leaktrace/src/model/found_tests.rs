//! fds that are seen in a table, or gone from it, without a call that says so.
#![expect(clippy::unwrap_used, reason = "tests")]

use leaktrace_common::abi::Op;

use super::{
    facts::{How, Kind, ProcessFacts},
    testing::{Actor, Script, file},
    tests::{begin, own, play, process, stdio},
};

/// Ends the script with these fds in the kernel's table beside stdio; our table must have been
/// the same.
fn ended(script: &mut Script, root: &Actor, left: &[(i32, u64)]) -> ProcessFacts {
    let mut all = stdio();
    all.extend(left.iter().map(|(fd, address)| (*fd, file(*address))));
    script.exit(root, 0, &all);
    let facts = play(script).facts();
    assert_eq!(facts.self_check, (1, 0));
    process(&facts, 100).clone()
}

fn counts(process: &ProcessFacts) -> (u64, u64) {
    let counts = process.by_kind[&Kind::File];
    (counts.acquired, counts.released)
}

#[test]
fn what_is_found_is_acquired_and_how_it_came_is_told() {
    let (mut script, root) = begin();
    script.found(&root, 3, file(0x100), Op::RECVMSG);
    script.found(&root, 4, file(0x200), Op::PIDFD_GETFD);
    script.found(&root, 5, file(0x300), Op::URING_OPENAT);
    script.close(&root, 4, 0x200);
    let process = ended(&mut script, &root, &[(3, 0x100), (5, 0x300)]);
    let held = &process.end.as_ref().unwrap().held;
    assert_eq!(own(held), [3, 5]);
    let how: Vec<_> = held.iter().filter_map(|held| held.resource.how).collect();
    assert!(how.contains(&How::Socket) && how.contains(&How::Ring));
    assert_eq!(counts(&process), (3, 1));
}

#[test]
fn what_is_found_and_was_told_is_the_same_one() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    script.found(&root, 3, file(0x100), Op::IOCTL);
    let process = ended(&mut script, &root, &[(3, 0x100)]);
    assert_eq!(counts(&process), (1, 0));
    let resource = &process.end.as_ref().unwrap().held[3].resource;
    assert_eq!(resource.op, Some(Op::OPENAT));
}

#[test]
fn what_is_found_before_its_own_call_tells_of_it_is_counted_once() {
    let (mut script, root) = begin();
    script.found(&root, 3, file(0x100), Op::IOCTL);
    script.open(&root, 3, 0x100, "/a");
    let process = ended(&mut script, &root, &[(3, 0x100)]);
    assert_eq!(counts(&process), (1, 0));
}

#[test]
fn a_close_that_waits_does_not_take_what_is_found_later() {
    let (mut script, root) = begin();
    // Received and closed by another thread before it was seen; then the address comes again.
    script.close(&root, 3, 0x100);
    script.found(&root, 3, file(0x100), Op::RECVMSG);
    let process = ended(&mut script, &root, &[(3, 0x100)]);
    assert_eq!(own(&process.end.as_ref().unwrap().held), [3]);
}

#[test]
fn what_a_ring_closed_is_what_the_number_held() {
    let (mut script, root) = begin();
    script.open(&root, 3, 0x100, "/a");
    script.gone(&root, 3, 0);
    script.open(&root, 4, 0x200, "/b");
    // The number holds another file by the time the close is told.
    script.open(&root, 3, 0x300, "/c");
    script.found(&root, 3, file(0x400), Op::URING_OPENAT);
    script.gone(&root, 3, 0x400);
    // Told twice: nothing is there any more that could be meant.
    script.gone(&root, 3, 0x400);
    let process = ended(&mut script, &root, &[(3, 0x400), (4, 0x200)]);
    assert_eq!(counts(&process), (4, 2));
}
