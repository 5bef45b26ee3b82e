//! SysV and POSIX inter-process communication.

use anyhow::{Context, Result};

use crate::{Made, c, done};

#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is one libc call on values made beside it"
)]
pub fn step(verb: &str, args: &[&str], made: &mut Made) -> Result<bool> {
    match (verb, args) {
        ("shmget", [name, bytes]) => {
            let id = unsafe { libc::shmget(libc::IPC_PRIVATE, bytes.parse()?, 0o600) };
            made.ids.insert((*name).to_owned(), done(id)?);
        }
        ("shmat", [name]) => {
            let at = unsafe { libc::shmat(id(made, name)?, std::ptr::null(), 0) };
            made.mappings.insert((*name).to_owned(), (at as usize, 0));
        }
        ("shmdt", [name]) => {
            let (at, _) = made.mappings.remove(*name).context("not attached")?;
            done(unsafe { libc::shmdt(at as *const libc::c_void) })?;
        }
        ("shmrm", [name]) => {
            let id = id(made, name)?;
            done(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) })?;
        }
        ("semget", [name]) => {
            let id = unsafe { libc::semget(libc::IPC_PRIVATE, 2, 0o600) };
            made.ids.insert((*name).to_owned(), done(id)?);
        }
        ("semrm", [name]) => {
            done(unsafe { libc::semctl(id(made, name)?, 0, libc::IPC_RMID) })?;
        }
        ("msgget", [name]) => {
            let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
            made.ids.insert((*name).to_owned(), done(id)?);
        }
        ("msgrm", [name]) => {
            let id = id(made, name)?;
            done(unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) })?;
        }
        ("shm_open", [name, path]) => {
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
            let path = c(path)?;
            made.keep(name, unsafe { libc::shm_open(path.as_ptr(), flags, 0o600) })?;
        }
        ("shm_unlink", [path]) => drop(done(unsafe { libc::shm_unlink(c(path)?.as_ptr()) })?),
        ("sem_open", [path]) => {
            let flags = libc::O_CREAT | libc::O_EXCL;
            let at = unsafe { libc::sem_open(semaphore(path)?.as_ptr(), flags, 0o600, 1) };
            done(if at == libc::SEM_FAILED { -1 } else { 0 })?;
        }
        ("sem_unlink", [path]) => drop(done(unsafe {
            libc::sem_unlink(semaphore(path)?.as_ptr())
        })?),
        ("mq_open", [name, path]) => {
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
            let attributes = std::ptr::null_mut::<libc::mq_attr>();
            let path = c(path)?;
            let fd = unsafe { libc::mq_open(path.as_ptr(), flags, 0o600, attributes) };
            made.keep(name, fd)?;
        }
        ("mq_unlink", [path]) => drop(done(unsafe { libc::mq_unlink(c(path)?.as_ptr()) })?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn id(made: &Made, name: &str) -> Result<i32> {
    made.ids.get(name).copied().context("no such id")
}

/// The name of a semaphore: glibc puts `sem.` before it, by which it is known, and musl nothing.
fn semaphore(path: &str) -> Result<std::ffi::CString> {
    match cfg!(target_env = "musl") {
        true => c(&path.replacen('/', "/sem.", 1)),
        false => c(path),
    }
}
