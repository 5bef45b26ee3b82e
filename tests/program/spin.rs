//! `spin WHAT N`: does WHAT N times and prints the nanoseconds that one took, and its CPU time.
//! `spin hold P N`: P processes hold N open files each until stdin ends; prints `held` before.
//! `spin hold-mappings P N`: the same with mappings.
//! `spin fork N`: N processes one after the other that end at once; prints how many there were.
//! `spin churn S`: for S seconds short processes, four at a time, each with a few resources.
//! `spin exec S`: for S seconds two processes execute this program anew, one time after the other; prints
//! how often each did.
//! `spin mappings N`: N mappings, then the end without giving one back.
//! `spin threads N`: N threads, then the end with all of them there.
//! `spin tree N`: N processes that live at the same time.

#![expect(clippy::print_stdout, reason = "its result")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is one libc call on values made beside it"
)]

#[path = "spin/many.rs"]
mod many;

use std::io::{Read as _, Write as _};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().context("what?")?;
    let count: u64 = args.next().context("how often?")?.parse()?;
    match what.as_str() {
        "hold" => return hold(count, args.next().context("how many?")?.parse()?, open_one),
        "hold-mappings" => {
            return hold(count, args.next().context("how many?")?.parse()?, map_one);
        }
        "fork" => return many::fork(count),
        "churn" => return many::churn(std::time::Duration::from_secs(count)),
        "exec" => return many::exec(std::time::Duration::from_secs(count)),
        many::AGAIN => return many::again(count, args.next().context("how many?")?.parse()?),
        "mappings" => return many::mappings(count),
        "threads" => return many::threads(count),
        "tree" => return many::tree(count),
        _ => {}
    }
    let once = operation(&what)?;
    once();
    let start = Instant::now();
    for _ in 0..count {
        once();
    }
    let ns = start.elapsed().as_nanos() as f64 / count as f64;
    println!("{ns:.1} {}", cpu_ns());
    Ok(())
}

/// CPU time of this process so far.
fn cpu_ns() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn open_one(_: u64) -> bool {
    unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) >= 0 }
}

/// Every second one may be read, so that the kernel makes none of two.
fn map_one(number: u64) -> bool {
    let prot = if number.is_multiple_of(2) {
        libc::PROT_READ
    } else {
        libc::PROT_NONE
    };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0) };
    at != libc::MAP_FAILED
}

fn hold(processes: u64, each: u64, take: fn(u64) -> bool) -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    // One after the other: memory is to be measured, not how fast records can be read. Children
    // say by a byte that they hold what they should, and end at stdin's end as we do.
    let (mut ready, holder) = std::io::pipe()?;
    let mut said = [0];
    for _ in 0..processes {
        if unsafe { libc::fork() } == 0 {
            let held = (0..each).all(take);
            (&holder).write_all(&[u8::from(held)])?;
            std::io::stdin().read_to_end(&mut Vec::new())?;
            unsafe { libc::_exit(0) };
        }
        ready.read_exact(&mut said)?;
        ensure!(said == [1], "no more than this can be held");
    }
    println!("held");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for _ in 0..processes {
        unsafe { libc::wait(std::ptr::null_mut()) };
    }
    Ok(())
}

fn operation(what: &str) -> Result<fn()> {
    Ok(match what {
        "open" => || unsafe {
            libc::close(libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY));
        },
        "socket" => || unsafe {
            libc::close(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
        },
        "dup" => || unsafe {
            libc::close(libc::dup(0));
        },
        "mmap" => || unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, flags, -1, 0);
            libc::munmap(at, 4096);
        },
        // By number: libc's own getppid is free to be cached.
        "getppid" => || unsafe {
            libc::syscall(libc::SYS_getppid);
        },
        _ => bail!("spin open|socket|mmap|getppid|dup N"),
    })
}
