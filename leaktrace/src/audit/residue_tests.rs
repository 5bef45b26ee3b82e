use leaktrace_common::abi::Op;

use super::super::fixture::{EPOCH, MS, Run, at, file, file_id, process, rules, running, sysv};
use crate::{
    census::{Found, Question},
    id::ProcessKey,
    model::facts::Kind,
    policy::allow::Allow,
    report::{FamilyEvents, Verdict},
};

const REGULAR: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_700;
const SOCKET: u32 = 0o140_755;
const FIFO: u32 = 0o010_600;
const SYMLINK: u32 = 0o120_777;

/// A run with one child that ended.
fn with_child(name: &str) -> (Run, ProcessKey) {
    let mut run = Run::new();
    let child = run.process(4127, run.root(), 10, &[name]);
    run.exits(child, 30, 0);
    (run, child)
}

/// Something made at 20 ms in a run, and what the census finds there.
fn made(kind: Kind, path: &str, found: Found) -> crate::report::Report {
    let (mut run, child) = with_child("maker");
    run.creates(child, 20, kind, path, Some(file_id(7)));
    run.answer(|_| found.clone());
    run.judge()
}

#[test]
fn each_sysv_object_fires_its_rule_and_a_removed_one_is_clean() {
    for (kind, rule) in [
        (Kind::SysvShm, "LT103"),
        (Kind::SysvSem, "LT104"),
        (Kind::SysvMsg, "LT105"),
    ] {
        let (mut run, child) = with_child("ipcmk");
        run.creates_sysv(child, 20, kind, 32769);
        let twin = run.answers.len();
        run.answer(|_| sysv(None));
        let report = run.judge();
        assert_eq!(rules(&report), [rule]);
        let finding = &report.findings[0];
        assert_eq!(finding.resource.id, Some(32769));
        assert_eq!((finding.pid, finding.comm.as_str()), (4127, "ipcmk"));
        assert_eq!(report.exit.code, 100);
        assert_eq!(process(&report, child).summary.residue, 1);
        run.answers.truncate(twin);
        run.answer(|_| Found::Gone);
        let report = run.judge();
        assert_eq!((report.verdict, report.exit.code), (Verdict::Clean, 0));
    }
}

#[test]
fn a_segment_of_another_creator_or_one_that_was_there_is_not_ours() {
    let (mut run, child) = with_child("x");
    run.creates_sysv(child, 20, Kind::SysvShm, 5);
    run.answer(|_| sysv(Some(999)));
    assert_eq!(run.judge().verdict, Verdict::Clean);
    run.answers.clear();
    run.answer(|_| sysv(Some(4127)));
    assert_eq!(rules(&run.judge()), ["LT103"]);
    run.start.sysv_before = vec![(1, 5)];
    assert!(run.questions().is_empty());
    assert_eq!(run.judge().verdict, Verdict::Clean);
}

#[test]
fn a_likely_creation_counts_when_it_was_not_there_before() {
    let (mut run, child) = with_child("x");
    run.creates_sysv(child, 20, Kind::SysvSem, 5).sure = false;
    run.answer(|_| sysv(None));
    assert_eq!(rules(&run.judge()), ["LT104"]);
}

#[test]
fn a_segment_marked_for_removal_is_not_residue() {
    let (mut run, child) = with_child("x");
    run.creates_sysv(child, 20, Kind::SysvShm, 5);
    run.answer(|_| Found::Sysv {
        creator_pid: Some(4127),
        size: 4096,
        users: 1,
        ctime: 0,
        dying: true,
    });
    assert_eq!(run.judge().verdict, Verdict::Clean);
}

