use leaktrace_common::{abi::Op, record::Family};

use super::super::fixture::{MS, Run, START, at, off, process, rules, running, sysv};
use crate::model::facts::Families;
use crate::{
    audit::{Scope, cleanup_line, questions},
    id::{KtimeNs, ProcessKey},
    model::facts::{Counts, ExitFunctions, Kind, Refused, RingEnd, Span, Trust},
    report::{Coverage, CoverageStatus, FamilyEvents, Level, Report, Summary, Verdict},
};

fn with_child(argv: &[&str]) -> (Run, ProcessKey) {
    let mut run = Run::new();
    let child = run.process(4130, run.root(), 10, argv);
    run.exits(child, 30, 0);
    (run, child)
}

#[test]
fn things_held_are_off_and_can_be_made_errors() {
    for (kind, fd, rule) in [
        (Kind::File, Some(4), "LT201"),
        (Kind::Tcp, Some(4), "LT202"),
        (Kind::IoUring, Some(4), "LT204"),
        (Kind::PosixMq, Some(4), "LT206"),
        (Kind::SharedMapping, None, "LT207"),
    ] {
        let (mut run, child) = with_child(&["srv"]);
        run.holds(child, kind, fd, "/x");
        let report = run.judge();
        assert_eq!(report.verdict, Verdict::Clean);
        assert!(off(&report, rule).is_some(), "{rule}");
        assert_eq!(process(&report, child).summary.held, 1);
        run.policy.fail_on = vec!["held".into()];
        let report = run.judge();
        assert_eq!(rules(&report), [rule]);
        assert_eq!(report.exit.code, 100);
        std::sync::Arc::make_mut(&mut run.end_of(child).held)[0].inherited = true;
        let twin = run.judge();
        assert!(rules(&twin).is_empty(), "{rule}");
        assert_eq!(process(&twin, child).summary.held, 0);
        assert_eq!(process(&twin, child).held.len(), 1, "listed all the same");
    }
}

#[test]
fn held_is_not_judged_after_a_death_by_signal_or_of_a_shared_table() {
    let (mut run, child) = with_child(&["srv"]);
    run.holds(child, Kind::File, Some(4), "/x");
    run.end_of(child).status = 11 | 0x80;
    let report = run.judge();
    assert!(off(&report, "LT201").is_none());
    let told = process(&report, child);
    assert_eq!((told.exit.signal, told.exit.core_dumped), (Some(11), true));
    assert_eq!(told.held.len(), 1);
    run.end_of(child).status = 0;
    run.end_of(child).files_shared = true;
    assert!(off(&run.judge(), "LT201").is_none());
}

fn refused(op: Op, errno: i32) -> Report {
    let (mut run, child) = with_child(&["app"]);
    run.of(child).refused = vec![Refused {
        op,
        errno,
        at: at(20),
        argument: 7,
        resource: None,
        again: false,
    }];
    run.judge()
}

#[test]
fn a_close_of_an_unused_number_is_a_note() {
    let report = refused(Op::CLOSE, 9);
    assert_eq!(rules(&report), ["LT401"]);
    assert_eq!(report.findings[0].level, Level::Note);
    assert_eq!(
        report.findings[0].message,
        "close(7) of a number that was not open"
    );
    assert_eq!(report.verdict, Verdict::Clean);
    assert!(rules(&refused(Op::DUP2, 9)).is_empty());
}

#[test]
fn data_lost_at_close_is_an_error_and_other_failures_are_notes() {
    let report = refused(Op::CLOSE, 5);
    assert_eq!(rules(&report), ["LT402"]);
    assert_eq!(report.findings[0].level, Level::Error);
    assert_eq!(report.exit.code, 100);
    let report = refused(Op::MUNMAP, 22);
    assert_eq!(rules(&report), ["LT402"]);
    assert_eq!(report.findings[0].level, Level::Note);
    assert!(rules(&refused(Op::CLOSE, 4)).is_empty(), "EINTR closes");
    assert!(
        rules(&refused(Op::RMDIR, 39)).is_empty(),
        "a look, not a release"
    );
}

