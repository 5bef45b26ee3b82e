//! A worker: registers, waits for its SIGTERM, cleans up, says what it did.

use anyhow::{Result, ensure};

use crate::Variant;
use crate::manager::{Class, Done, Manager};
use crate::managers::{Fd, Ipc, Mapping, Memory, Ring, Signal, Socket, Task};

/// Starts a worker, ends it by SIGTERM and waits for it.
pub fn run(number: u32, variant: Variant, releases: &[Class]) -> Result<()> {
    let mut ready = [0; 2];
    // SAFETY: a place for two numbers.
    ensure!(unsafe { libc::pipe2(ready.as_mut_ptr(), libc::O_CLOEXEC) } == 0);
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    ensure!(child >= 0, std::io::Error::last_os_error());
    if child == 0 {
        let result = work(number, variant, releases, &ready);
        // SAFETY: ends the child without the parent's way on.
        unsafe { libc::_exit(i32::from(result.is_err())) }
    }
    let mut byte = 0_u8;
    let mut status = 0;
    // SAFETY: fds of ours, one byte and a status to write to, and a child of ours.
    unsafe {
        libc::close(ready[1]);
        libc::read(ready[0], (&raw mut byte).cast(), 1);
        libc::kill(child, libc::SIGTERM);
        libc::waitpid(child, &raw mut status, 0);
        libc::close(ready[0]);
    }
    ensure!(status == 0, "worker {number} ended with status {status:#x}");
    Ok(())
}

fn manager(class: Class, variant: Variant) -> Box<dyn Manager> {
    match class {
        Class::Memory => Box::new(Memory::default()),
        Class::Mapping => Box::new(Mapping {
            clumsy: variant == Variant::ReleaseFails,
            ..Mapping::default()
        }),
        Class::Ipc => Box::new(Ipc::default()),
        Class::Task => Box::new(Task::default()),
        Class::Ring => Box::new(Ring::default()),
        Class::Signal => Box::new(Signal::default()),
        Class::Socket => Box::new(Socket::default()),
        Class::Fd => Box::new(Fd::default()),
    }
}

fn forgotten(class: Class, variant: Variant) -> bool {
    match variant {
        Variant::NeverRegistered => class == Class::Ring,
        Variant::ChildrenLeft => class == Class::Task,
        _ => false,
    }
}

fn work(number: u32, variant: Variant, releases: &[Class], ready: &[i32; 2]) -> Result<()> {
    name(number);
    block_term();
    let mut registered = Vec::new();
    for class in releases.iter().rev() {
        if variant == Variant::Nothing {
            break;
        }
        let mut manager = manager(*class, variant);
        manager.acquire()?;
        if forgotten(*class, variant) {
            std::mem::forget(manager);
        } else {
            registered.push(manager);
        }
    }
    // SAFETY: the inherited pipe; one byte.
    unsafe { libc::write(ready[1], (&raw const number).cast(), 1) };
    wait_for_term();
    if variant == Variant::OrderReversed {
        registered.reverse();
    }
    let mut lines = Vec::new();
    while let Some(mut manager) = registered.pop() {
        lines.push(line(manager.class(), &manager.release()));
        if variant == Variant::CleanedTwice && manager.class() == Class::Socket {
            lines.push(line(manager.class(), &manager.release()));
        }
    }
    say(&format!(
        "{{\"pid\":{},\"classes\":[{}]}}\n",
        std::process::id(),
        lines.join(",")
    ));
    Ok(())
}

fn line(class: Class, done: &Done) -> String {
    format!(
        "{{\"class\":\"{}\",\"count\":{},\"bytes\":{},\"errors\":{},\"ns\":{}}}",
        class.name(),
        done.count,
        done.bytes,
        done.errors,
        done.time.as_nanos()
    )
}

fn name(number: u32) {
    if let Ok(name) = std::ffi::CString::new(format!("worker{number}")) {
        // SAFETY: a name that lives as long as the call.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

/// One write: nothing of the library's output is kept in the worker.
fn say(text: &str) {
    // SAFETY: bytes that live as long as the call.
    unsafe { libc::write(1, text.as_ptr().cast(), text.len()) };
}

fn term() -> libc::sigset_t {
    // SAFETY: all-zero bytes are a set to initialise.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        set
    }
}

fn block_term() {
    let set = term();
    // SAFETY: a set that lives as long as the call.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

fn wait_for_term() {
    let (set, mut taken) = (term(), 0);
    // SAFETY: a set, and a place for the number.
    unsafe { libc::sigwait(&raw const set, &raw mut taken) };
}
