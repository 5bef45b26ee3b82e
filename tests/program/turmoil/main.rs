//! `turmoil SEED MILLISECONDS`: eight processes do random things with fds, mappings, ipc, children,
//! threads and each other's fds. Now and then all of them stop themselves, which is when somebody
//! may look at what they hold, and go on when they are continued. The same seed does the same.

#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is a few libc calls on values made beside it"
)]

mod ops;
mod random;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{ops::Worker, random::Random};

const WORKERS: usize = 8;
/// Things done between two stops, at most.
const BURST: u64 = 150;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |what| -> Result<u64> { Ok(args.next().context(what)?.parse()?) };
    let seed = number("which seed?")?;
    let time = Duration::from_millis(number("how long?")?);
    let over = shared_flag()?;
    // Each passes fds on to the next.
    let mut ends = Vec::new();
    for _ in 0..WORKERS {
        let mut pair = [0; 2];
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
        ensure!(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) } == 0);
        ends.push(pair);
    }
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        match unsafe { libc::fork() } {
            0 => {
                let (to, from) = (ends[number][0], ends[(number + 1) % WORKERS][1]);
                let random = Random::new(seed, number as u64);
                work(Worker::new(random, to, from), over);
            }
            pid => workers.push(pid),
        }
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        for pid in &workers {
            let mut status = 0;
            unsafe { libc::waitpid(*pid, &raw mut status, libc::WUNTRACED) };
            ensure!(libc::WIFSTOPPED(status), "a worker ended: {status:#x}");
        }
        unsafe { libc::raise(libc::SIGSTOP) };
    }
    over.store(true, Ordering::Relaxed);
    for pid in &workers {
        let mut status = 0;
        loop {
            unsafe { libc::waitpid(*pid, &raw mut status, libc::WUNTRACED) };
            if !libc::WIFSTOPPED(status) {
                break;
            }
            unsafe { libc::kill(*pid, libc::SIGCONT) };
        }
        ensure!(status == 0, "a worker failed: {status:#x}");
    }
    Ok(())
}

fn work(mut worker: Worker, over: &AtomicBool) -> ! {
    while !over.load(Ordering::Relaxed) {
        for _ in 0..=worker.random.below(BURST) {
            worker.step();
        }
        unsafe { libc::raise(libc::SIGSTOP) };
    }
    worker.tidy();
    unsafe { libc::_exit(0) }
}

fn shared_flag() -> Result<&'static AtomicBool> {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    unsafe {
        let at = libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0);
        ensure!(at != libc::MAP_FAILED);
        Ok(&*at.cast::<AtomicBool>())
    }
}
