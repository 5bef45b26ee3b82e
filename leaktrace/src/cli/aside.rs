//! CMD beside the live screen: both cannot have the terminal, so CMD gets /dev/null in its place.
//! What is not a terminal (a file, a pipe) CMD gets as it is.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// Numbers from here on are out of the way of those that callers pass on by hand.
const LOWEST: RawFd = 10;

/// The terminal's fds while /dev/null is in their place. Dropped, it puts them back.
#[derive(Debug)]
pub(super) struct Aside {
    terminals: Vec<(RawFd, OwnedFd)>,
}

impl Aside {
    /// Puts /dev/null where stdin, stdout and stderr are terminals. A child that is forked now
    /// has it so.
    ///
    /// # Errors
    /// /dev/null cannot be opened, or there are no more fds; all is as before then.
    pub(super) fn put() -> io::Result<Aside> {
        let nothing = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        let mut aside = Aside {
            terminals: Vec::new(),
        };
        for fd in 0..=2 {
            // SAFETY: isatty reads no memory.
            if unsafe { libc::isatty(fd) } == 1 {
                aside.terminals.push((fd, keep(fd)?));
                replace(&nothing, fd)?;
            }
        }
        Ok(aside)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for (fd, terminal) in &self.terminals {
            // SAFETY: dup2 reads no memory. Both are open, so it cannot fail.
            unsafe { libc::dup2(terminal.as_raw_fd(), *fd) };
        }
    }
}

fn keep(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC gives a new fd or -1.
    match unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, LOWEST) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just made it.
        kept => Ok(unsafe { OwnedFd::from_raw_fd(kept) }),
    }
}

fn replace(with: &File, fd: RawFd) -> io::Result<()> {
    // SAFETY: dup2 reads no memory.
    match unsafe { libc::dup2(with.as_raw_fd(), fd) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
