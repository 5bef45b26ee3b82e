//! flock-style lock files stay by design: the lock went with the process.

use leaktrace_tests::Place;

use crate::check_steps;

#[test]
fn a_file_that_was_flocked_is_no_stale_lock() {
    let place = Place::new();
    let lock = place.cwd().join("lock").display().to_string();
    check_steps(&[&format!("create a {lock}"), "flock a", "close a"])
        .at(&place)
        .end()
        .spotless();
}
