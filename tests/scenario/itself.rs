//! A leak detector that leaks would be a joke.

use leaktrace_tests::{Place, Run};

#[test]
fn leaktrace_under_leaktrace_is_clean() {
    let place = Place::new();
    let inner = leaktrace_tests::leaktrace().display().to_string();
    let outcome = Run::check([&inner, "check", "--", "true"]).at(&place).end();
    outcome.clean();
    assert_eq!(outcome.processes("leaktrace").len(), 1, "{outcome}");
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.contains("clean: 1 process"));
    assert!(line.is_some(), "the inner one watched as well: {outcome}");
}