#[test]
fn each_kind_of_name_fires_its_rule_and_a_removed_one_is_clean() {
    for (kind, path, mode, rule) in [
        (Kind::File, "/dev/shm/psm_1", REGULAR, "LT106"),
        (Kind::File, "/dev/shm/sem.x", REGULAR, "LT107"),
        (Kind::File, "/dev/shm/d/x", REGULAR, "LT109"),
        (Kind::File, "/tmp/x", REGULAR, "LT109"),
        (Kind::Symlink, "/tmp/x", SYMLINK, "LT109"),
        (Kind::Directory, "/tmp/d", DIRECTORY, "LT110"),
        (Kind::Directory, "/dev/shm/d", DIRECTORY, "LT110"),
        (Kind::Unix, "/tmp/s", SOCKET, "LT111"),
        (Kind::Unix, "/ws/s", SOCKET, "LT111"),
        (Kind::Unix, "/run/s", SOCKET, "LT111"),
        (Kind::Fifo, "/ws/f", FIFO, "LT112"),
    ] {
        let report = made(kind, path, file(file_id(7), mode));
        assert_eq!(rules(&report), [rule], "{path}");
        assert_eq!(report.findings[0].resource.path.as_deref(), Some(path));
        let report = made(kind, path, Found::Gone);
        assert_eq!(report.verdict, Verdict::Clean, "{path}");
    }
}

#[test]
fn a_message_queue_fires_its_rule_and_a_removed_one_is_clean() {
    let left = made(Kind::PosixMq, "q1", Found::Mq { id: None });
    assert_eq!(rules(&left), ["LT108"]);
    let other = Found::Mq {
        id: Some(file_id(8)),
    };
    assert_eq!(made(Kind::PosixMq, "q1", other).verdict, Verdict::Clean);
    assert_eq!(
        made(Kind::PosixMq, "q1", Found::Gone).verdict,
        Verdict::Clean
    );
}

#[test]
fn another_file_under_the_name_is_not_ours() {
    let report = made(Kind::File, "/tmp/x", file(file_id(8), REGULAR));
    assert_eq!(report.verdict, Verdict::Clean);
}

#[test]
fn what_lies_in_the_output_root_or_elsewhere_is_not_temporary() {
    for path in ["/ws/out/a.o", "/home/u/x"] {
        let (mut run, child) = with_child("cc");
        run.creates(child, 20, Kind::File, path, Some(file_id(7)));
        // All that is asked is whether it is a lock.
        let lock = |question: &Question| matches!(question, Question::PidFile { .. });
        assert!(run.questions().iter().all(lock), "{path}");
        assert_eq!(run.judge().verdict, Verdict::Clean);
    }
}

#[test]
fn without_an_identity_type_and_birth_decide() {
    let found = |birth_ns, mode| Found::File {
        id: file_id(9),
        mode,
        bytes: 0,
        entries: 3,
        birth_ns,
        changed_ns: None,
        wall_ns: None,
        clock_was_set: false,
        holds_pid: None,
        elsewhere: None,
    };
    let judge = |answer: Found| {
        let (mut run, child) = with_child("mkdir");
        run.creates(child, 20, Kind::Directory, "/tmp/d", None);
        run.answer(|_| answer.clone());
        run.judge().verdict
    };
    let made_at = EPOCH + 20 * MS;
    assert_eq!(judge(found(Some(made_at), DIRECTORY)), Verdict::Findings);
    // The coarse clock of birth times may lag by a tick.
    assert_eq!(
        judge(found(Some(made_at - 10 * MS), DIRECTORY)),
        Verdict::Findings
    );
    assert_eq!(judge(found(None, DIRECTORY)), Verdict::Findings);
    assert_eq!(
        judge(found(Some(made_at - 5_000 * MS), DIRECTORY)),
        Verdict::Clean
    );
    assert_eq!(judge(found(Some(made_at), REGULAR)), Verdict::Clean);
}

#[test]
fn a_clock_that_was_set_back_meanwhile_hides_nothing() {
    let judge = |wall_ns, clock_was_set| {
        let (mut run, child) = with_child("mkdir");
        run.creates(child, 20, Kind::Directory, "/tmp/d", None);
        run.answer(|_| Found::File {
            id: file_id(9),
            mode: DIRECTORY,
            bytes: 0,
            entries: 0,
            // An hour before attach, by a clock that now shows that hour.
            birth_ns: Some(EPOCH - 3_600_000 * MS + 20 * MS),
            changed_ns: None,
            wall_ns,
            clock_was_set,
            holds_pid: None,
            elsewhere: None,
        });
        run.judge().verdict
    };
    assert_eq!(
        judge(Some(EPOCH - 3_600_000 * MS + 60 * MS), true),
        Verdict::Findings
    );
    // It has been set on again since.
    assert_eq!(judge(Some(EPOCH + 1_000 * MS), true), Verdict::Findings);
    assert_eq!(judge(Some(EPOCH + 1_000 * MS), false), Verdict::Clean);
    assert_eq!(judge(None, false), Verdict::Clean);
}