#[test]
fn a_request_to_end_that_needed_a_kill_is_a_note() {
    let judge = |asked: u64, status: i32| {
        let (mut run, child) = with_child(&["app"]);
        run.signal(child, 15, asked);
        run.exits(child, 1_500, status);
        run.end_of(child).fatal_signal = Some(at(1_499));
        run.judge()
    };
    let report = judge(100, 9);
    assert_eq!(rules(&report), ["LT502"]);
    assert_eq!(
        report.findings[0].message,
        "process 4130 (app) ignored SIGTERM and was killed 1.4 s later"
    );
    assert!(rules(&judge(1_450, 9)).is_empty(), "no chance");
    assert!(rules(&judge(100, 0)).is_empty(), "it exited");
    assert!(rules(&judge(100, 15)).is_empty(), "it did not ignore it");
}

#[test]
fn levels_follow_the_policy() {
    let (mut run, child) = with_child(&["ipcmk"]);
    run.creates_sysv(child, 20, Kind::SysvShm, 1);
    run.answer(|_| sysv(None));
    run.policy.fail_on_none = true;
    let report = run.judge();
    assert_eq!(report.findings[0].level, Level::Note);
    assert_eq!(report.exit.code, 0);
}

#[test]
fn loss_reaches_the_verdict_only_where_a_failing_group_rests_on_it() {
    let (mut run, child) = with_child(&["app"]);
    let lose = |run: &mut Run, family: &str| {
        run.end.events.lost = 3;
        run.end.events.by_family.clear();
        let counts = FamilyEvents {
            received: 9,
            lost: 3,
        };
        run.end.events.by_family.insert(family.into(), counts);
        run.judge()
    };
    let report = lose(&mut run, "name");
    assert_eq!(
        (report.verdict, report.exit.code),
        (Verdict::Inconclusive, 75)
    );
    assert_eq!(lose(&mut run, "signal").verdict, Verdict::Clean);
    run.policy.fail_on = vec!["order".into()];
    let report = lose(&mut run, "signal");
    assert_eq!(
        report.inconclusive_because,
        ["order: 3 records lost (signal 3)"]
    );
    run.policy.allow_loss = true;
    assert_eq!(lose(&mut run, "name").verdict, Verdict::Clean);
    run.policy.allow_loss = false;
    run.policy.fail_on.clear();
    run.end.events = crate::report::Events::default();
    run.of(child).trust = Trust::Tainted {
        since: at(12),
        families: Families::of(&[Family::Name]),
        why: "12 records lost".into(),
    };
    let report = run.judge();
    assert_eq!(
        report.inconclusive_because,
        ["residue of 4130 (app): 12 records lost"]
    );
    assert_eq!(process(&report, child).verdict, Verdict::Inconclusive);
    run.of(child).trust = Trust::Reread { at: at(13) };
    assert_eq!(run.judge().verdict, Verdict::Clean);
}

#[test]
fn a_tainted_process_is_not_judged_held_or_in_order() {
    let (mut run, child) = with_child(&["app"]);
    run.holds(child, Kind::File, Some(4), "/x");
    run.releases(child, 0, Kind::File, 20);
    run.releases(child, 1, Kind::File, 21);
    run.of(child).final_run = Some(at(19));
    run.of(child).trust = Trust::Tainted {
        since: at(12),
        families: Families::ANY,
        why: "12 records lost".into(),
    };
    let report = run.judge();
    assert!(report.off.is_empty());
    let order = process(&report, child).order;
    assert_eq!(order.not_judged.as_deref(), Some("12 records lost"));
}

#[test]
fn handlers_that_did_not_run_make_it_inconclusive() {
    let (mut run, _) = with_child(&["app"]);
    run.end.events.not_run = Some(0);
    assert_eq!(run.judge().verdict, Verdict::Clean);
    run.end.events.not_run = Some(2);
    assert_eq!(run.judge().verdict, Verdict::Inconclusive);
}

#[test]
fn a_family_that_is_not_watched_narrows_the_claim_or_breaks_it_if_required() {
    let (mut run, _) = with_child(&["app"]);
    run.start.coverage = vec![Coverage {
        family: "ring".into(),
        status: CoverageStatus::None,
        reason: Some("no io_uring here".into()),
    }];
    let report = run.judge();
    assert_eq!(report.not_judged, ["ring"]);
    assert_eq!(report.verdict, Verdict::Clean);
    run.policy.require = vec!["file".into()];
    assert_eq!(run.judge().verdict, Verdict::Clean);
    run.policy.require = vec!["all".into()];
    let report = run.judge();
    assert_eq!(report.exit.code, 75);
    assert_eq!(
        report.inconclusive_because,
        ["ring is required and not watched: no io_uring here"]
    );
}

