//! A process that leaktrace did not start and whose end it waits for.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// A running process, by pidfd: its number may be used again, this may not.
#[derive(Debug)]
pub struct Target {
    /// As given, in leaktrace's own pid namespace.
    pub pid: u32,
    pidfd: OwnedFd,
}

impl Target {
    /// Takes hold of a process.
    ///
    /// # Errors
    /// There is no such process (ESRCH, or EINVAL for a thread).
    pub fn open(pid: u32) -> io::Result<Target> {
        let pidfd = pidfd_open(pid)?;
        Ok(Target { pid, pidfd })
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.pidfd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd; no waiting.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }
}

/// Close-on-exec by itself (pidfd_open(2)).
pub(super) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open gives a new fd or -1.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd as RawFd)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen_and_a_number_without_one_refused() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let target = Target::open(child.id()).unwrap();
        assert!(!target.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(target.has_ended());
        assert!(Target::open(child.id()).is_err());
    }
}