#[test]
fn a_link_may_be_older_than_its_name_and_a_foreign_name_must_be_of_its_time() {
    let found = |birth_ns| Found::File {
        id: file_id(9),
        mode: REGULAR,
        bytes: 0,
        entries: 0,
        birth_ns,
        changed_ns: None,
        wall_ns: None,
        clock_was_set: false,
        holds_pid: None,
        elsewhere: None,
    };
    let judge = |op: Op, namespace: Option<u32>, answer: Found| {
        let (mut run, child) = with_child("ln");
        let created = run.creates(child, 20, Kind::File, "/tmp/l", None);
        created.resource.op = Some(op);
        created.namespace = namespace.unwrap_or(created.namespace);
        run.answer(|_| answer.clone());
        run.judge().verdict
    };
    let made_at = EPOCH + 20 * MS;
    let (old, new) = (made_at - 9_000 * MS, made_at + 9_000 * MS);
    assert_eq!(judge(Op::LINK, None, found(Some(old))), Verdict::Findings);
    assert_eq!(judge(Op::MKNOD, None, found(Some(old))), Verdict::Clean);
    assert_eq!(judge(Op::MKNOD, None, found(Some(new))), Verdict::Findings);
    assert_eq!(judge(Op::MKNOD, Some(99), found(Some(new))), Verdict::Clean);
    assert_eq!(
        judge(Op::MKNOD, Some(99), found(Some(made_at))),
        Verdict::Findings
    );
    // Where the file system tells no birth, its other times may.
    let touched = |changed: u64, first: u64| {
        let mut answer = found(None);
        if let Found::File { changed_ns, .. } = &mut answer {
            *changed_ns = Some((changed, first));
        }
        judge(Op::MKNOD, Some(99), answer)
    };
    assert_eq!(touched(made_at, made_at), Verdict::Findings);
    assert_eq!(touched(old, old), Verdict::Clean);
    for (changed, first) in [(new, new), (new, old), (made_at, old), (new, made_at)] {
        assert_eq!(touched(changed, first), Verdict::Inconclusive);
    }
    assert_eq!(
        judge(Op::MKNOD, Some(99), found(None)),
        Verdict::Inconclusive,
        "an older capture"
    );
}

#[test]
fn a_left_directory_is_one_finding_with_everything_in_it() {
    let (mut run, child) = with_child("tool");
    run.creates(child, 20, Kind::Directory, "/tmp/d", None);
    run.creates(child, 21, Kind::Directory, "/tmp/d/sub", None);
    run.creates(child, 22, Kind::File, "/tmp/d/sub/x", Some(file_id(8)));
    run.creates(child, 23, Kind::Unix, "/tmp/d/s", None);
    run.creates(child, 24, Kind::File, "/tmp/dx", Some(file_id(10)));
    assert_eq!(run.questions().len(), 2);
    run.answer(|question| match question {
        Question::Path { path, .. } if path == b"/tmp/d" => Found::File {
            id: file_id(6),
            mode: DIRECTORY,
            bytes: 4096,
            entries: 3,
            birth_ns: None,
            changed_ns: None,
            wall_ns: None,
            clock_was_set: false,
            holds_pid: None,
            elsewhere: None,
        },
        _ => Found::Gone,
    });
    let report = run.judge();
    assert_eq!(rules(&report), ["LT110"]);
    let resource = &report.findings[0].resource;
    assert_eq!((resource.entries, resource.bytes), (Some(3), Some(4096)));
}

#[test]
fn what_a_process_outside_the_tree_made_is_not_judged() {
    let (mut run, _) = with_child("x");
    let outside = ProcessKey {
        pid: crate::id::Pid(1),
        start: at(0),
    };
    run.creates(outside, 20, Kind::File, "/tmp/x", Some(file_id(7)));
    let daemon = run.process(900, outside, 0, &["daemon"]);
    run.of(daemon).preexisting = true;
    run.creates(daemon, 20, Kind::File, "/tmp/y", Some(file_id(8)));
    let root = run.root();
    run.creates(root, 0, Kind::File, "/tmp/before-exec", Some(file_id(9)));
    assert!(run.questions().is_empty());
}

