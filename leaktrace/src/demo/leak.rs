//! The program that leaks.

use std::{
    env,
    ffi::{CString, OsStr},
    fs::{self, File},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::made::{DIRECTORY_PREFIX, ORPHAN_COMM, checked};

const SEGMENT_BYTES: usize = 1 << 20;
/// The orphan ends by itself, should nobody come to remove it.
const ORPHAN_SECONDS: u32 = 60;

/// Leaks, and tells on `out` what it has made, each thing at once so that a failure later on
/// leaves nothing untold. Call it in a process without other threads that own locks: it forks.
///
/// # Errors
/// When something cannot be made or told.
pub fn leak(out: &mut dyn Write) -> io::Result<()> {
    let directory = make_directory()?;
    writeln!(out, "directory {}", directory.display())?;
    close_out_of_order(&directory)?;
    // SAFETY: takes integers only.
    let segment = unsafe { libc::shmget(libc::IPC_PRIVATE, SEGMENT_BYTES, 0o600) };
    checked(segment)?;
    writeln!(out, "segment {segment}")?;
    // Before the fork: a buffer would be written twice.
    out.flush()?;
    let orphan = make_orphan()?;
    writeln!(out, "orphan {orphan}")?;
    out.flush()
}

fn make_directory() -> io::Result<PathBuf> {
    let template = env::temp_dir().join(format!("{DIRECTORY_PREFIX}XXXXXX"));
    let mut template = CString::new(template.as_os_str().as_bytes())?.into_bytes_with_nul();
    // SAFETY: NUL-terminated and writable; mkdtemp replaces the X's in place.
    if unsafe { libc::mkdtemp(template.as_mut_ptr().cast()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    template.pop();
    Ok(PathBuf::from(OsStr::from_bytes(&template)))
}

/// Opens three files and closes them in the order in which they were opened.
fn close_out_of_order(directory: &Path) -> io::Result<()> {
    let make = |name: &str| -> io::Result<File> {
        let path = directory.join(name);
        fs::write(&path, format!("{name}\n"))?;
        File::open(path)
    };
    let (first, second, third) = (make("first")?, make("second")?, make("third")?);
    drop(first);
    drop(second);
    drop(third);
    Ok(())
}

/// A child that outlives its parent. It gives up stdin, stdout and stderr, which would keep
/// whoever reads them waiting.
fn make_orphan() -> io::Result<i32> {
    let mut name = [0_u8; 16];
    name[..ORPHAN_COMM.len()].copy_from_slice(ORPHAN_COMM.as_bytes());
    // SAFETY: the child makes async-signal-safe calls only and never returns.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above; the name is NUL-terminated.
        unsafe {
            (0..3).for_each(|fd| {
                libc::close(fd);
            });
            libc::setsid();
            libc::prctl(libc::PR_SET_NAME, name.as_ptr());
            libc::sleep(ORPHAN_SECONDS);
            libc::_exit(0);
        }
    }
    checked(pid)?;
    Ok(pid)
}
