//! File descriptors of all kinds but sockets.

use anyhow::{Context, Result};

use crate::{Made, c, done};

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is one libc call on values made beside it"
)]
pub fn step(verb: &str, args: &[&str], made: &mut Made) -> Result<bool> {
    match (verb, args) {
        ("open", [name, path]) => {
            let path = c(path)?;
            made.keep(name, unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) })?;
        }
        ("create", [name, path]) => {
            let path = c(path)?;
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
            made.keep(name, unsafe { libc::open(path.as_ptr(), flags, 0o600) })?;
        }
        ("tmpfile", [name, dir]) => {
            let dir = c(dir)?;
            let flags = libc::O_RDWR | libc::O_TMPFILE;
            made.keep(name, unsafe { libc::open(dir.as_ptr(), flags, 0o600) })?;
        }
        ("dup", [name, of]) => made.keep(name, unsafe { libc::dup(made.fd(of)?) })?,
        ("dup2", [name, of, number]) => {
            let number = number.parse()?;
            made.keep(name, unsafe { libc::dup2(made.fd(of)?, number) })?;
        }
        ("dupfd", [name, of, min]) => {
            let min: i32 = min.parse()?;
            let fd = unsafe { libc::fcntl(made.fd(of)?, libc::F_DUPFD_CLOEXEC, min) };
            made.keep(name, fd)?;
        }
        ("dup2-bad", []) => drop(unsafe { libc::dup2(-1, 1) }),
        ("pipe", [read, write]) => {
            let mut ends = [0; 2];
            done(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
            made.keep(read, ends[0])?;
            made.keep(write, ends[1])?;
        }
        ("memfd", [name]) => {
            made.keep(name, unsafe { libc::memfd_create(c"steps".as_ptr(), 0) })?;
        }
        ("eventfd", [name]) => made.keep(name, unsafe { libc::eventfd(0, 0) })?,
        ("epoll", [name]) => made.keep(name, unsafe { libc::epoll_create1(0) })?,
        ("timerfd", [name]) => {
            let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) };
            made.keep(name, fd)?;
        }
        ("inotify", [name]) => made.keep(name, unsafe { libc::inotify_init1(0) })?,
        ("signalfd", [name]) => {
            // SAFETY: an all-zero sigset_t is the empty set.
            let set: libc::sigset_t = unsafe { std::mem::zeroed() };
            made.keep(name, unsafe { libc::signalfd(-1, &raw const set, 0) })?;
        }
        ("pidfd", [name]) => {
            let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
            made.keep(name, i32::try_from(fd)?)?;
        }
        ("io_uring", [name]) => {
            let mut params = [0_u64; 15];
            let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
            made.keep(name, i32::try_from(fd)?)?;
        }
        ("close", [name]) => {
            let fd = made.fds.remove(*name).context("no such fd")?;
            done(unsafe { libc::close(fd) })?;
        }
        ("close-number", [number]) => drop(unsafe { libc::close(number.parse()?) }),
        ("fsync", [name]) => drop(done(unsafe { libc::fsync(made.fd(name)?) })?),
        ("epoll-add", [epoll, fd]) => {
            let mut event = libc::epoll_event {
                events: libc::EPOLLIN as u32,
                u64: 0,
            };
            let (epoll, fd) = (made.fd(epoll)?, made.fd(fd)?);
            done(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        }
        ("epoll-del", [epoll, fd]) => {
            let (epoll, fd) = (made.fd(epoll)?, made.fd(fd)?);
            let none = std::ptr::null_mut();
            done(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, none) })?;
        }
        ("limit-fds", [most]) => {
            let most = most.parse()?;
            let limit = libc::rlimit {
                rlim_cur: most,
                rlim_max: most,
            };
            done(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
        }
        // Opens until it is refused; gives back how it was all the same.
        ("open-till-full", [path]) => {
            let path = c(path)?;
            let mut opened = Vec::new();
            loop {
                match unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) } {
                    -1 => break,
                    fd => opened.push(fd),
                }
            }
            for fd in opened.into_iter().rev() {
                done(unsafe { libc::close(fd) })?;
            }
        }
        ("flock-nb", [name]) => {
            let flags = libc::LOCK_EX | libc::LOCK_NB;
            done(unsafe { libc::flock(made.fd(name)?, flags) })?;
        }
        ("unlock", [name]) => drop(done(unsafe { libc::flock(made.fd(name)?, libc::LOCK_UN) })?),
        ("sweep", [first, last]) => {
            // What daemons do before they detach: most of these numbers are not open.
            for fd in first.parse()?..=last.parse::<i32>()? {
                unsafe { libc::close(fd) };
            }
        }
        ("close-range", [first]) => {
            let first: u32 = first.parse()?;
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
            done(i32::try_from(result)?)?;
        }
        ("write", [name, bytes]) => {
            let bytes = vec![b'x'; bytes.parse()?];
            let fd = made.fd(name)?;
            let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
            done(i32::try_from(written)?)?;
        }
        ("flock", [name]) => drop(done(unsafe { libc::flock(made.fd(name)?, libc::LOCK_EX) })?),
        _ => return Ok(false),
    }
    Ok(true)
}