#[test]
fn a_survivor_is_one_finding_with_what_it_made_under_it() {
    let mut run = Run::new();
    let child = run.process(4130, run.root(), 10, &["sleep", "30"]);
    run.creates(child, 20, Kind::Unix, "/tmp/s", Some(file_id(7)));
    run.answer(|question| match question {
        Question::Process { .. } => running(),
        _ => file(file_id(7), SOCKET),
    });
    let report = run.judge();
    assert_eq!(rules(&report), ["LT101"]);
    let finding = &report.findings[0];
    assert_eq!((finding.pid, finding.kind.as_str()), (4130, "process"));
    assert_eq!(finding.caused.len(), 1);
    assert_eq!(finding.caused[0].path.as_deref(), Some("/tmp/s"));
    assert_eq!(process(&report, child).summary.residue, 1);
}

#[test]
fn a_descendant_that_ended_meanwhile_is_clean() {
    for found in [
        Found::Gone,
        Found::Process {
            state: 'Z',
            parent_pid: 1,
            comm: b"x".to_vec(),
        },
    ] {
        let mut run = Run::new();
        run.process(4130, run.root(), 10, &["sleep", "30"]);
        run.answer(|_| found.clone());
        assert_eq!(run.judge().verdict, Verdict::Clean);
    }
}

#[test]
fn a_survivor_that_nobody_could_look_up_is_inconclusive() {
    let mut run = Run::new();
    run.process(4130, run.root(), 10, &["sleep", "30"]);
    let report = run.judge();
    assert_eq!(
        (report.verdict, report.exit.code),
        (Verdict::Inconclusive, 75)
    );
}

#[test]
fn a_zombie_of_a_survivor_is_listed_in_its_finding() {
    let mut run = Run::new();
    let parent = run.process(4130, run.root(), 10, &["srv"]);
    let child = run.process(4131, parent, 11, &["job"]);
    run.exits(child, 12, 0);
    run.of(child).reaped = None;
    run.answer(|_| running());
    let report = run.judge();
    assert_eq!(rules(&report), ["LT101"]);
    assert_eq!(report.findings[0].caused[0].id, Some(4131));
}

#[test]
fn a_zombie_of_a_second_or_more_at_its_parent_s_exit_is_a_finding() {
    let judge = |age_ms: u64, autoreap: bool, reaped: Option<u64>| {
        let mut run = Run::new();
        let parent = run.process(4130, run.root(), 10, &["srv"]);
        let child = run.process(4131, parent, 11, &["job"]);
        run.exits(child, 20, 0);
        run.exits(parent, 21 + age_ms, 0);
        run.of(child).reaped = reaped.map(at);
        run.end_of(child).autoreap = autoreap;
        run.judge()
    };
    let report = judge(1_000, false, None);
    assert_eq!(rules(&report), ["LT102"]);
    assert_eq!(report.findings[0].pid, 4131);
    assert_eq!(
        rules(&judge(1_000, false, Some(5_000))),
        ["LT102"],
        "by init"
    );
    assert!(rules(&judge(900, false, None)).is_empty(), "young");
    assert!(rules(&judge(1_000, true, None)).is_empty(), "autoreaped");
    assert!(rules(&judge(1_000, false, Some(25))).is_empty(), "reaped");
}

#[test]
fn a_zombie_that_was_gone_before_its_parent_ended_was_waited_for() {
    let judge = |taken: Option<u64>| {
        let mut run = Run::new();
        let parent = run.process(4130, run.root(), 10, &["srv"]);
        let child = run.process(4131, parent, 11, &["job"]);
        run.exits(child, 20, 0);
        run.exits(parent, 5_000, 0);
        run.of(child).reaped = None;
        run.of(child).taken = taken.map(at);
        run.judge()
    };
    assert_eq!(rules(&judge(None)), ["LT102"]);
    assert!(rules(&judge(Some(4_000))).is_empty());
}

#[test]
fn a_zombie_left_to_a_parent_outside_the_tree_is_nothing() {
    let mut run = Run::new();
    let child = run.process(4131, ProcessKey::default(), 11, &["job"]);
    run.exits(child, 20, 0);
    run.of(child).reaped = None;
    assert_eq!(run.judge().verdict, Verdict::Clean);
}

