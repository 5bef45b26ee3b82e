//! LT116: a lock belongs to the description, and lives with it.

use leaktrace_tests::Place;

use crate::check_steps;
use crate::description_kept::{Outsider, kept_by_us};

#[test]
fn a_lock_that_somebody_outside_keeps_is_an_error() {
    let place = Place::new();
    let lock = place.cwd().join("lock").display().to_string();
    let steps = [&format!("create x {lock}"), "flock x"];
    let (outcome, fd) = Outsider::new(&place).check(&place, &steps.map(|step| step as &str));
    let finding = outcome.only_error("LT116");
    assert_eq!(finding["name"], "flock-kept");
    assert_eq!(finding["resource"]["path"], lock, "{outcome}");
    kept_by_us(finding, &fd);
}

#[test]
fn a_lock_that_goes_with_its_description_is_no_finding() {
    let place = Place::new();
    let lock = place.cwd().join("lock").display().to_string();
    check_steps(&[&format!("create x {lock}"), "flock x", "close x"])
        .at(&place)
        .end()
        .twin_clean("LT116");
}
