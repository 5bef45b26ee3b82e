//! Contexts of aio. The layouts are those of include/uapi/linux/aio_abi.h.

use anyhow::{Context, Result};

use crate::{Made, done};

const EVENTS: u32 = 8;
const POLL: u16 = 5;

/// `struct iocb`.
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    reqprio: i16,
    fd: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

const _: () = assert!(size_of::<Request>() == 64);

pub fn step(verb: &str, args: &[&str], made: &mut Made) -> Result<bool> {
    match (verb, args) {
        ("aio", [name]) => {
            let mut context = 0_usize;
            // SAFETY: writes to a local.
            let result = unsafe { libc::syscall(libc::SYS_io_setup, EVENTS, &raw mut context) };
            done(i32::try_from(result)?)?;
            made.contexts.insert((*name).to_owned(), context);
        }
        // Completes when the fd can be read.
        ("aio-poll", [name, fd]) => {
            let request = Request {
                opcode: POLL,
                fd: u32::try_from(made.fd(fd)?)?,
                buf: u64::try_from(libc::POLLIN)?,
                ..Request::default()
            };
            let list = [&raw const request];
            // SAFETY: one request, which the kernel copies.
            let result = unsafe {
                libc::syscall(libc::SYS_io_submit, context(made, name)?, 1, list.as_ptr())
            };
            done(i32::try_from(result)?)?;
        }
        ("aio-await", [name]) => {
            let mut event = [0_u64; 4];
            let none = std::ptr::null::<libc::timespec>();
            // SAFETY: `struct io_event` is 32 bytes; one is asked for.
            let result = unsafe {
                let context = context(made, name)?;
                libc::syscall(
                    libc::SYS_io_getevents,
                    context,
                    1,
                    1,
                    event.as_mut_ptr(),
                    none,
                )
            };
            done(i32::try_from(result)?)?;
        }
        ("aio-destroy", [name]) => {
            let context = made.contexts.remove(*name).context("no such context")?;
            // SAFETY: passes no memory of ours.
            let result = unsafe { libc::syscall(libc::SYS_io_destroy, context) };
            done(i32::try_from(result)?)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn context(made: &Made, name: &str) -> Result<usize> {
    made.contexts.get(name).copied().context("no such context")
}