#[test]
fn known_caches_and_daemons_are_counted_not_found() {
    let mut run = Run::new();
    let agent = run.process(4130, run.root(), 10, &["gpg-agent", "--daemon"]);
    run.creates(agent, 11, Kind::Unix, "/tmp/g/S.agent", Some(file_id(7)));
    let root = run.root();
    run.creates(root, 12, Kind::Directory, "/tmp/pytest-of-ci", None);
    run.answer(|question| match question {
        Question::Process { .. } => running(),
        Question::Path { path, .. } if path == b"/tmp/pytest-of-ci" => file(file_id(8), DIRECTORY),
        _ => file(file_id(7), SOCKET),
    });
    let report = run.judge();
    assert_eq!(report.verdict, Verdict::Clean);
    assert_eq!((report.known.caches, report.known.daemons), (1, 1));
    assert_eq!(process(&report, agent).summary.residue, 0);
}

#[test]
fn the_same_rule_program_and_site_are_one_finding() {
    let mut run = Run::new();
    for pid in 0..5 {
        let child = run.process(5000 + pid, run.root(), 10, &["ipcmk"]);
        run.exits(child, 30, 0);
        run.creates_sysv(child, 20, Kind::SysvShm, 100 + pid as i32);
    }
    let other = run.process(6000, run.root(), 10, &["other"]);
    run.exits(other, 30, 0);
    run.creates_sysv(other, 20, Kind::SysvShm, 200);
    run.answer(|_| sysv(None));
    let report = run.judge();
    assert_eq!(rules(&report), ["LT103", "LT103"]);
    let first = &report.findings[0];
    assert_eq!(
        (first.count, first.instances.len(), first.pid),
        (5, 5, 5000)
    );
    assert_eq!(first.instances[4].resource.id, Some(104));
}

#[test]
fn allow_suppresses_what_it_matches_and_nothing_else() {
    let (mut run, child) = with_child("ipcmk");
    run.creates_sysv(child, 20, Kind::SysvShm, 1);
    run.creates_sysv(child, 21, Kind::SysvShm, 2);
    run.answer(|_| sysv(None));
    run.policy.allow = Allow::parse("LT103:id=1").into_iter().collect();
    let report = run.judge();
    assert_eq!(rules(&report), ["LT103", "LT103"]);
    let by: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.suppressed_by.as_deref())
        .collect();
    assert_eq!(by, [Some("allow:LT103:id=1"), None]);
    assert_eq!(report.known.suppressed, 1);
    assert_eq!(report.verdict, Verdict::Findings);
    assert_eq!(process(&report, child).summary.residue, 1);
    run.policy.allow = Allow::parse("sysv-shm-left").into_iter().collect();
    let report = run.judge();
    assert_eq!((report.verdict, report.exit.code), (Verdict::Clean, 0));
}

#[test]
fn what_could_not_be_looked_up_is_inconclusive() {
    let (mut run, child) = with_child("x");
    run.creates(child, 20, Kind::File, "/tmp/x", Some(file_id(7)));
    run.answer(|_| Found::Unknown {
        why: "permission denied".into(),
    });
    let report = run.judge();
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert_eq!(
        report.inconclusive_because,
        ["residue: /tmp/x: permission denied"]
    );
}

#[test]
fn residue_stays_a_finding_under_loss() {
    let (mut run, child) = with_child("ipcmk");
    run.creates_sysv(child, 20, Kind::SysvShm, 1);
    run.end.events.lost = 3;
    run.end.events.by_family.insert(
        "name".into(),
        FamilyEvents {
            received: 1,
            lost: 3,
        },
    );
    run.answer(|_| sysv(None));
    let report = run.judge();
    assert_eq!((report.verdict, report.exit.code), (Verdict::Findings, 100));
    assert_eq!(
        report.inconclusive_because,
        ["residue: 3 records lost (name 3)"]
    );
}

#[test]
fn a_settling_cut_short_makes_notes_and_no_claim() {
    let mut run = Run::new();
    run.process(4130, run.root(), 10, &["sleep", "30"]);
    run.answer(|_| running());
    run.end.cut_short = true;
    let report = run.judge();
    assert_eq!(report.verdict, Verdict::Inconclusive);
    assert_eq!(report.findings[0].level, crate::report::Level::Note);
    assert_eq!(report.inconclusive_because, ["residue: settling cut short"]);
}