#[test]
fn a_ring_whose_end_may_have_been_missed_is_not_judged_and_that_is_told() {
    let (mut run, child) = with_child(&["app"]);
    run.facts.rings.push(RingEnd {
        creator: child,
        ring: 0x100,
        begun: at(30),
        ended: None,
    });
    let judged = |run: &mut Run, status| {
        run.start.coverage = vec![Coverage {
            family: "ring".into(),
            status,
            reason: None,
        }];
        let report = run.judge();
        let fired = rules(&report).contains(&"LT117");
        (fired, report.not_judged)
    };
    let told = |what: &str| vec![what.to_owned()];
    assert_eq!(judged(&mut run, CoverageStatus::Full), (true, vec![]));
    let partial = judged(&mut run, CoverageStatus::Partial);
    assert_eq!(partial, (false, told("LT117")));
    let none = judged(&mut run, CoverageStatus::None);
    assert_eq!(none, (false, told("ring")));
    run.facts.rings[0].ended = Some(at(31));
    assert_eq!(judged(&mut run, CoverageStatus::Partial), (false, vec![]));
}

#[test]
fn the_trigger_is_the_last_request_to_end_then_the_final_run_then_exit() {
    let (mut run, child) = with_child(&["app"]);
    let cause = |run: &Run| {
        process(&run.judge(), child)
            .trigger
            .map(|trigger| trigger.cause)
            .unwrap_or_default()
    };
    assert_eq!(cause(&run), "exit_group");
    run.of(child).final_run = Some(at(25));
    assert_eq!(cause(&run), "the final run of releases");
    run.signal(child, 15, 20);
    assert_eq!(cause(&run), "SIGTERM from 4126 (sh)");
    run.signal(child, 1, 22);
    assert_eq!(cause(&run), "SIGHUP from 4126 (sh)");
    run.of(child).signals[1].acquired_after = true;
    run.of(child).signals[0].acquired_after = true;
    assert_eq!(cause(&run), "SIGTERM from 4126 (sh)", "HUP was a reload");
}

#[test]
fn durations_are_differences_of_what_was_seen() {
    let (mut run, child) = with_child(&["app"]);
    run.signal(child, 15, 20);
    run.releases(child, 0, Kind::Tcp, 21);
    run.releases(child, 1, Kind::File, 19);
    let end = run.end_of(child);
    end.exit_group = Some(at(28));
    end.exit_mm = Some(at(34));
    end.notified = Some(at(36));
    run.of(child).reaped = Some(at(40));
    let timing = process(&run.judge(), child).timing_ns;
    assert_eq!(timing.teardown, Some(16 * MS));
    assert_eq!(timing.kernel, Some(8 * MS));
    assert_eq!(timing.reap, Some(4 * MS));
    assert_eq!(timing.r#async, None);
    assert_eq!(timing.by_class.get("socket"), Some(&1_000));
    assert_eq!(timing.by_class.get("fd"), None, "before the trigger");
    let phases = timing.kernel_phases.unwrap_or_default();
    assert_eq!(
        (phases.stop, phases.exit_mmap, phases.files),
        (Some(2 * MS), Some(4 * MS), Some(2 * MS))
    );
    assert_eq!(phases.in_exit_files, None, "this kernel did not tell");
    let end = run.end_of(child);
    end.functions = Some(ExitFunctions {
        exit_mmap: Span::within(at(30).0, at(34).0, at(1), at(36)),
        exit_files: Span::within(at(34).0, at(35).0, at(1), at(36)),
        released: at(36),
    });
    end.exit_mm = Some(at(29));
    let timing = process(&run.judge(), child).timing_ns;
    let phases = timing.kernel_phases.unwrap_or_default();
    assert_eq!(phases.exit_mmap, None, "came before sched_process_exit");
    assert_eq!(phases.files, Some(6 * MS));
    let parts = (phases.in_exit_mmap, phases.in_exit_files);
    assert_eq!(parts, (Some(4 * MS), Some(MS)));
    assert_eq!(phases.last_references, Some(MS));
}

#[test]
fn processes_come_in_the_order_of_their_start_with_their_counts() {
    let (mut run, child) = with_child(&["app"]);
    let older = run.process(9000, run.root(), 5, &["first"]);
    run.exits(older, 6, 0);
    let counts = Counts {
        acquired: 20,
        released: 17,
        held: 3,
        peak: 9,
    };
    run.of(child).by_kind.insert(Kind::File, counts);
    run.of(child).by_kind.insert(Kind::Thread, counts);
    run.of(child).bytes_released = 4096;
    let report = run.judge();
    let pids: Vec<_> = report.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [4126, 9000, 4130]);
    let told = process(&report, child);
    assert_eq!((told.summary.acquired, told.summary.released), (20, 17));
    assert_eq!(told.by_kind.len(), 2, "threads appear in by_kind only");
    assert_eq!((told.ppid, told.parent), (4126, Some(run.root())));
}

