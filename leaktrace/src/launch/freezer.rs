//! A cgroup of CMD's own in which its whole tree can be made to stand still for an instant.
//!
//! Unlike SIGSTOP the freezer of cgroup v2 (Linux 5.2, kernel/cgroup/freezer.c) is seen by no
//! parent and no wait. What it stops has left its system call, or waits in one for a vfork child;
//! a call that only waits ends early with EINTR or begins again, as around any stop
//! (signal(7)). So this is for comparing tables, where that is asked for, and for no verdict.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long to wait for everyone to stand still: one that waits for a disk holds up the rest.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK: Duration = Duration::from_micros(200);

/// Lets everyone go on and takes the cgroup away once its standard input has ended: with us.
const GUARD: &str = "trap '' HUP INT QUIT TERM; read -r _; cd \"$1\" || exit 0
    echo 0 > cgroup.freeze
    while read -r pid; do echo \"$pid\" > ../cgroup.procs; done < cgroup.procs
    cd .. && for _ in 1 2 3 4 5 6 7 8 9 10; do rmdir \"$1\" && break; sleep 0.1; done";

/// The cgroup; gone when dropped, and when leaktrace dies.
#[derive(Debug)]
pub struct Freezer {
    directory: PathBuf,
    guard: Child,
}

impl Freezer {
    /// Makes a cgroup below that of a process, and moves the process there.
    ///
    /// # Errors
    /// There is no v2 hierarchy, or it may not be written to.
    pub fn around(pid: u32) -> io::Result<Freezer> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let parent = parent(&mounts, &groups).ok_or_else(|| {
            let what = "no cgroup v2 hierarchy is mounted";
            io::Error::new(io::ErrorKind::NotFound, what)
        })?;
        let directory = parent.join(format!("leaktrace-{}", std::process::id()));
        fs::create_dir(&directory)?;
        let guard = match guard(&directory) {
            Ok(guard) => guard,
            Err(error) => {
                fs::remove_dir(&directory)?;
                return Err(error);
            }
        };
        let freezer = Freezer { directory, guard };
        fs::write(freezer.file("cgroup.procs"), pid.to_string())?;
        Ok(freezer)
    }

    /// Makes everyone stand still until the result is dropped; `None` if somebody cannot.
    ///
    /// # Errors
    /// The cgroup cannot be written to.
    pub fn freeze(&self) -> io::Result<Option<Frozen<'_>>> {
        let frozen = Frozen(self);
        fs::write(self.file("cgroup.freeze"), "1")?;
        let deadline = Instant::now() + PATIENCE;
        while !is_frozen(&fs::read_to_string(self.file("cgroup.events"))?) {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(LOOK);
        }
        Ok(Some(frozen))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}

/// Everyone stands still while this is.
#[derive(Debug)]
pub struct Frozen<'a>(&'a Freezer);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        drop(fs::write(self.0.file("cgroup.freeze"), "0"));
    }
}

/// In a process group of its own: a terminal's ^C is not for it.
fn guard(directory: &Path) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    Command::new("/bin/sh")
        .args(["-c", GUARD, "sh"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Of mountinfo and /proc/PID/cgroup: the directory of the process's v2 cgroup.
fn parent(mounts: &str, groups: &str) -> Option<PathBuf> {
    let unified = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let mut fields = unified.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = path.strip_prefix(root.trim_end_matches('/'))?;
    Some(Path::new(&point.replace("\\040", " ")).join(below.trim_start_matches('/')))
}

fn is_frozen(events: &str) -> bool {
    events.lines().any(|line| line == "frozen 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 24 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                          31 24 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_cgroup_is_found_below_its_mount() {
        let found = parent(MOUNTS, "8:pids:/x\n0::/user.slice/a\n");
        let wanted = Path::new("/sys/fs/cgroup/unified/user.slice/a");
        assert_eq!(found.as_deref(), Some(wanted));
        let top = parent(MOUNTS, "0::/\n");
        assert_eq!(top.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(parent("", "0::/\n"), None);
        let part = MOUNTS.replace("0:27 /", "0:27 /part");
        assert_eq!(parent(&part, "0::/other\n"), None);
    }

    #[test]
    fn everyone_is_frozen_when_the_kernel_says_so() {
        assert!(is_frozen("populated 1\nfrozen 1\n"));
        assert!(!is_frozen("populated 1\nfrozen 0\n"));
    }
}
