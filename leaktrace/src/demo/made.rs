//! What the leaking program has made: told line by line, removed at the end.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    ptr,
};

/// Comm of the process that stays.
pub(super) const ORPHAN_COMM: &str = "demo-orphan";
/// Prefix of the directory that stays.
pub(super) const DIRECTORY_PREFIX: &str = "leaktrace-demo-";

/// Everything that stays.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub segment: Option<i32>,
    pub directory: Option<PathBuf>,
    pub orphan: Option<i32>,
}

impl Made {
    /// Reads `WORD VALUE` lines; what is not understood is left alone.
    pub fn parse(told: &[u8]) -> Made {
        let mut made = Made::default();
        for line in String::from_utf8_lossy(told).lines() {
            match line.split_once(' ') {
                Some(("segment", id)) => made.segment = id.parse().ok(),
                Some(("directory", path)) => made.directory = Some(PathBuf::from(path)),
                Some(("orphan", pid)) => made.orphan = id_of_process(pid),
                _ => {}
            }
        }
        made
    }

    /// Removes all of it, and reports the first failure when everything has been tried.
    pub fn remove(&self) -> io::Result<()> {
        let orphan = self.orphan.map_or(Ok(()), end);
        let directory = self.directory.as_deref().map_or(Ok(()), remove_directory);
        let segment = self.segment.map_or(Ok(()), remove_segment);
        orphan.and(directory).and(segment)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.segment.map(|id| format!("shared memory {id}")),
            self.directory
                .as_ref()
                .map(|path| path.display().to_string()),
            self.orphan.map(|pid| format!("process {pid}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// kill(2) takes 0 and negative numbers for groups.
fn id_of_process(text: &str) -> Option<i32> {
    text.parse().ok().filter(|pid| *pid > 1)
}

/// Ends the process if it is still ours: by now the pid may be another's.
fn end(pid: i32) -> io::Result<()> {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if comm.trim_end() != ORPHAN_COMM {
        return Ok(());
    }
    // SAFETY: takes integers only.
    checked(unsafe { libc::kill(pid, libc::SIGKILL) })
}

fn remove_directory(path: &Path) -> io::Result<()> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if !path.is_absolute() || !name.starts_with(DIRECTORY_PREFIX) {
        return Err(io::Error::other("the directory told is not the demo's"));
    }
    fs::remove_dir_all(path)
}

fn remove_segment(id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID ignores the buffer.
    checked(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) })
}

pub(super) fn checked(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::{super::leak, *};

    #[test]
    fn what_leaks_is_told_and_can_be_removed() {
        let mut told = Vec::new();
        leak(&mut told).unwrap();
        let made = Made::parse(&told);
        let (segment, pid) = (made.segment.unwrap(), made.orphan.unwrap());
        let directory = made.directory.clone().unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 3);
        let comm = format!("/proc/{pid}/comm");
        while fs::read_to_string(&comm).unwrap().trim_end() != ORPHAN_COMM {
            std::thread::yield_now();
        }
        made.remove().unwrap();
        // SAFETY: here the orphan is this process's own child; the status is not wanted.
        assert_eq!(unsafe { libc::waitpid(pid, ptr::null_mut(), 0) }, pid);
        assert!(!directory.exists());
        assert!(remove_segment(segment).is_err());
        let text = made.to_string();
        assert!(
            text.starts_with(&format!("shared memory {segment}, /")),
            "{text}"
        );
    }

    #[test]
    fn only_the_demos_own_things_are_removed() {
        let made = Made::parse(b"segment x\norphan 1\norphan -1\nnonsense\n\ndirectory /tmp\n");
        assert_eq!((made.segment, made.orphan), (None, None));
        assert!(made.remove().is_err());
        assert!(Path::new("/tmp").exists());
        // Not named as the orphan is: somebody else's pid by now.
        end(std::process::id() as i32).unwrap();
        assert_eq!(Made::parse(b"").to_string(), "nothing");
    }
}
