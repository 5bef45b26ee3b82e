//! What the terminal is told of ended processes, and when.

use super::*;
use crate::{
    census::Found,
    model::testing::{Actor, Script},
    report::Verdict,
};

const SECOND: u64 = 1_000_000_000;

/// SysV shared memory (leaktrace_common::record::ipc::what).
const SHM: u32 = leaktrace_common::record::ipc::what::SHM;

fn gallery(script: &mut Script) -> Gallery {
    let mut gallery = Gallery::new();
    gallery.feed(Item::Records(script.take()));
    gallery
}

/// A process that makes a segment and ends, below one that was there before.
fn leaker(script: &mut Script) {
    let shell = Actor::new(100);
    let child = Actor::child_of(&shell, 101);
    script.seed(&shell);
    script.fork(&shell, &child, 0);
    script.exec(&child, &[]);
    script.ipc_get(&child, SHM, 7, 1);
    script.exit(&child, 0, &[]);
    script.reap(&shell, 101);
}

fn found(questions: Vec<Question>, size: u64) -> Vec<Answer> {
    questions
        .into_iter()
        .map(|question| Answer {
            question,
            time_ns: 0,
            found: match size {
                0 => Found::Gone,
                size => Found::Sysv {
                    creator_pid: Some(101),
                    size,
                    users: 0,
                    ctime: 0,
                    dying: false,
                },
            },
        })
        .collect()
}

fn row(gallery: &mut Gallery) -> crate::model::snapshot::ExitRow {
    let picture = gallery.picture(None);
    assert_eq!(picture.exits.len(), 1);
    picture.exits[0].clone()
}

#[test]
fn what_is_left_is_asked_for_after_a_while_and_is_a_finding() {
    let mut script = Script::new();
    leaker(&mut script);
    let mut gallery = gallery(&mut script);
    assert_eq!(row(&mut gallery).verdict, None);
    let early = KtimeNs(script.now + SECOND);
    assert_eq!(
        gallery.questions(early),
        None,
        "its parent may remove it yet"
    );

    let late = KtimeNs(script.now + 3 * SECOND);
    let questions = gallery.questions(late).expect("a question");
    assert_eq!(questions.len(), 1);
    assert_eq!(gallery.questions(late), None, "answers are awaited");
    gallery.judge_by(&found(questions, 4096), late);
    let judged = row(&mut gallery);
    assert_eq!(judged.verdict, Some(Verdict::Findings));
    assert_eq!(judged.summary.residue, 1);
    let (rule, _, clause) = judged.first.expect("a finding");
    assert_eq!(rule, "LT103");
    assert!(clause.starts_with("sysv-shm-left"), "{clause}");
}

#[test]
fn what_is_removed_later_was_not_left() {
    let mut script = Script::new();
    leaker(&mut script);
    let mut gallery = gallery(&mut script);
    row(&mut gallery);
    let late = KtimeNs(script.now + 3 * SECOND);
    let questions = gallery.questions(late).expect("a question");
    gallery.judge_by(&found(questions, 4096), late);
    row(&mut gallery);
    assert_eq!(gallery.questions(KtimeNs(late.0 + SECOND)), None);

    let again = KtimeNs(late.0 + 6 * SECOND);
    let questions = gallery.questions(again).expect("asked again");
    gallery.judge_by(&found(questions, 0), again);
    assert_eq!(row(&mut gallery).verdict, Some(Verdict::Clean));
    let picture = gallery.picture(None);
    assert_eq!(picture.ended, (1, 1, 0, 0));
}

#[test]
fn who_made_nothing_is_judged_at_once() {
    let mut script = Script::new();
    let shell = Actor::new(100);
    let child = Actor::child_of(&shell, 101);
    script.seed(&shell);
    script.fork(&shell, &child, 0);
    script.exec(&child, &[]);
    script.exit(&child, 0, &[]);
    let mut gallery = gallery(&mut script);
    row(&mut gallery);
    assert_eq!(gallery.questions(KtimeNs(script.now + SECOND / 10)), None);
    assert_eq!(row(&mut gallery).verdict, Some(Verdict::Clean));
}

#[test]
fn those_that_must_wait_hold_nobody_up() {
    const EACH: u32 = 120;
    let mut script = Script::new();
    let shell = Actor::new(100);
    script.seed(&shell);
    // The newest are looked at first, and have left something that may go yet.
    for pid in 0..2 * EACH {
        let child = Actor::child_of(&shell, 1_000 + pid);
        script.fork(&shell, &child, 0);
        script.exec(&child, &[]);
        if pid >= EACH {
            script.ipc_get(&child, SHM, pid as i32, 1);
        }
        script.exit(&child, 0, &[]);
        script.reap(&shell, 1_000 + pid);
    }
    let mut gallery = gallery(&mut script);
    assert_eq!(gallery.picture(None).exits.len(), 2 * EACH as usize);
    let now = KtimeNs(script.now + SECOND / 10);
    let mut turns = 0;
    while gallery.is_behind(now) {
        assert_eq!(gallery.questions(now), None);
        turns += 1;
    }
    assert_eq!(turns, 2);
    assert_eq!(gallery.questions(now), None);
    assert_eq!(gallery.picture(None).ended.1, u64::from(EACH));
    assert!(
        !gallery.is_behind(now),
        "each is looked at again after a while"
    );
    assert!(gallery.is_behind(KtimeNs(now.0 + SECOND)));
}

#[test]
fn who_is_refused_again_and_again_is_told_once_for_each_call() {
    use leaktrace_common::{
        abi::Op,
        record::{
            Family,
            call::{Call, call_flag},
            kind,
        },
    };
    let mut script = Script::new();
    let greedy = Actor::new(100);
    script.seed(&greedy);
    let refuse = |script: &mut Script, op: Op, family: Family| {
        let call = Call {
            result: -24,
            op: op.0,
            flags: call_flag::NO_ROOM,
            ..Call::default()
        };
        script.record(&greedy, (family as u16) << 8 | kind::CALL, 0, &call, &[]);
    };
    let mut gallery = Gallery::judging(Policy::default());
    let mut told = Vec::new();
    for round in 1..=3 {
        for _ in 0..5 {
            refuse(&mut script, Op::OPENAT, Family::File);
        }
        if round == 3 {
            refuse(&mut script, Op::SOCKET, Family::Socket);
        }
        gallery.feed(Item::Records(script.take()));
        gallery.judge_living(KtimeNs(script.now));
        let of_rule = gallery.take_findings().into_iter();
        let of_rule = of_rule.filter(|finding| finding.rule == "LT504");
        told.extend(of_rule.map(|finding| (round, finding.resource.syscall, finding.count)));
    }
    let once = |round, call: &str| (round, Some(call.to_owned()), 1);
    assert_eq!(told, [once(1, "openat"), once(3, "socket")]);
}
