//! How CMD ended, and ending in the same way.

use libc::c_int;

use crate::report::Child;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By exit, with this status (0-255).
    Exited(c_int),
    /// By this signal.
    Signaled(c_int),
}

impl Status {
    /// From `si_code` and `si_status` of waitid(2).
    pub(super) fn from_siginfo(code: c_int, status: c_int) -> Status {
        match code {
            libc::CLD_EXITED => Status::Exited(status),
            // CLD_KILLED and CLD_DUMPED; others are not asked for (WEXITED alone).
            _ => Status::Signaled(status),
        }
    }

    /// What a shell shows: the status, or 128 + signal.
    pub fn shell_code(self) -> c_int {
        match self {
            Status::Exited(code) => code,
            Status::Signaled(signal) => 128 + signal,
        }
    }
}

impl From<Status> for Child {
    fn from(status: Status) -> Child {
        match status {
            Status::Exited(code) => Child {
                exit_code: Some(code),
                signal: None,
            },
            Status::Signaled(signal) => Child {
                exit_code: None,
                signal: Some(signal),
            },
        }
    }
}

/// Ends this process by the signal that ended CMD, so that a caller sees the same wait status;
/// without a second core: the limit is set to 0, and because a core_pattern that is a pipe
/// ignores the limit (core(5)), the process is made undumpable too. If it survives, the status
/// to exit with is returned.
pub fn raise_again(signal: c_int) -> c_int {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain system calls on this process; the structures are valid.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &action, std::ptr::null_mut());
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut mask);
        libc::sigaddset(&mut mask, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &mask, std::ptr::null_mut());
        libc::raise(signal);
    }
    128 + signal
}
