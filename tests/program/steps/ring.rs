//! io_uring, as far as a scenario needs it: a read that waits, its completion, registered
//! buffers. The layouts are those of include/uapi/linux/io_uring.h.

use anyhow::{Context, Result, bail};

use crate::{Made, done};

const OFF_SQ_RING: i64 = 0;
const OFF_SQES: i64 = 0x1000_0000;
const OP_READ: u8 = 22;
const ENTER_GETEVENTS: u32 = 1;
const REGISTER_BUFFERS: u32 = 0;
const UNREGISTER_BUFFERS: u32 = 1;
const ENTRIES: u32 = 4;
/// The ring's page, and the entries' page.
const PAGE: usize = 4096;
const SQE: usize = 64;

/// What is read goes here; nobody looks at it.
static mut ROOM: [u8; 64] = [0; 64];

/// A ring with its two mappings.
#[derive(Clone, Copy)]
pub struct Ring {
    fd: i32,
    queue: usize,
    entries: usize,
    tail: usize,
    array: usize,
}

pub fn step(verb: &str, args: &[&str], made: &mut Made) -> Result<bool> {
    match (verb, args) {
        ("ring", [name]) => {
            let ring = set_up()?;
            made.keep(name, ring.fd)?;
            made.rings.insert((*name).to_owned(), ring);
        }
        ("ring-read", [name, from]) => submit_read(ring(made, name)?, made.fd(from)?)?,
        ("ring-await", [name]) => await_one(ring(made, name)?.fd)?,
        ("ring-buffers", [name, mapping]) => {
            let (at, bytes) = *made.mappings.get(*mapping).context("no such mapping")?;
            let buffer = [at, bytes];
            register(ring(made, name)?.fd, REGISTER_BUFFERS, buffer.as_ptr(), 1)?;
        }
        ("ring-unregister", [name]) => {
            register(
                ring(made, name)?.fd,
                UNREGISTER_BUFFERS,
                std::ptr::null(),
                0,
            )?;
        }
        // The mappings first, as liburing does.
        ("ring-close", [name]) => {
            let ring = made.rings.remove(*name).context("no such ring")?;
            made.fds.remove(*name);
            // SAFETY: mappings and an fd of this ring, which is forgotten.
            unsafe {
                done(libc::munmap(ring.entries as *mut libc::c_void, PAGE))?;
                done(libc::munmap(ring.queue as *mut libc::c_void, PAGE))?;
                done(libc::close(ring.fd))?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn ring(made: &Made, name: &str) -> Result<Ring> {
    made.rings.get(name).copied().context("no such ring")
}

fn set_up() -> Result<Ring> {
    let mut params = [0_u32; 30];
    // SAFETY: `struct io_uring_params` is 120 bytes.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, params.as_mut_ptr()) };
    let fd = done(i32::try_from(fd)?)?;
    // sq_off begins at word 10: head, tail, ring_mask, ring_entries, flags, dropped, array.
    let (tail, array) = (params[11] as usize, params[16] as usize);
    Ok(Ring {
        fd,
        queue: map(fd, OFF_SQ_RING)?,
        entries: map(fd, OFF_SQES)?,
        tail,
        array,
    })
}

fn map(fd: i32, offset: i64) -> Result<usize> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: a new mapping where the kernel likes it.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, flags, fd, offset) };
    if at == libc::MAP_FAILED {
        bail!(std::io::Error::last_os_error());
    }
    Ok(at as usize)
}

fn submit_read(ring: Ring, from: i32) -> Result<()> {
    // SAFETY: inside the ring's mappings; the first entry is free, as no scenario has more than
    // one request in flight.
    unsafe {
        let entry = ring.entries as *mut u8;
        entry.write_bytes(0, SQE);
        entry.write(OP_READ);
        entry.add(4).cast::<i32>().write(from);
        entry.add(8).cast::<u64>().write(u64::MAX);
        entry.add(16).cast::<u64>().write((&raw mut ROOM) as u64);
        entry.add(24).cast::<u32>().write(64);
        let tail = (ring.queue + ring.tail) as *mut u32;
        let place = tail.read_volatile();
        let array = (ring.queue + ring.array) as *mut u32;
        array.add((place % ENTRIES) as usize).write_volatile(0);
        tail.write_volatile(place + 1);
    }
    enter(ring.fd, 1, 0)
}

fn await_one(fd: i32) -> Result<()> {
    enter(fd, 0, 1)
}

fn enter(fd: i32, submit: u32, complete: u32) -> Result<()> {
    let flags = if complete > 0 { ENTER_GETEVENTS } else { 0 };
    // SAFETY: no signal mask is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            fd,
            submit,
            complete,
            flags,
            0_usize,
            0_usize,
        )
    };
    done(i32::try_from(result)?)?;
    Ok(())
}

fn register(fd: i32, what: u32, argument: *const usize, count: u32) -> Result<()> {
    // SAFETY: `struct iovec` is an address and a length.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_register, fd, what, argument, count) };
    done(i32::try_from(result)?)?;
    Ok(())
}
