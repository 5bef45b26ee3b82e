//! Signals that must not end leaktrace while CMD runs.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use libc::c_int;
use tokio::io::{Interest, unix::AsyncFd};

/// INT, TERM, HUP and QUIT: what people and supervisors send to stop a command.
const HELD_BACK: [c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The four signals, blocked and read from a signalfd.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Number.
    pub signal: c_int,
    /// Who sent it.
    pub sender: Sender,
}

/// Who sent a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The kernel: a terminal sends to the whole foreground group, CMD included.
    Kernel,
    /// A process: it knows leaktrace only, so CMD must be told.
    Process,
}

impl Signals {
    /// Blocks the signals for this thread and all that it will start. To be called after the
    /// child was forked and before any thread exists. What the caller ignores (nohup) stays
    /// ignored: an ignored signal never becomes pending.
    ///
    /// # Errors
    /// signalfd(2) fails.
    pub fn block() -> io::Result<Signals> {
        // SAFETY: the set is initialised by sigemptyset; signalfd returns a new fd or -1.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            for signal in HELD_BACK {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            let set = set.assume_init();
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            match libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Signals {
                    fd: OwnedFd::from_raw_fd(fd),
                }),
            }
        }
    }

    /// Registers with the current tokio runtime.
    ///
    /// # Errors
    /// epoll refuses.
    pub fn register(self) -> io::Result<AsyncFd<Signals>> {
        // SAFETY: the fd stays open and the same as long as `Signals` lives, which owns it.
        unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) }
            .map_err(io::Error::from)
    }

    /// The next signal that has arrived, if any.
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    pub fn read(&self) -> io::Result<Received> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: room for one whole record; signalfd(2) gives whole records only.
        let info = unsafe {
            match libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) {
                got if got == size as isize => info.assume_init(),
                _ => return Err(io::Error::last_os_error()),
            }
        };
        Ok(Received {
            signal: info.ssi_signo as c_int,
            sender: match info.ssi_code {
                SI_KERNEL => Sender::Kernel,
                _ => Sender::Process,
            },
        })
    }
}

/// asm-generic/siginfo.h; libc does not name it.
const SI_KERNEL: i32 = 0x80;

/// Waits for a signal.
///
/// # Errors
/// The signalfd cannot be read.
pub async fn next(signals: &AsyncFd<Signals>) -> io::Result<Received> {
    signals.async_io(Interest::READABLE, Signals::read).await
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
