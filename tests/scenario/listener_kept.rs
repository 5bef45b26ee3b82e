//! LT115: a listening socket in the hands of somebody outside keeps its port.

use leaktrace_tests::Place;

use crate::check_steps;
use crate::description_kept::{Outsider, kept_by_us};

#[test]
fn a_listener_that_somebody_outside_has_is_an_error() {
    let place = Place::new();
    let (outcome, fd) = Outsider::new(&place).check(&place, &["tcp x", "listen x"]);
    let finding = outcome.only_error("LT115");
    assert_eq!(finding["name"], "listener-kept");
    assert_eq!(finding["kind"], "tcp");
    assert!(finding["resource"]["local"].is_string(), "{outcome}");
    kept_by_us(finding, &fd);
    assert!(outcome.of_rule("LT114").is_empty(), "{outcome}");
}

#[test]
fn a_listener_that_is_closed_is_gone() {
    check_steps(&["tcp x", "listen x", "close x"])
        .end()
        .twin_clean("LT115");
}
