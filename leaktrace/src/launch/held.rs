//! The child's side, from fork to exec. Only async-signal-safe calls, no allocation, no panic.

use std::os::fd::{AsRawFd, BorrowedFd};

use leaktrace_common::abi::{PRCTL_HOLD, PRCTL_MAGIC};
use libc::c_int;

use super::plan::{Plan, SHELL};

/// First byte of the parent's word "the probes are live"; eight bytes of nonce follow.
pub(super) const ANNOUNCE: u8 = b'a';
/// The parent's word "go".
pub(super) const GO: u8 = b'g';
/// The child's word "the programs have seen me".
pub(super) const READY: u8 = b'r';
/// The child could not become the user; four bytes of errno follow.
pub(super) const USER_FAILED: u8 = b'u';
/// The child could not exec; four bytes of errno follow.
pub(super) const EXEC_FAILED: u8 = b'x';

/// Exit status of a child whose leaktrace went away or gave it up.
pub(super) const ABANDONED: c_int = 125;

/// Holds, announces and execs. Never returns.
pub(super) fn run(mut plan: Plan, barrier: BorrowedFd<'_>, ready: BorrowedFd<'_>) -> ! {
    let (barrier, ready) = (barrier.as_raw_fd(), ready.as_raw_fd());
    plan.found.restore();
    if let Err(errno) = become_user(&plan) {
        tell_errno(ready, USER_FAILED, errno);
        abandon();
    }
    loop {
        match read_byte(barrier) {
            Some(ANNOUNCE) => {
                let mut nonce = [0; 8];
                nonce.fill_with(|| read_byte(barrier).unwrap_or_else(|| abandon()));
                announce(u64::from_le_bytes(nonce));
                write_all(ready, &[READY]);
            }
            Some(GO) => break,
            Some(_) | None => abandon(),
        }
    }
    let errno = exec(&mut plan);
    tell_errno(ready, EXEC_FAILED, errno);
    abandon()
}

fn abandon() -> ! {
    // SAFETY: _exit is always allowed.
    unsafe { libc::_exit(ABANDONED) }
}

/// The nonce system call. By syscall(2) because prctl(3) would cut its first argument to an
/// int; the call fails with EINVAL, the programs have seen it by then.
fn announce(nonce: u64) {
    // SAFETY: no option of prctl has this value, so nothing changes.
    unsafe { libc::syscall(libc::SYS_prctl, PRCTL_MAGIC, PRCTL_HOLD, nonce, 0, 0) };
}

/// Groups first: without root's capabilities they cannot be set any more.
fn become_user(plan: &Plan) -> Result<(), c_int> {
    let Some(user) = &plan.user else {
        return Ok(());
    };
    // SAFETY: `groups` is a valid array of that length.
    let done = unsafe {
        libc::setgroups(user.groups.len(), user.groups.as_ptr()) == 0
            && libc::setresgid(user.gid, user.gid, user.gid) == 0
            && libc::setresuid(user.uid, user.uid, user.uid) == 0
    };
    if done { Ok(()) } else { Err(errno()) }
}

/// As execvp(3): goes on after "not here", remembers "may not", stops at everything else.
fn exec(plan: &mut Plan) -> c_int {
    let mut result = libc::ENOENT;
    for path in &plan.candidates {
        // SAFETY: path, argv and envp are null-terminated and alive in the plan.
        unsafe { libc::execve(path.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr()) };
        let mut errno = errno();
        if errno == libc::ENOEXEC {
            plan.script_argv[1] = path.as_ptr();
            // SAFETY: as above.
            unsafe {
                libc::execve(
                    SHELL.as_ptr(),
                    plan.script_argv.as_ptr(),
                    plan.envp.as_ptr(),
                );
            }
            errno = self::errno();
        }
        match errno {
            libc::EACCES => result = libc::EACCES,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            errno => return errno,
        }
    }
    result
}

fn errno() -> c_int {
    // SAFETY: __errno_location points at this thread's errno.
    unsafe { *libc::__errno_location() }
}

fn read_byte(fd: c_int) -> Option<u8> {
    let mut byte = 0u8;
    loop {
        // SAFETY: one byte of room.
        match unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } {
            1 => return Some(byte),
            -1 if errno() == libc::EINTR => {}
            _ => return None,
        }
    }
}

fn write_all(fd: c_int, bytes: &[u8]) {
    // A write of up to PIPE_BUF bytes is whole or not at all (pipe(7)).
    // SAFETY: the pointer and length are those of a slice.
    while unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } == -1
        && errno() == libc::EINTR
    {}
}

fn tell_errno(fd: c_int, what: u8, errno: c_int) {
    let [a, b, c, d] = errno.to_le_bytes();
    write_all(fd, &[what, a, b, c, d]);
}
