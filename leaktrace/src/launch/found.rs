//! What the process was given by its caller: signal dispositions, mask, and which of fds 0-2
//! are open.

use std::{fs::File, io, mem::MaybeUninit};

use libc::{c_int, sigaction, sigset_t};

/// Signals whose disposition can be read and set: 1 to 64 without KILL and STOP (sigaction(2))
/// and without 32 and 33, which glibc keeps for itself (nptl(7)).
const SIGNALS: std::ops::RangeInclusive<c_int> = 1..=64;

/// Signal dispositions and mask as found at start.
#[derive(Clone)]
pub struct Found {
    mask: sigset_t,
    dispositions: Vec<(c_int, sigaction)>,
}

impl Found {
    /// Notes dispositions and mask. To be called before anything changes them.
    pub fn record() -> Found {
        let mut mask = MaybeUninit::<sigset_t>::uninit();
        // SAFETY: with a null set, pthread_sigmask only writes the old mask.
        let mask = unsafe {
            libc::sigemptyset(mask.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), mask.as_mut_ptr());
            mask.assume_init()
        };
        let dispositions = SIGNALS
            .filter_map(|signal| Some((signal, disposition(signal)?)))
            .collect();
        Found { mask, dispositions }
    }

    /// Puts dispositions and mask back. Async-signal-safe: called between fork and exec.
    pub(super) fn restore(&self) {
        for (signal, action) in &self.dispositions {
            // SAFETY: `action` came from sigaction for the same signal.
            unsafe { libc::sigaction(*signal, action, std::ptr::null_mut()) };
        }
        // SAFETY: `mask` came from pthread_sigmask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, std::ptr::null_mut()) };
    }
}

fn disposition(signal: c_int) -> Option<sigaction> {
    let mut action = MaybeUninit::<sigaction>::uninit();
    // SAFETY: with a null new action, sigaction only writes the old one, and only on success.
    unsafe {
        (libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0)
            .then(|| action.assume_init())
    }
}

/// Puts /dev/null, close-on-exec, on those of fds 0-2 that the caller left closed, so that no
/// file of ours ever gets such a number; exec closes them again, so CMD finds them closed.
///
/// # Errors
/// /dev/null cannot be opened.
pub fn reserve_stdio() -> io::Result<()> {
    loop {
        // SAFETY: the path is a C string.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        match fd {
            -1 => return Err(io::Error::last_os_error()),
            0..=2 => {}
            // SAFETY: open(2) just gave us this fd.
            fd => unsafe {
                libc::close(fd);
                return Ok(());
            },
        }
    }
}

/// Whether this process may open so many more files. Found out by opening them: what the limit
/// leaves depends on what the caller has passed on.
pub fn has_room_for(files: u32) -> bool {
    let Ok(nothing) = File::open("/dev/null") else {
        return false;
    };
    let mut room = Vec::new();
    room.resize_with(files as usize, || nothing.try_clone());
    room.iter().all(Result::is_ok)
}

/// Settles for leaktrace itself what the caller may have left in a state that it cannot work
/// with: SIGCHLD ignored (or with SA_NOCLDWAIT) makes the kernel reap CMD before its status is
/// read (wait(2)), and SIGPIPE would end leaktrace where a report's reader went away.
pub fn settle_own_signals() {
    set(libc::SIGCHLD, libc::SIG_DFL);
    set(libc::SIGPIPE, libc::SIG_IGN);
}

fn set(signal: c_int, handler: libc::sighandler_t) {
    // SAFETY: an all-zero sigaction is valid: no flags, empty mask.
    unsafe {
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}
