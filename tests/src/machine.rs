//! What the machine under a scenario can and cannot show.

use std::time::Duration;

/// So much longer an emulated machine may take.
const EMULATED: u32 = 4;

/// Ends a scenario that times things where the machine is emulated: that says nothing of
/// leaktrace. It ends as one that did not run, never as one that passed.
///
/// # Panics
/// Where $LEAKTRACE_VM says that the machine is emulated.
pub fn at_own_speed() {
    assert!(!is_emulated(), "not run: needs a machine's own speed");
}

/// Whether time says nothing here: for one claim among others.
#[must_use]
pub fn is_emulated() -> bool {
    std::env::var_os("LEAKTRACE_VM").is_some_and(|machine| machine == "emulated")
}

/// How long to wait for what has to come: longer where the machine is emulated, by one that has
/// other things to do as well.
#[must_use]
pub fn patience(usual: Duration) -> Duration {
    usual * if is_emulated() { EMULATED } else { 1 }
}
