//! Address space.

use anyhow::{Context, Result, bail};

use crate::{Made, done};

pub fn step(verb: &str, args: &[&str], made: &mut Made) -> Result<bool> {
    match (verb, args) {
        ("mmap", [name, bytes]) => map(made, name, -1, bytes.parse()?, libc::MAP_ANONYMOUS)?,
        ("mmap-shared", [name, of, bytes]) => {
            let fd = made.fd(of)?;
            map(made, name, fd, bytes.parse()?, libc::MAP_SHARED)?;
        }
        ("mlock", [name]) => {
            let (at, bytes) = *made.mappings.get(*name).context("no such mapping")?;
            // SAFETY: a mapping made by a step.
            done(unsafe { libc::mlock(at as *const libc::c_void, bytes) })?;
        }
        ("munlock", [name]) => {
            let (at, bytes) = *made.mappings.get(*name).context("no such mapping")?;
            // SAFETY: a mapping made by a step.
            done(unsafe { libc::munlock(at as *const libc::c_void, bytes) })?;
        }
        ("msync", [name]) => {
            let (at, bytes) = *made.mappings.get(*name).context("no such mapping")?;
            // SAFETY: a mapping made by a step.
            done(unsafe { libc::msync(at as *mut libc::c_void, bytes, libc::MS_SYNC) })?;
        }
        // An address that is not that of a page: EINVAL.
        ("munmap-bad", []) => {
            // SAFETY: the kernel refuses it.
            let _ = unsafe { libc::munmap(std::ptr::dangling_mut(), 4096) };
        }
        ("munmap", [name]) => {
            let (at, bytes) = made.mappings.remove(*name).context("no such mapping")?;
            // SAFETY: a mapping made by a step, which nothing else refers to.
            done(unsafe { libc::munmap(at as *mut libc::c_void, bytes) })?;
        }
        ("touch", [name]) => {
            let (at, bytes) = *made.mappings.get(*name).context("no such mapping")?;
            for offset in (0..bytes).step_by(4096) {
                // SAFETY: inside a writable mapping made by a step.
                unsafe { ((at + offset) as *mut u8).write_volatile(1) };
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn map(made: &mut Made, name: &str, fd: i32, bytes: usize, flags: i32) -> Result<()> {
    let sharing = if fd < 0 { libc::MAP_PRIVATE } else { 0 };
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping where the kernel likes it.
    let at = unsafe {
        if fd >= 0 {
            done(libc::ftruncate(fd, i64::try_from(bytes)?))?;
        }
        libc::mmap(std::ptr::null_mut(), bytes, access, flags | sharing, fd, 0)
    };
    if at == libc::MAP_FAILED {
        bail!(std::io::Error::last_os_error());
    }
    made.mappings.insert(name.to_owned(), (at as usize, bytes));
    Ok(())
}
