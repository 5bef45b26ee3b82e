//! Great numbers: of processes, of threads, of mappings.

use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Short processes at a time.
const AT_ONCE: usize = 4;

/// N processes one after the other that end at once: the numbers wrap if there are enough.
pub fn fork(count: u64) -> Result<()> {
    for _ in 0..count {
        match unsafe { libc::fork() } {
            0 => unsafe { libc::_exit(0) },
            child => {
                ensure!(child > 0, "no process can be made");
                ensure!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) } == child);
            }
        }
    }
    println!("{count}");
    Ok(())
}

/// What [`exec`] executes: `spin again UNTIL COUNT`, the time in ns of CLOCK_MONOTONIC.
pub const AGAIN: &str = "again";

/// Two processes that execute this program anew until the time is over; each prints how often it did.
pub fn exec(time: Duration) -> Result<()> {
    let until = monotonic_ns() + u64::try_from(time.as_nanos())?;
    ensure!(unsafe { libc::fork() } >= 0, "no process can be made");
    again(until, 0)
}

/// See [`AGAIN`]; `count` times it was executed before.
pub fn again(until: u64, count: u64) -> Result<()> {
    if monotonic_ns() < until {
        let args = [AGAIN.to_owned(), until.to_string(), (count + 1).to_string()];
        let why = std::process::Command::new("/proc/self/exe")
            .args(args)
            .exec();
        return Err(why.into());
    }
    println!("{count}");
    while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
    Ok(())
}

/// CLOCK_MONOTONIC, ns.
fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Short processes until the time is over; prints how many.
pub fn churn(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let (mut made, mut live) = (0u64, 0);
    while Instant::now() < end {
        match unsafe { libc::fork() } {
            0 => short(made),
            child if child < 0 => std::thread::sleep(Duration::from_millis(10)),
            _ => (made, live) = (made + 1, live + 1),
        }
        while live >= AT_ONCE {
            live -= usize::from(unsafe { libc::wait(std::ptr::null_mut()) } > 0);
        }
    }
    while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
    println!("{made}");
    Ok(())
}

/// A few resources of each sort; of two processes one gives them back.
fn short(number: u64) -> ! {
    unsafe {
        let mut fds = [-1; 6];
        fds[0] = libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY);
        fds[1] = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        fds[2] = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0);
        fds[3] = libc::eventfd(0, 0);
        libc::pipe(fds.as_mut_ptr().add(4));
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let at = libc::mmap(std::ptr::null_mut(), 1 << 16, libc::PROT_READ, flags, -1, 0);
        if number.is_multiple_of(2) {
            libc::munmap(at, 1 << 16);
            for fd in fds {
                libc::close(fd);
            }
        }
        if number.is_multiple_of(8) {
            libc::execl(
                c"/bin/true".as_ptr(),
                c"true".as_ptr(),
                std::ptr::null::<i8>(),
            );
        }
        libc::_exit(0)
    }
}

/// Shared and private in turns, so that the kernel does not make one of neighbours.
pub fn mappings(count: u64) -> Result<()> {
    for number in 0..count {
        let kind = match number.is_multiple_of(2) {
            true => libc::MAP_SHARED,
            false => libc::MAP_PRIVATE,
        };
        let flags = kind | libc::MAP_ANONYMOUS;
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, flags, -1, 0) };
        ensure!(at != libc::MAP_FAILED, "no more than {number} mappings");
    }
    println!("{count}");
    stop_for_a_look();
    Ok(())
}

/// Threads that wait, and are there when the process ends.
pub fn threads(count: u64) -> Result<()> {
    for number in 0..count {
        let thread = std::thread::Builder::new().stack_size(16 << 10);
        let made = thread.spawn(|| std::thread::sleep(Duration::from_secs(3600)));
        ensure!(made.is_ok(), "no more than {number} threads");
    }
    println!("{count}");
    stop_for_a_look();
    Ok(())
}

/// Processes that live at the same time and end when the last is there.
pub fn tree(count: u64) -> Result<()> {
    let (gate, held) = std::io::pipe()?;
    for number in 0..count {
        match unsafe { libc::fork() } {
            0 => unsafe {
                libc::close(std::os::fd::AsRawFd::as_raw_fd(&held));
                let mut byte = 0u8;
                let fd = std::os::fd::AsRawFd::as_raw_fd(&gate);
                libc::read(fd, (&raw mut byte).cast(), 1);
                libc::_exit(0)
            },
            child => ensure!(child > 0, "no more than {number} processes"),
        }
    }
    println!("{count}");
    drop(held);
    while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
    Ok(())
}

/// With LOOK set the process stops until it is let go on: so that somebody may look at who
/// watches.
fn stop_for_a_look() {
    if std::env::var_os("LOOK").is_some() {
        unsafe { libc::raise(libc::SIGSTOP) };
    }
}
