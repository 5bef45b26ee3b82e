use super::{
    super::fixture::{MS, Run, at, running},
    *,
};
use crate::census::{Found, Question};

fn look(run: &Run, now: u64) -> Settling {
    let deadline = deadline(&run.start, at(41), 0);
    settle(
        &run.facts,
        &run.answers,
        &run.start,
        Some(deadline),
        at(now),
    )
}

#[test]
fn nothing_to_wait_for_costs_nothing() {
    assert_eq!(look(&Run::new(), 41), Settling::Done);
}

#[test]
fn a_living_descendant_is_waited_for_until_the_deadline() {
    let mut run = Run::new();
    run.process(4130, run.root(), 10, &["sleep", "30"]);
    let waiting = Settling::WaitFor {
        reasons: vec!["process 4130 (sleep)".to_owned()],
        deadline: Some(KtimeNs(at(41).0 + 2_000 * MS)),
    };
    assert_eq!(look(&run, 41), waiting);
    run.answer(|_| running());
    assert_eq!(look(&run, 2_040), waiting);
    assert_eq!(look(&run, 2_041), Settling::Done);
}

#[test]
fn a_descendant_that_the_census_does_not_find_is_not_waited_for() {
    let mut run = Run::new();
    run.process(4130, run.root(), 10, &["sleep", "30"]);
    run.answer(|_| Found::Gone);
    assert_eq!(look(&run, 45), Settling::Done);
}

#[test]
fn a_process_in_exit_is_waited_for_until_its_parent_is_told() {
    let mut run = Run::new();
    let child = run.process(4130, run.root(), 10, &["big"]);
    run.exits(child, 39, 0);
    run.of(child).reaped = None;
    assert_eq!(look(&run, 42), Settling::Done);
    run.end_of(child).notified = None;
    let Settling::WaitFor { reasons, .. } = look(&run, 42) else {
        panic!("should wait");
    };
    assert_eq!(reasons, ["exit of 4130 (big)"]);
    let asked = run.questions();
    assert_eq!(asked, [Question::Process { key: child }]);
    run.end_of(child).autoreap = true;
    assert_eq!(look(&run, 42), Settling::Done);
}

#[test]
fn processes_that_were_there_before_are_not_waited_for() {
    let mut run = Run::new();
    let daemon = run.process(900, run.root(), 0, &["daemon"]);
    run.of(daemon).preexisting = true;
    assert_eq!(look(&run, 41), Settling::Done);
}

#[test]
fn there_is_no_deadline_while_the_command_runs() {
    let run = Run::new();
    let settling = settle(&run.facts, &[], &run.start, None, at(9_000));
    assert!(matches!(settling, Settling::WaitFor { deadline: None, .. }));
}

#[test]
fn the_time_that_judging_takes_is_part_of_the_deadline() {
    let mut run = Run::new();
    run.process(4130, run.root(), 10, &["sleep", "30"]);
    let until = |judging: u64| deadline(&run.start, at(41), judging * MS);
    assert_eq!(until(0), at(2_041));
    assert_eq!(until(300), at(1_741));
    // It is a promise about machines that can keep it: some time is always waited.
    assert_eq!(until(9_000), at(1_041));
    run.start.settle_ns = u64::MAX;
    assert_eq!(deadline(&run.start, at(41), 0), KtimeNs(u64::MAX));
}
