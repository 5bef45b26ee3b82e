//! `fd-fork SEED MILLISECONDS`: many fds, and processes that fork processes that fork: each closes,
//! dups and opens some of what it inherited. A description is shared by hundreds of tables.

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

/// fds of the first process.
const FDS: u64 = 300;
/// Generations, and children of each process: 1 + 3 + 9 + 27 = 40 processes at once.
const GENERATIONS: u64 = 3;
const CHILDREN: u64 = 3;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |what| -> Result<u64> { Ok(args.next().context(what)?.parse()?) };
    let seed = number("which seed?")?;
    let end = Instant::now() + Duration::from_millis(number("how long?")?);
    let mut fds = 0;
    while fds < FDS {
        let mut pair = [-1; 2];
        let pairs = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        let made = unsafe {
            match fds % 4 {
                0 => libc::open(c"/etc/hosts".as_ptr(), libc::O_RDONLY),
                1 => libc::memfd_create(c"fork".as_ptr(), 0),
                2 => libc::pipe(pair.as_mut_ptr()),
                _ => libc::socketpair(libc::AF_UNIX, pairs, 0, pair.as_mut_ptr()),
            }
        };
        ensure!(
            made >= 0,
            "cannot open: {}",
            std::io::Error::last_os_error()
        );
        fds += 1 + u64::from(pair[0] >= 0);
    }
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        ensure!(bear(seed, round, GENERATIONS), "a child failed");
    }
    Ok(())
}

/// Has some children, which have some, and waits for them. Whether all went well.
fn bear(seed: u64, name: u64, generations: u64) -> bool {
    if generations == 0 {
        return true;
    }
    let mut children = Vec::new();
    for child in 0..CHILDREN {
        let name = name * CHILDREN + child;
        match unsafe { libc::fork() } {
            0 => {
                churn(&mut Random::new(seed, name));
                let well = bear(seed, name, generations - 1);
                unsafe { libc::_exit(i32::from(!well)) }
            }
            pid => children.push(pid),
        }
    }
    children.into_iter().all(|pid| {
        let mut status = -1;
        pid > 0 && unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid && status == 0
    })
}

fn churn(random: &mut Random) {
    for _ in 0..30 {
        let fd = (3 + random.below(FDS)) as i32;
        let other = (3 + random.below(FDS)) as i32;
        unsafe {
            match random.below(5) {
                0 => libc::dup(fd),
                1 => libc::dup2(fd, other),
                2 => libc::eventfd(0, 0),
                _ => libc::close(fd),
            };
        }
    }
    // For somebody to look at.
    std::thread::sleep(Duration::from_millis(20));
}
