//! What the model makes of aio contexts.
#![expect(clippy::unwrap_used, reason = "tests")]

use leaktrace_common::{
    abi::Op,
    record::{
        Family,
        call::{Call, call_flag},
        kind,
        ring::{AioState, aio_cause},
    },
};

use super::{
    conduct::{Conduct, HazardKind},
    testing::{Actor, Script},
    tests::{begin, play, process, stdio},
};

const CONTEXT: u64 = 0x7f00_0000_1000;
const PLACES: u32 = 128;
const SECOND: u64 = 1_000_000_000;

fn call(script: &mut Script, actor: &Actor, op: Op, result: i64) {
    call_since(script, actor, op, result, script.now);
}

fn call_since(script: &mut Script, actor: &Actor, op: Op, result: i64, begin_ns: u64) {
    let (first, value) = match op {
        Op::IO_SETUP => (8, CONTEXT),
        _ => (CONTEXT, 0),
    };
    let call = Call {
        begin_ns,
        result,
        arguments: [first, 0, 0, 0],
        value,
        op: op.0,
        ..Call::default()
    };
    let kind = (Family::Ring as u16) << 8 | kind::CALL;
    script.record(actor, kind, 0, &call, &[]);
}

fn state(script: &mut Script, actor: &Actor, cause: u32, tail: u32) {
    let state = AioState {
        context: CONTEXT,
        entries: PLACES,
        tail,
        cause,
        reserved: 0,
    };
    script.record(actor, kind::AIO_STATE, 0, &state, &[]);
}

fn ended(mut script: Script, root: &Actor) -> Conduct {
    script.exit(root, 0, &stdio());
    let facts = play(&mut script).facts();
    process(&facts, 100).conduct.clone()
}

fn in_flight(conduct: &Conduct) -> Vec<u32> {
    let hazards = conduct.hazards.iter();
    let counts = hazards.filter_map(|hazard| match hazard.what {
        HazardKind::RingInFlight(count) => Some(count),
        _ => None,
    });
    counts.collect()
}

fn set_up() -> (Script, Actor) {
    let (mut script, root) = begin();
    call(&mut script, &root, Op::IO_SETUP, 0);
    (script, root)
}

#[test]
fn what_was_submitted_and_not_completed_is_in_flight_at_destroy_and_at_exit() {
    // More than the places of the ring: its count begins again.
    for (submitted, tail, wanted) in [(300, 300 % PLACES, vec![]), (301, 300 % PLACES, vec![1])] {
        let (mut script, root) = set_up();
        call(&mut script, &root, Op::IO_SUBMIT, submitted);
        state(&mut script, &root, aio_cause::DESTROY, tail);
        call(&mut script, &root, Op::IO_DESTROY, 0);
        assert_eq!(in_flight(&ended(script, &root)), wanted);
        let (mut script, root) = set_up();
        call(&mut script, &root, Op::IO_SUBMIT, submitted);
        state(&mut script, &root, aio_cause::EXIT, tail);
        assert_eq!(in_flight(&ended(script, &root)), wanted);
    }
}

#[test]
fn a_context_that_is_not_destroyed_after_all_is_not_told() {
    let (mut script, root) = set_up();
    call(&mut script, &root, Op::IO_SUBMIT, 1);
    state(&mut script, &root, aio_cause::DESTROY, 0);
    assert!(in_flight(&ended(script, &root)).is_empty());
}

#[test]
fn amid_the_submission_of_another_thread_nothing_is_claimed() {
    let (mut script, root) = set_up();
    call(&mut script, &root, Op::IO_SUBMIT, 1);
    let began = script.now;
    // One of the two that are being submitted is done already.
    state(&mut script, &root, aio_cause::EXIT, 2);
    call_since(&mut script, &root.thread(101), Op::IO_SUBMIT, 2, began);
    assert!(in_flight(&ended(script, &root)).is_empty());
    let (mut script, root) = set_up();
    call(&mut script, &root.thread(101), Op::IO_SUBMIT, 1);
    state(&mut script, &root, aio_cause::EXIT, 0);
    assert!(in_flight(&ended(script, &root)).is_empty(), "about then");
}

#[test]
fn after_a_loss_nothing_is_claimed() {
    let (mut script, root) = set_up();
    call(&mut script, &root, Op::IO_SUBMIT, 1);
    script.dropped += 1;
    state(&mut script, &root, aio_cause::EXIT, 0);
    assert!(in_flight(&ended(script, &root)).is_empty());
}

#[test]
fn a_context_that_others_use_too_is_not_judged() {
    let (mut script, root) = set_up();
    call(&mut script, &root, Op::IO_SUBMIT, 1);
    let child = Actor {
        mm: root.mm,
        ..Actor::child_of(&root, 200)
    };
    script.fork(&root, &child, 0x100);
    call(&mut script, &child, Op::IO_SUBMIT, 3);
    state(&mut script, &root, aio_cause::EXIT, 0);
    assert!(in_flight(&ended(script, &root)).is_empty());
}

fn longest(conduct: &Conduct) -> Vec<u64> {
    let waits = conduct.waits.iter();
    let requests = waits.filter(|wait| wait.op == Op::AIO_REQUEST);
    let took = requests.map(|wait| wait.until.since(wait.begin).unwrap() / SECOND);
    took.collect()
}

#[test]
fn a_request_is_as_old_as_the_last_so_many_that_were_submitted() {
    let (mut script, root) = set_up();
    call(&mut script, &root, Op::IO_SUBMIT, 1);
    script.now += 10 * SECOND;
    call(&mut script, &root, Op::IO_SUBMIT, 5);
    script.now += 3 * SECOND;
    state(&mut script, &root, aio_cause::LOOK, 1);
    assert_eq!(longest(&ended(script, &root)), [3], "five of the last five");
    let (mut script, root) = set_up();
    call(&mut script, &root, Op::IO_SUBMIT, 1);
    script.now += 10 * SECOND;
    call(&mut script, &root, Op::IO_SUBMIT, 5);
    script.now += 3 * SECOND;
    state(&mut script, &root, aio_cause::LOOK, 0);
    script.now += 2 * SECOND;
    state(&mut script, &root, aio_cause::LOOK, 6);
    assert_eq!(longest(&ended(script, &root)), [13], "though it ended");
}

#[test]
fn what_an_io_submit_that_goes_on_has_submitted_is_not_known() {
    let (mut script, root) = set_up();
    call(&mut script, &root, Op::IO_SUBMIT, 1);
    let began = script.now;
    script.now += 5 * SECOND;
    // Three of those that it submits are done.
    state(&mut script, &root, aio_cause::LOOK, 4);
    let blocked = Call {
        begin_ns: began,
        arguments: [CONTEXT, 0, 0, 0],
        op: Op::IO_SUBMIT.0,
        flags: call_flag::IN_FLIGHT | call_flag::LONG,
        ..Call::default()
    };
    let kind = (Family::Ring as u16) << 8 | kind::CALL;
    script.now += 5 * SECOND;
    script.record(&root.thread(101), kind, 0, &blocked, &[]);
    state(&mut script, &root, aio_cause::LOOK, 4);
    assert!(longest(&ended(script, &root)).is_empty());
}
