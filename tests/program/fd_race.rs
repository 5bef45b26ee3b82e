//! `fd-race SEED MILLISECONDS`: threads of two processes open, close and dup2 the same few numbers
//! at once, and some close numbers that they never opened.

#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is a few libc calls on values made beside it"
)]

#[path = "turmoil/random.rs"]
#[expect(dead_code, reason = "the rest is for others")]
mod random;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::random::Random;

/// The numbers that they fight for.
const FIRST: u64 = 3;
const NUMBERS: u64 = 60;
/// Threads of a process that do the same.
const OF_A_KIND: u64 = 2;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |what| -> Result<u64> { Ok(args.next().context(what)?.parse()?) };
    let seed = number("which seed?")?;
    let end = Instant::now() + Duration::from_millis(number("how long?")?);
    let child = unsafe { libc::fork() };
    ensure!(child >= 0, "cannot fork");
    let user = u64::from(child == 0) * 100;
    std::thread::scope(|scope| {
        for (kind, work) in [open, dup2, close, close_some].into_iter().enumerate() {
            for one in 0..OF_A_KIND {
                let mut random = Random::new(seed, user + kind as u64 * OF_A_KIND + one);
                scope.spawn(move || {
                    while Instant::now() < end {
                        work(&mut random);
                    }
                });
            }
        }
    });
    if child > 0 {
        let mut status = 0;
        ensure!(unsafe { libc::waitpid(child, &raw mut status, 0) } == child);
        ensure!(status == 0, "the child failed: {status:#x}");
    }
    Ok(())
}

fn any(random: &mut Random) -> i32 {
    (FIRST + random.below(NUMBERS)) as i32
}

fn open(random: &mut Random) {
    let mut pair = [-1; 2];
    unsafe {
        match random.below(6) {
            0 => libc::eventfd(0, 0),
            1 => libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0),
            2 => libc::memfd_create(c"race".as_ptr(), 0),
            3 => libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC),
            _ => libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY),
        };
    }
}

fn dup2(random: &mut Random) {
    let (old, new) = (any(random), any(random));
    unsafe {
        match random.below(3) {
            0 => libc::dup(old),
            1 => libc::fcntl(old, libc::F_DUPFD, new),
            _ => libc::dup2(old, new),
        };
    }
}

/// A number that anybody may have opened, or nobody.
fn close(random: &mut Random) {
    let fd = any(random);
    unsafe { libc::close(fd) };
}

/// Or several.
fn close_some(random: &mut Random) {
    let first = any(random) as u32;
    let last = first + random.below(4) as u32;
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}
