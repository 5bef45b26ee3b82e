//! The environment that CMD gets: the caller's, which under sudo is not ours.

use std::{
    ffi::{CString, OsStr},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

use super::privilege;

/// An environment block, as in `/proc/PID/environ`: each entry `NAME=value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The entries, in the order found.
    pub entries: Vec<CString>,
    /// Where it is from.
    pub origin: Origin,
}

/// Where an environment is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// leaktrace's own.
    #[default]
    Own,
    /// That of the sudo process which started leaktrace: the user's, before sudo reset it.
    Sudo,
    /// leaktrace's own, as sudo left it, because sudo's could not be read.
    ResetBySudo,
}

impl Environment {
    /// This process's environment, byte for byte.
    pub fn own() -> Environment {
        Environment {
            entries: own_entries(),
            origin: Origin::Own,
        }
    }

    /// The environment that the caller had: sudo's if sudo itself started leaktrace.
    ///
    /// A shell or make between the two has exports of its own that sudo never saw; then ours is
    /// the better one.
    pub fn of_caller() -> Environment {
        if std::env::var_os("SUDO_UID").is_none() {
            return Environment::own();
        }
        match sudo_above() {
            None => Environment::own(),
            Some(pid) => match fs::read(format!("/proc/{pid}/environ")) {
                Ok(block) if !block.is_empty() => Environment {
                    entries: parse(&block),
                    origin: Origin::Sudo,
                },
                Ok(_) | Err(_) => Environment {
                    entries: own_entries(),
                    origin: Origin::ResetBySudo,
                },
            },
        }
    }

    /// The value of a variable; of several with the same name the first, as getenv(3) does.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.entries.iter().find_map(|entry| {
            let value = entry.to_bytes().strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=").map(OsStr::from_bytes)
        })
    }
}

/// `environ` itself, not `std::env::vars_os`: that drops entries without a `=`. Of a program with
/// file capabilities the C library drops more (TMPDIR, LD_LIBRARY_PATH: ld.so(8), secure-execution
/// mode), which is right for us and not for CMD, so there it is what the kernel has.
fn own_entries() -> Vec<CString> {
    if privilege::is_given_by_the_file()
        && let Some(block) = as_executed()
    {
        return parse(&block);
    }
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: `environ` is a null-terminated array of C strings (environ(7)), and nobody changes
    // it: this runs before any thread exists, and leaktrace never sets a variable.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            entries.push(std::ffi::CStr::from_ptr(*at).to_owned());
            at = at.add(1);
        }
    }
    entries
}

/// The environment that exec was given. Of a process that is not dumpable, as one with file
/// capabilities is not, the file is root's (proc_pid_environ(5)): so for that moment it is dumpable,
/// which opens it to nobody with fewer capabilities (ptrace(2)).
fn as_executed() -> Option<Vec<u8>> {
    // SAFETY: plain numbers; nothing is read or written.
    unsafe {
        let before = libc::prctl(libc::PR_GET_DUMPABLE);
        libc::prctl(libc::PR_SET_DUMPABLE, 1);
        let block = fs::read("/proc/self/environ");
        libc::prctl(libc::PR_SET_DUMPABLE, before.min(1));
        block.ok()
    }
}

fn parse(block: &[u8]) -> Vec<CString> {
    block
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty())
        .filter_map(|entry| CString::new(entry).ok())
        .collect()
}

/// The outermost of the sudo processes directly above this one: with `use_pty` sudo forks a
/// monitor of itself, whose environment is the same.
fn sudo_above() -> Option<u32> {
    let mut found = None;
    let mut pid = std::os::unix::process::parent_id();
    for _ in 0..4 {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let Some((comm, parent)) = comm_and_parent(&stat) else {
            break;
        };
        if !matches!(comm, b"sudo" | b"sudo-rs") {
            break;
        }
        found = Some(pid);
        pid = parent;
    }
    found
}

/// comm may hold spaces and parentheses: it ends at the last `)` (proc_pid_stat(5)).
fn comm_and_parent(stat: &[u8]) -> Option<(&[u8], u32)> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let parent = rest.split_whitespace().nth(1)?.parse().ok()?;
    Some((stat.get(open + 1..close)?, parent))
}

/// The files that execvp(3) would try for `name`, in its order.
pub fn candidates(name: &OsStr, environment: &Environment) -> Vec<CString> {
    let c = |bytes: Vec<u8>| CString::new(bytes).ok();
    if name.is_empty() || name.as_bytes().contains(&b'/') {
        return c(name.as_bytes().to_vec()).into_iter().collect();
    }
    // What glibc searches when PATH is not set: confstr(_CS_PATH).
    let path = environment
        .get("PATH")
        .unwrap_or(OsStr::new("/bin:/usr/bin"));
    std::env::split_paths(path)
        .filter_map(|directory| c(directory.join(name).into_os_string().into_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(entries: &[&str]) -> Environment {
        Environment {
            entries: parse(entries.join("\0").as_bytes()),
            origin: Origin::Own,
        }
    }

    fn names(name: &str, entries: &[&str]) -> Vec<String> {
        candidates(OsStr::new(name), &environment(entries))
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_command_is_searched_in_the_path_of_its_own_environment() {
        assert_eq!(names("cc", &["A=1", "PATH=/x:/y"]), ["/x/cc", "/y/cc"]);
        assert_eq!(names("cc", &[]), ["/bin/cc", "/usr/bin/cc"]);
        assert_eq!(names("./cc", &["PATH=/x"]), ["./cc"]);
    }

    #[test]
    fn an_empty_path_component_is_the_working_directory() {
        assert_eq!(names("cc", &["PATH=:/x"]), ["cc", "/x/cc"]);
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = environment(&["PATHS=/no", "PATH=/yes", "PATH=/late"]);
        assert_eq!(environment.get("PATH"), Some(OsStr::new("/yes")));
        assert_eq!(environment.get("PAT"), None);
    }

    #[test]
    fn a_comm_with_parentheses_does_not_hide_the_parent() {
        let stat = b"42 (a) (b c) S 7 42 42 0";
        assert_eq!(comm_and_parent(stat), Some((b"a) (b c".as_slice(), 7)));
        assert_eq!(comm_and_parent(b"42 (a"), None);
    }
}
