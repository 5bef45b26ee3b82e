//! Whether functions can be attached to without being the administrator.
//!
//! A kprobe is a perf event. For those Linux asks for CAP_PERFMON (`perf_kprobe_event_init` in
//! kernel/events/core.c, since v5.8); Debian's kernels ask for CAP_SYS_ADMIN on top where
//! `kernel.perf_event_paranoid` is 3 or more, which is their default (a patch of theirs, "security,perf:
//! Allow further restriction of perf_event_open"; seen on 7.3: EACCES with 3, none with 2).

use std::fs;

use crate::launch::privilege;

const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// The setting, if it is one that keeps perf events to the administrator.
pub fn kept_to_the_administrator() -> Option<i32> {
    let text = fs::read_to_string(PARANOID).ok()?;
    text.trim().parse().ok().filter(|level| *level >= 3)
}

/// Why this process may not attach to functions, if that is why: a clause.
pub(super) fn refused() -> Option<String> {
    let level = kept_to_the_administrator().filter(|_| !privilege::administers())?;
    Some(format!(
        "functions are refused without CAP_SYS_ADMIN: kernel.perf_event_paranoid is {level}, 2 would do"
    ))
}