#[test]
fn the_one_line_is_in_the_words_of_every_sink() {
    let summary = Summary {
        acquired: 20,
        released: 17,
        held: 3,
        residue: 1,
        bytes_released: 4096,
        errors: 0,
    };
    assert_eq!(
        cleanup_line(&summary, Some(1_200_000), Some(0.984)),
        "17 released, 3 held, 1 residue, 4.0 KiB, 0 errors, 1.2 ms, order 98 %"
    );
    assert_eq!(
        cleanup_line(&Summary::default(), None, None),
        "0 released, 0 held, 0 residue, 0 B, 0 errors, -, order -"
    );
}

#[test]
fn questions_are_asked_once_and_look_through_the_living_in_a_foreign_namespace() {
    let mut run = Run::new();
    let child = run.process(4130, run.root(), 10, &["srv"]);
    run.of(child).mnt_ns = 77;
    run.creates(child, 20, Kind::File, "/tmp/x", None).namespace = 77;
    run.creates(child, 21, Kind::File, "/tmp/x", None).namespace = 77;
    run.creates(child, 22, Kind::File, "/tmp/y", None);
    let asked = questions(&run.facts, &run.start, &run.policy, Scope::Everything);
    assert_eq!(asked.len(), 3);
    let through: Vec<_> = asked
        .iter()
        .filter_map(|question| match question {
            crate::census::Question::Path { path, through, .. } => {
                Some((path.as_slice(), through.as_slice()))
            }
            _ => None,
        })
        .collect();
    assert!(through.contains(&(&b"/tmp/x"[..], &[child][..])));
    assert!(through.contains(&(&b"/tmp/y"[..], &[][..])));
}

#[test]
fn judging_twice_gives_the_same_report() {
    let mut run = Run::new();
    for pid in 0..40 {
        let child = run.process(5000 + pid, run.root(), 10 + u64::from(pid % 3), &["a"]);
        run.exits(child, 30, 0);
        run.creates_sysv(child, 20, Kind::SysvShm, pid as i32);
        run.holds(child, Kind::File, Some(4), "/x");
    }
    run.process(4130, run.root(), 10, &["srv"]);
    run.answer(|question| match question {
        crate::census::Question::Process { .. } => running(),
        _ => sysv(None),
    });
    let mut shuffled = run.answers.clone();
    shuffled.reverse();
    let first = run.judge();
    run.answers = shuffled;
    assert_eq!(first, run.judge());
}

#[test]
fn half_a_million_held_and_left_things_are_judged() {
    let (mut run, child) = with_child(&["big"]);
    for i in 0..250_000 {
        run.creates(child, 20, Kind::File, &format!("/tmp/f{i}"), None);
    }
    let held = crate::model::facts::Held::default();
    run.end_of(child).held = std::sync::Arc::new(vec![held; 250_000]);
    run.answer(|_| super::super::fixture::file(Default::default(), 0o100_600));
    let report = run.judge();
    assert_eq!(report.findings[0].count, 250_000);
    assert_eq!(process(&report, child).summary.residue, 250_000);
    assert_eq!(off(&report, "LT201").map(|f| f.count), Some(250_000));
    let text = crate::sink::text::render(&report, crate::sink::text::Detail::All);
    assert!(text.lines().count() <= 45);
    assert!(text.contains("… and 249,997 more of LT109 under /tmp (all in -f json:FILE)"));
}

#[test]
fn a_moment_before_attach_is_no_trouble() {
    let (mut run, child) = with_child(&["app"]);
    run.of(child).reaped = Some(KtimeNs(START - 5));
    assert_eq!(process(&run.judge(), child).timing_ns.reap, None);
}
