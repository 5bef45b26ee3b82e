//! What running a program took.

use std::process::Child;
use std::time::Duration;

use anyhow::{Result, bail};

/// Waits for `child` to exit with status 0 and returns the CPU time, user and system, of it and
/// of the descendants it has waited for.
///
/// # Errors
/// If it ends in another way.
pub fn of(child: &Child) -> Result<Duration> {
    let mut status = 0;
    // SAFETY: all-zero bytes are a valid rusage; the call writes to it and to the int.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let pid = libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage);
        (pid, usage)
    };
    if pid < 0 {
        bail!("wait: {}", std::io::Error::last_os_error());
    }
    if status != 0 {
        bail!("ended with wait status {status:#x}");
    }
    Ok(duration(usage.ru_utime) + duration(usage.ru_stime))
}

fn duration(time: libc::timeval) -> Duration {
    // Neither part of a rusage is ever negative.
    Duration::from_secs(time.tv_sec.unsigned_abs())
        + Duration::from_micros(time.tv_usec.unsigned_abs())
}
