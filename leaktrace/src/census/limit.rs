//! Limits as they are now: a program may set its own, or another's, at any time, and no record
//! tells of that.

use crate::id::Pid;

/// The soft RLIMIT_NOFILE of a process of our own pid namespace; `None` if it is gone or may not
/// be looked at. RLIM_INFINITY is the largest number.
pub fn nofile(pid: Pid) -> Option<u64> {
    let pid = libc::pid_t::try_from(pid.0).ok()?;
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: nothing is set; the old limit has room.
    let done = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) };
    (done == 0).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_limit_that_a_program_set_for_itself_is_seen() {
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -S -n 123; echo set; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut said = [0; 3];
        let out = child.stdout.as_mut().expect("a pipe");
        std::io::Read::read_exact(out, &mut said).expect("a word");
        let told = nofile(Pid(child.id()));
        drop(child.stdin.take());
        child.wait().expect("its end");
        assert_eq!(told, Some(123));
        assert_eq!(nofile(Pid(child.id())), None, "it is gone");
    }
}
