//! Names in file systems.

use anyhow::Result;

use crate::{c, done};

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is one libc call on values made beside it"
)]
pub fn step(verb: &str, args: &[&str]) -> Result<bool> {
    match (verb, args) {
        ("unlink", [path]) => drop(done(unsafe { libc::unlink(c(path)?.as_ptr()) })?),
        ("unlink-missing", [path]) => drop(unsafe { libc::unlink(c(path)?.as_ptr()) }),
        ("mkdir", [path]) => drop(done(unsafe { libc::mkdir(c(path)?.as_ptr(), 0o700) })?),
        ("rmdir", [path]) => drop(done(unsafe { libc::rmdir(c(path)?.as_ptr()) })?),
        ("mkfifo", [path]) => drop(done(unsafe { libc::mkfifo(c(path)?.as_ptr(), 0o600) })?),
        ("rename", [from, to]) => {
            done(unsafe { libc::rename(c(from)?.as_ptr(), c(to)?.as_ptr()) })?;
        }
        ("link", [from, to]) => {
            done(unsafe { libc::link(c(from)?.as_ptr(), c(to)?.as_ptr()) })?;
        }
        ("symlink", [to, path]) => {
            done(unsafe { libc::symlink(c(to)?.as_ptr(), c(path)?.as_ptr()) })?;
        }
        ("chdir", [path]) => drop(done(unsafe { libc::chdir(c(path)?.as_ptr()) })?),
        _ => return Ok(false),
    }
    Ok(true)
}
