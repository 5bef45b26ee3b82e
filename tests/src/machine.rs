//! What the machine under a scenario can and cannot show.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::leaktrace;

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

/// Ends a scenario about what leaktrace sees of a family only with a feature of the kernel, where
/// `doctor` says that it does not see all of that family. It ends as one that did not run.
///
/// # Panics
/// Where the family is not seen in full, or `doctor` says nothing of it.
pub fn needs(family: &str, feature: &str, since: &str) {
    static DOCTOR: OnceLock<Value> = OnceLock::new();
    let said = DOCTOR.get_or_init(doctor);
    let families = said["facts"]["attempt"]["coverage"].as_array();
    let seen = families
        .into_iter()
        .flatten()
        .find(|one| one["family"] == family)
        .unwrap_or_else(|| panic!("doctor says nothing of {family}: {said}"));
    assert!(
        seen["status"] == "full",
        "not run: needs {feature}, Linux {since}"
    );
}

fn doctor() -> Value {
    let output = Command::new(leaktrace())
        .args(["doctor", "--json"])
        .output()
        .expect("run leaktrace");
    serde_json::from_slice(&output.stdout).expect("doctor's JSON")
}
