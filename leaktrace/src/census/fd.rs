//! Names of fds that were open before anything was traced.

use std::{fs, os::unix::ffi::OsStringExt};

/// The path behind an fd of a process, as /proc tells it (proc_pid_fd(5)): for people, not an
/// identity, and ` (deleted)` follows where the name is gone. `None` for what has no path, or
/// when the process or the right to look is missing.
pub fn path_of(pid: u32, fd: i32) -> Option<Vec<u8>> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    let path = link.into_os_string().into_vec();
    path.starts_with(b"/").then_some(path)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_file_has_its_path_and_a_pipe_none() -> std::io::Result<()> {
        let own = std::process::id();
        let file = fs::File::open("/proc/version")?;
        assert_eq!(
            path_of(own, file.as_raw_fd()).as_deref(),
            Some(&b"/proc/version"[..])
        );
        let (reader, _writer) = std::io::pipe()?;
        assert_eq!(path_of(own, reader.as_raw_fd()), None);
        assert_eq!(path_of(own, -1), None);
        Ok(())
    }
}
