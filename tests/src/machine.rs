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

/// Ends a scenario of what the kernel has had since a version of Linux only, as one that did not run. A
/// newer kernel has to show it.
///
/// # Panics
/// Below that version.
pub fn needs(feature: &str, since: (u32, u32)) {
    let (major, minor) = since;
    assert!(
        linux() >= since,
        "not run: needs {feature}, Linux {major}.{minor}"
    );
}

/// Ends a scenario that needs a module of the kernel, as one that did not run, in a guest whose
/// kernel comes without any.
///
/// # Panics
/// In such a guest.
pub fn needs_a_module() {
    let is_guest = std::env::var_os("LEAKTRACE_VM").is_some();
    let is_none = || {
        let order = std::fs::read_to_string("/modules/order");
        order.expect("the guest's modules").trim().is_empty()
    };
    assert!(
        !(is_guest && is_none()),
        "not run: needs a module, and this kernel's cannot be had"
    );
}

/// The kernel's version: major and minor number.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn linux() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || {
        numbers
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number")
    };
    (next(), next())
}

/// Whether time says nothing here: for one claim among others.
#[must_use]
pub fn is_emulated() -> bool {
    std::env::var_os("LEAKTRACE_VM").is_some_and(|machine| machine == "emulated")
}

/// Lets a process without CAP_SYS_ADMIN attach to functions, in a guest, which is thrown away: Debian's
/// kernels keep that to the administrator by default.
///
/// # Panics
/// The setting cannot be written.
pub fn open_events() {
    if is_emulated() {
        let setting = "/proc/sys/kernel/perf_event_paranoid";
        std::fs::write(setting, "2").expect("set kernel.perf_event_paranoid");
    }
}

/// How long to wait for what has to come: longer where the machine is emulated, by one that has
/// other things to do as well.
#[must_use]
pub fn patience(usual: Duration) -> Duration {
    usual * if is_emulated() { EMULATED } else { 1 }
}
