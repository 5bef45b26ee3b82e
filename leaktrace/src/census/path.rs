//! What is at a path?
//!
//! The last component is never followed, and nothing is opened for real before it is known to
//! be a regular file: opening a fifo blocks, opening a device acts.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use leaktrace_common::record::FileIdentity;

use super::{
    Found, Identify, clause, clock, directory, host,
    inode::{self, Sought},
    namespace::{Own, Place},
    process,
};
use crate::id::{FileId, ProcessKey};

/// A file that begins with a line that is a pid is no longer than this if it is a lock: PostgreSQL's
/// goes on with where its data are, what it listens on, and more.
const MAX_PID_FILE: u64 = 512;
/// Bytes that are looked at to tell text.
const TEXT: u64 = 512;
/// Open without opening.
const LOOK: i32 = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// What is looked for.
pub(super) struct Named<'a> {
    /// Its absolute path in the namespace in which it was named.
    pub(super) path: &'a [u8],
    /// Which file it is, if that is known.
    pub(super) id: Option<FileId>,
    /// Where else it may be, if it was made under a mount of what is mounted elsewhere too.
    pub(super) bound: Option<&'a [Vec<u8>]>,
}

/// Looks at an absolute path in the namespace in which it was named; once that is gone, for the
/// file itself.
pub(super) fn find(
    named: &Named<'_>,
    mnt_ns: u32,
    through: &[ProcessKey],
    own: &Own,
    identify: &dyn Identify,
) -> Found {
    let path = named.path;
    if path.first() != Some(&b'/') {
        return Found::unknown("not an absolute path");
    }
    let place = own.place("mnt", mnt_ns, through);
    if matches!(place, Place::Nobody) {
        if let Some(id) = named.id {
            return by_identity(path, id, named.bound, identify);
        }
        if let Some(bound) = named.bound {
            return by_binding(bound, identify);
        }
    }
    let opened = match place {
        // A namespace without a known member: what it showed may still be seen from here (the
        // same file system mounted in both). Audit compares the kernel's identity, so another
        // file of that name does no harm.
        Place::Own | Place::Nobody => open_here(path),
        Place::Through(key) => open_through(key, path),
        Place::Unknown(why) => return Found::unknown(why),
    };
    match opened {
        Ok(fd) => describe(fd.as_fd(), identify),
        Err(error) => Found::from_error(&error),
    }
}

/// Looks for a file whose namespace is gone: under its name, as that may be the same here, where
/// its mount's source is, and wherever else its file system is mounted.
fn by_identity(
    path: &[u8],
    id: FileId,
    bound: Option<&[Vec<u8>]>,
    identify: &dyn Identify,
) -> Found {
    let at = |path: &[u8]| {
        let found = describe(open_here(path).ok()?.as_fd(), identify);
        matches!(found, Found::File { id: there, .. } if there == id).then_some(found)
    };
    if let Some(found) = at(path) {
        return found;
    }
    // Where its mount's source is, as far as that is known.
    for path in bound.into_iter().flatten() {
        if let Some(mut found) = at(path) {
            if let Found::File { elsewhere, .. } = &mut found {
                *elsewhere = Some(path.clone());
            }
            return found;
        }
    }
    match inode::find(id, identify) {
        Sought::Here(fd) => {
            let mut found = describe(fd.as_fd(), identify);
            if let Found::File { elsewhere, .. } = &mut found {
                *elsewhere = inode::name(&fd, id, identify);
            }
            found
        }
        // A file system that is mounted nowhere here went with its namespace.
        Sought::Gone | Sought::Elsewhere => Found::Gone,
        Sought::Unknown(why) => Found::unknown(format!("its mount namespace is gone: {why}")),
    }
}

/// Looks for what was made under a mount whose namespace is gone, where that mount's source is.
/// Whether it is what was made, its birth says.
fn by_binding(paths: &[Vec<u8>], identify: &dyn Identify) -> Found {
    for path in paths {
        let Ok(fd) = open_here(path) else {
            continue;
        };
        let mut found = describe(fd.as_fd(), identify);
        if let Found::File { elsewhere, .. } = &mut found {
            *elsewhere = Some(path.clone());
        }
        return found;
    }
    Found::unknown("its mount namespace is gone, and what was mounted there is somewhere else too")
}

/// Looks for a short file that begins with a number. There may be many to look at, and hardly one
/// is: anything else is as good as gone.
pub(super) fn find_pid_file(
    path: &[u8],
    mnt_ns: u32,
    through: &[ProcessKey],
    own: &Own,
    identify: &dyn Identify,
) -> Found {
    let opened = match own.place("mnt", mnt_ns, through) {
        Place::Own | Place::Nobody => open_here(path),
        Place::Through(key) => open_through(key, path),
        Place::Unknown(why) => return Found::unknown(why),
    };
    let short = |fd: &OwnedFd| -> io::Result<bool> {
        let status = statx(fd.as_fd())?;
        let regular = u32::from(status.stx_mode) & libc::S_IFMT == libc::S_IFREG;
        Ok(regular && (1..=MAX_PID_FILE).contains(&status.stx_size))
    };
    match opened.and_then(|fd| Ok((short(&fd)?, fd))) {
        Ok((true, fd)) => match describe(fd.as_fd(), identify) {
            found @ Found::File {
                holds_pid: Some(_), ..
            } => found,
            _ => Found::Gone,
        },
        Ok((false, _)) => Found::Gone,
        Err(error) => Found::from_error(&error),
    }
}

