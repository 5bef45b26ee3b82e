//! The parent's side: hold, announce, go, wait.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

use super::{Found, Status, User, environment::Environment, held, plan::Plan, target};

/// What to start.
pub struct HoldSpec {
    /// CMD and its arguments; at least one.
    pub argv: Vec<CString>,
    /// Its environment.
    pub environment: Environment,
    /// Who it runs as; `None`: as leaktrace does.
    pub user: Option<User>,
    /// The signal state it gets.
    pub found: Found,
}

/// Why no child is held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// fork(2), pipe2(2) or pidfd_open(2) failed.
    #[error("cannot {0}")]
    System(&'static str, #[source] io::Error),
    /// The child could not become the user.
    #[error("cannot become uid {uid}")]
    User {
        /// Which.
        uid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The held child was ended by somebody else before CMD was started.
    #[error("the held child ended before CMD was started")]
    Ended(Status),
}

/// Why CMD did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// exec failed: 127 if nothing is there, else 126.
    #[error("{0}")]
    Exec(#[source] io::Error),
    /// There was no child any more to start it.
    #[error(transparent)]
    Held(#[from] HoldError),
}

impl StartError {
    /// The exit code that env(1), timeout(1) and shells use.
    pub fn exit_code(&self) -> i32 {
        match self {
            StartError::Exec(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => 127,
                _ => 126,
            },
            StartError::Held(_) => 125,
        }
    }
}

/// A child that waits to become CMD. Dropped, it ends with status 125 without running CMD.
#[derive(Debug)]
pub struct Held {
    child: Running,
    uid: u32,
    /// Closed, it ends the child.
    barrier: Option<File>,
    ready: File,
}

/// CMD's root process.
#[derive(Debug)]
pub struct Running {
    /// Its pid in leaktrace's own pid namespace. For people; kill and wait go by the pidfd.
    pub pid: u32,
    pidfd: OwnedFd,
}

/// Forks the child that will become CMD. Nothing of it runs before [`Held::go`].
///
/// Call it before any thread, limit change or BPF fd exists.
///
/// # Errors
/// [`HoldError::System`].
pub fn hold(spec: HoldSpec) -> Result<Held, HoldError> {
    let HoldSpec {
        argv,
        environment,
        user,
        found,
    } = spec;
    let uid = user.as_ref().map_or(0, |user| user.uid);
    let plan = Plan::new(argv, environment, user, found);
    let (barrier_read, barrier) = pipe()?;
    let (ready, ready_write) = pipe()?;
    // SAFETY: the child runs `held::run` only, which is async-signal-safe and never returns.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(system("fork")),
        0 => {
            // Or the child would never see the end of its own barrier.
            drop((barrier, ready));
            held::run(plan, barrier_read.as_fd(), ready_write.as_fd())
        }
        pid => pid,
    };
    drop((barrier_read, ready_write));
    let pid = pid.unsigned_abs();
    let pidfd =
        target::pidfd_open(pid).map_err(|error| HoldError::System("open a pidfd", error))?;
    Ok(Held {
        child: Running { pid, pidfd },
        uid,
        barrier: Some(barrier),
        ready,
    })
}

impl Held {
    /// The child's pid in leaktrace's own pid namespace.
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Lets the child make the system call by which the programs recognise it, and waits until
    /// it has.
    ///
    /// # Errors
    /// The child could not become the user, or is gone.
    pub fn announce(&mut self, nonce: u64) -> Result<(), HoldError> {
        let mut word = [held::ANNOUNCE; 9];
        word[1..].copy_from_slice(&nonce.to_le_bytes());
        self.tell(&word);
        match self.listen()? {
            Some((held::READY, _)) => Ok(()),
            Some((_, errno)) => Err(self.user_failed(errno)),
            None => Err(self.ended()),
        }
    }

    /// Lets the child exec CMD. Without [`Held::announce`] before it, CMD runs untraced.
    ///
    /// # Errors
    /// CMD could not be executed, or the child is gone.
    pub fn go(mut self) -> Result<Running, StartError> {
        self.tell(&[held::GO]);
        let heard = self.listen()?;
        match heard {
            // exec closed the pipe; or the child died, which waiting for it will tell.
            None => {
                let pidfd = self.child.pidfd.try_clone();
                let pidfd = pidfd.map_err(|error| HoldError::System("duplicate a pidfd", error))?;
                self.barrier = None;
                Ok(Running {
                    pid: self.child.pid,
                    pidfd,
                })
            }
            Some((held::EXEC_FAILED, errno)) => {
                Err(StartError::Exec(io::Error::from_raw_os_error(errno)))
            }
            Some((_, errno)) => Err(self.user_failed(errno).into()),
        }
    }

    /// A child that is gone cannot read; what became of it is found out by `listen`.
    fn tell(&mut self, word: &[u8]) {
        if let Some(barrier) = &mut self.barrier {
            drop(barrier.write_all(word));
        }
    }

    fn listen(&mut self) -> Result<Option<(u8, i32)>, HoldError> {
        let failed = |error| HoldError::System("read from the held child", error);
        let mut what = [0];
        if self.ready.read(&mut what).map_err(failed)? == 0 {
            return Ok(None);
        }
        let mut errno = [0; 4];
        if what[0] != held::READY {
            self.ready.read_exact(&mut errno).map_err(failed)?;
        }
        Ok(Some((what[0], i32::from_le_bytes(errno))))
    }

    fn user_failed(&self, errno: i32) -> HoldError {
        HoldError::User {
            uid: self.uid,
            source: io::Error::from_raw_os_error(errno),
        }
    }

    fn ended(&mut self) -> HoldError {
        match self.child.wait_blocking() {
            Ok(status) => HoldError::Ended(status),
            Err(error) => HoldError::System("wait for the held child", error),
        }
    }
}

impl Drop for Held {
    /// Gives up a child that was not let go, and reaps it.
    fn drop(&mut self) {
        if self.barrier.take().is_some() {
            drop(self.child.wait_blocking());
        }
    }
}

impl Running {
    /// Waits until the process has ended, and reaps it.
    ///
    /// # Errors
    /// The pidfd cannot be watched, or somebody else has reaped it.
    pub async fn wait(&self) -> io::Result<Status> {
        // SAFETY: `self` keeps the pidfd open and the same for longer than this registration.
        let watched =
            unsafe { AsyncFd::register_with_interest(self.pidfd.as_raw_fd(), Interest::READABLE) }?;
        // Readable once the thread group has ended (pidfd_open(2)).
        drop(watched.readable().await?);
        self.wait_blocking()
    }

    /// Sends a signal to the process; nothing happens if it has ended.
    pub fn signal(&self, signal: i32) {
        // SAFETY: a null siginfo means "as kill(2) would" (pidfd_send_signal(2)).
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
    }

    fn wait_blocking(&self) -> io::Result<Status> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        loop {
            // SAFETY: room for one siginfo; a zeroed one is valid.
            let done = unsafe {
                libc::waitid(
                    libc::P_PIDFD,
                    self.pidfd.as_raw_fd().unsigned_abs(),
                    info.as_mut_ptr(),
                    libc::WEXITED,
                )
            };
            if done == 0 {
                // SAFETY: waitid has filled it for a child's end.
                let info = unsafe { info.assume_init() };
                // SAFETY: si_status is valid for SIGCHLD's siginfo (sigaction(2)).
                return Ok(Status::from_siginfo(info.si_code, unsafe {
                    info.si_status()
                }));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

fn system(what: &'static str) -> HoldError {
    HoldError::System(what, io::Error::last_os_error())
}

/// A close-on-exec pipe whose ends are 10 or above, out of the way of the numbers that callers
/// pass on by hand; where the limit allows no such number, at least not 0-2.
fn pipe() -> Result<(File, File), HoldError> {
    let mut ends = [0; 2];
    // SAFETY: room for two fds.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == -1 {
        return Err(system("make a pipe"));
    }
    // SAFETY: pipe2 has just made them.
    let [read, write] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((lift(&read)?.into(), lift(&write)?.into()))
}

fn lift(fd: &OwnedFd) -> Result<OwnedFd, HoldError> {
    for lowest in [10, 3] {
        // SAFETY: F_DUPFD_CLOEXEC gives a new fd or -1.
        let lifted = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
        if lifted != -1 {
            // SAFETY: as above.
            return Ok(unsafe { OwnedFd::from_raw_fd(lifted) });
        }
    }
    Err(system("duplicate a pipe"))
}
