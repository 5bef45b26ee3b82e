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