/// Whether what is at an absolute path is a regular file that begins with text: one without a
/// NUL byte, as git tells text from other content.
pub(super) fn source(path: &[u8]) -> Found {
    let look = || -> io::Result<bool> {
        let fd = open_here(path)?;
        let is_file = u32::from(statx(fd.as_fd())?.stx_mode) & libc::S_IFMT == libc::S_IFREG;
        if !is_file {
            return Ok(false);
        }
        let mut begin = Vec::new();
        reopen(fd.as_fd())?.take(TEXT).read_to_end(&mut begin)?;
        Ok(!begin.contains(&0))
    };
    match look() {
        Ok(true) => Found::Source,
        Ok(false) => Found::Gone,
        Err(error) => Found::from_error(&error),
    }
}

/// Opens what is at `path`, be it a link.
pub(super) fn open_here(path: &[u8]) -> io::Result<OwnedFd> {
    // What /proc/PID/cwd and the like lead to is another process's, or ours, and never what was meant;
    // and whoever may follow those of others need not be whoever asks.
    open2(
        libc::AT_FDCWD,
        &c_path(path)?,
        LOOK,
        libc::RESOLVE_NO_MAGICLINKS,
    )
}

/// Opens `path` under the root directory of a process; absolute links stay inside that. The
/// fd of the root is closed again at once.
fn open_through(key: ProcessKey, path: &[u8]) -> io::Result<OwnedFd> {
    let root = c_path(format!("/proc/{}/root", key.pid).as_bytes())?;
    let root = open2(libc::AT_FDCWD, &root, libc::O_PATH | libc::O_CLOEXEC, 0)?;
    if !process::runs(key) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    open2(
        root.as_raw_fd(),
        &c_path(path)?,
        LOOK,
        libc::RESOLVE_IN_ROOT,
    )
}

fn c_path(path: &[u8]) -> io::Result<CString> {
    CString::new(path)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the path holds a NUL"))
}

/// openat2(2) (Linux 5.6).
pub(super) fn open2(dir: i32, path: &CString, flags: i32, resolve: u64) -> io::Result<OwnedFd> {
    // SAFETY: open_how is plain integers; all zero is its default.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = flags as u64;
    how.resolve = resolve;
    // SAFETY: the path is NUL-terminated and `how` is valid for the size passed.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir,
            path.as_ptr(),
            &raw const how,
            size_of_val(&how),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new fd that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn describe(fd: BorrowedFd<'_>, identify: &dyn Identify) -> Found {
    let status = match statx(fd) {
        Ok(status) => status,
        Err(error) => return Found::from_error(&error),
    };
    let id = match identify.identify(fd) {
        Ok(identity) => file_id(&identity),
        Err(error) => return Found::unknown(format!("its identity: {}", clause(&error))),
    };
    let mode = u32::from(status.stx_mode);
    let (bytes, entries) = match mode & libc::S_IFMT {
        libc::S_IFDIR => directory::total(fd),
        _ => (status.stx_size, 0),
    };
    let small = (1..=MAX_PID_FILE).contains(&status.stx_size);
    let holds_pid = if mode & libc::S_IFMT == libc::S_IFREG && small {
        read_pid(fd)
    } else {
        None
    };
    let ns = |time: libc::statx_timestamp| {
        u64::try_from(time.tv_sec)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec.into())
    };
    // tmpfs tells no births on older kernels.
    let has_birth = status.stx_mask & libc::STATX_BTIME != 0;
    let birth_ns = has_birth.then(|| ns(status.stx_btime));
    let changed_ns = (!has_birth).then(|| {
        let changed = ns(status.stx_ctime);
        let used = ns(status.stx_atime).min(ns(status.stx_mtime));
        (changed, used.min(changed))
    });
    Found::File {
        id,
        mode,
        bytes,
        entries,
        birth_ns,
        changed_ns,
        wall_ns: Some(host::wall_ns()),
        clock_was_set: clock::was_set(),
        holds_pid,
        elsewhere: None,
    }
}

/// The kernel's identity as the census tells it.
pub(super) fn file_id(identity: &FileIdentity) -> FileId {
    FileId {
        dev: identity.dev,
        ino: identity.ino,
        generation: identity.generation,
    }
}

/// statx(2) of an open file: type, size, birth.
pub(super) fn statx(fd: BorrowedFd<'_>) -> io::Result<libc::statx> {
    // SAFETY: statx is plain integers.
    let mut out: libc::statx = unsafe { mem::zeroed() };
    // SAFETY: the path is an empty C string, `out` is valid for writing.
    let done = unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW,
            libc::STATX_BASIC_STATS | libc::STATX_BTIME,
            &raw mut out,
        )
    };
    if done == 0 {
        Ok(out)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The number that a short regular file's first line is.
fn read_pid(fd: BorrowedFd<'_>) -> Option<u32> {
    let mut text = Vec::new();
    reopen(fd)
        .ok()?
        .take(MAX_PID_FILE)
        .read_to_end(&mut text)
        .ok()?;
    parse_pid(&text)
}

/// A regular file, for reading, through the fd by which it was looked at: it is that file and
/// no other.
fn reopen(fd: BorrowedFd<'_>) -> io::Result<File> {
    let path = c_path(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_bytes())?;
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    open2(libc::AT_FDCWD, &path, flags, 0).map(File::from)
}

fn parse_pid(text: &[u8]) -> Option<u32> {
    let line = text.split(|byte| *byte == b'\n').next()?.trim_ascii();
    if line.is_empty() || !line.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
