use bytes::Bytes;

use super::*;
use crate::{id::Pid, model::facts::EndFacts};

fn process(pid: u32) -> ProcessKey {
    ProcessKey {
        pid: Pid(pid),
        start: KtimeNs(u64::from(pid)),
    }
}

fn scope(pid: u32, tid: u32, name: &'static str, begin: u64, end: u64) -> ScopeFacts {
    ScopeFacts {
        name: Bytes::from_static(name.as_bytes()),
        process: process(pid),
        tid: (tid != 0).then_some(Tid(tid)),
        judged: ScopeJudged::All,
        begin: KtimeNs(begin),
        end: (end != 0).then_some(KtimeNs(end)),
    }
}

fn judged(judged: ScopeJudged, scope: ScopeFacts) -> ScopeFacts {
    ScopeFacts { judged, ..scope }
}

fn facts(scopes: Vec<ScopeFacts>, processes: Vec<ProcessFacts>) -> Facts {
    Facts {
        scopes,
        processes: processes.into_iter().map(|one| (one.key, one)).collect(),
        ..Facts::default()
    }
}

fn of(facts: &Facts, pid: u32, tid: u32, at: u64) -> Option<String> {
    let scopes = Scopes::new(facts);
    let found = scopes.at(process(pid), Some(Tid(tid)), KtimeNs(at));
    found.and_then(named)
}

#[test]
fn the_innermost_scope_that_was_open_is_the_one() {
    let keep = judged(ScopeJudged::Nothing, scope(1, 1, "", 10, 90));
    let fixture = judged(ScopeJudged::Nothing, scope(1, 1, "fixture", 22, 24));
    let all = vec![
        keep,
        scope(1, 1, "a", 20, 30),
        fixture,
        scope(1, 1, "b", 30, 40),
    ];
    let facts = facts(all, Vec::new());
    for (at, expected) in [
        (5, None),
        (15, None),
        (20, Some("a")),
        (23, Some("fixture")),
        (29, Some("a")),
        (30, Some("b")),
        (50, None),
        (95, None),
    ] {
        // Another thread of the process acquires for the one that has the scope.
        for tid in [1, 7] {
            assert_eq!(of(&facts, 1, tid, at).as_deref(), expected, "at {at}");
        }
    }
}

#[test]
fn tests_that_run_side_by_side_are_told_apart_by_their_threads() {
    let both = vec![scope(1, 2, "a", 10, 50), scope(1, 3, "b", 20, 40)];
    let threads = facts(both.clone(), Vec::new());
    assert_eq!(of(&threads, 1, 2, 30).as_deref(), Some("a"));
    assert_eq!(of(&threads, 1, 3, 30).as_deref(), Some("b"));
    assert_eq!(of(&threads, 1, 9, 30), None);
    assert_eq!(of(&threads, 1, 9, 45).as_deref(), Some("a"));
    // Of a runtime that moves its tasks between threads nothing is said then.
    let moving = |scope| judged(ScopeJudged::Plain, scope);
    let moving = facts(both.into_iter().map(moving).collect(), Vec::new());
    assert_eq!(of(&moving, 1, 2, 30), None);
    assert_eq!(of(&moving, 1, 2, 45).as_deref(), Some("a"));
    let nested = [scope(1, 2, "a", 10, 50), scope(1, 3, "a > b", 20, 40)];
    let nested = nested.map(|scope| judged(ScopeJudged::Plain, scope));
    let nested = facts(nested.to_vec(), Vec::new());
    assert_eq!(of(&nested, 1, 9, 30).as_deref(), Some("a > b"));
}

fn child(pid: u32, maker: u32, born: u64) -> ProcessFacts {
    ProcessFacts {
        key: process(pid),
        born: KtimeNs(born),
        maker: Some((process(maker), Tid(maker))),
        ..ProcessFacts::default()
    }
}

#[test]
fn a_child_is_of_its_environment_s_scope_else_of_the_one_it_was_made_in() {
    let parent = ProcessFacts {
        key: process(1),
        ..ProcessFacts::default()
    };
    let scopes = vec![
        scope(1, 0, "job", 1, 0),
        scope(1, 1, "test", 10, 20),
        scope(2, 0, "job", 12, 0),
        scope(3, 0, "own", 12, 0),
    ];
    let family = vec![
        parent,
        child(2, 1, 11),
        child(3, 1, 11),
        child(4, 2, 30),
        child(5, 1, 40),
    ];
    let facts = facts(scopes, family);
    assert_eq!(of(&facts, 1, 1, 5).as_deref(), Some("job"));
    // What was only handed on is not nearer than the test.
    assert_eq!(of(&facts, 2, 2, 25).as_deref(), Some("test"));
    assert_eq!(of(&facts, 3, 3, 25).as_deref(), Some("own"));
    assert_eq!(of(&facts, 4, 4, 35).as_deref(), Some("test"));
    assert_eq!(of(&facts, 5, 5, 45).as_deref(), Some("job"));
    let told = Scopes::new(&facts).report(&[]);
    let names: Vec<_> = told.iter().map(|scope| scope.name.as_str()).collect();
    assert_eq!(names, ["job", "test", "own"]);
}

#[test]
fn after_a_death_by_signal_only_what_an_outer_scope_saw_is_judged() {
    let held = |fd| ResourceFacts {
        kind: Kind::File,
        fd: Some(crate::id::Fd(fd)),
        acquired: Some(KtimeNs(15)),
        tid: Some(Tid(1)),
        ..ResourceFacts::default()
    };
    let mut killed = child(1, 9, 1);
    let at_exit = crate::model::facts::Held {
        resource: held(4),
        ..Default::default()
    };
    killed.end = Some(EndFacts {
        status: 9,
        held: std::sync::Arc::new(vec![at_exit]),
        ..EndFacts::default()
    });
    let mut facts = facts(vec![scope(1, 1, "t", 10, 20)], vec![killed]);
    assert!(Scopes::new(&facts).leaks(&[]).is_empty());
    facts.scope_held.push(crate::model::facts::ScopeHeld {
        process: process(1),
        at: KtimeNs(30),
        resource: held(5),
    });
    let leaks = Scopes::new(&facts).leaks(&[]);
    let fds: Vec<_> = leaks[&process(1)]
        .iter()
        .map(|leak| leak.resource.fd)
        .collect();
    assert_eq!(fds, [Some(crate::id::Fd(5))]);
}

#[test]
fn only_a_path_before_the_colons_is_a_file() {
    assert_eq!(file_of("tests/test_a.py::test_b"), Some("tests/test_a.py"));
    assert_eq!(file_of("a.c::x::y"), Some("a.c"));
    assert_eq!(file_of("store::tests::opens"), None);
    assert_eq!(file_of("plain"), None);
}
