//! Processes, signals, time, the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{Made, done};

static TERMINATED: AtomicBool = AtomicBool::new(false);

pub fn step(verb: &str, args: &[&str], made: &mut Made) -> Result<bool> {
    match (verb, args) {
        // A child that does the comma-separated steps, then exits 0.
        ("fork", [name, ..]) => fork(made, name, &args[1..].join(" "))?,
        ("wait", [name]) => {
            let pid = made.children.remove(*name).context("no such child")?;
            // SAFETY: a null status is allowed.
            done(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) })?;
        }
        // As `wait`, but that long after the child has become a zombie.
        ("wait-late", [name, ms]) => {
            let pid = made.children.remove(*name).context("no such child")?;
            wait_late(pid, Duration::from_millis(ms.parse()?))?;
        }
        ("kill", [name, signal]) => {
            let pid = *made.children.get(*name).context("no such child")?;
            // SAFETY: no memory is passed.
            done(unsafe { libc::kill(pid, signal.parse()?) })?;
        }
        // Marks a scope, in whatever name follows: `mark begin/tests/a.rs::one`.
        ("mark", [what]) => {
            let error = std::fs::File::open(format!("/.leaktrace/{what}")).err();
            let kind = error.context("a mark is there")?.kind();
            if kind != std::io::ErrorKind::NotFound {
                bail!("mark: {kind}");
            }
        }
        ("sleep", [ms]) => std::thread::sleep(Duration::from_millis(ms.parse()?)),
        ("thread-sleep", [ms]) => {
            let pause = Duration::from_millis(ms.parse()?);
            drop(std::thread::spawn(move || std::thread::sleep(pause)));
        }
        ("thread-join", [ms]) => {
            let pause = Duration::from_millis(ms.parse()?);
            let thread = std::thread::spawn(move || std::thread::sleep(pause));
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        }
        ("timer", [name]) => {
            let mut timer: libc::timer_t = std::ptr::null_mut();
            // SAFETY: all-zero bytes are a valid sigevent; a timer_t to write to.
            unsafe {
                let mut event: libc::sigevent = std::mem::zeroed();
                event.sigev_notify = libc::SIGEV_NONE;
                let clock = libc::CLOCK_MONOTONIC;
                done(libc::timer_create(clock, &raw mut event, &raw mut timer))?;
            }
            made.timers.insert((*name).to_owned(), timer as usize);
        }
        ("timer-delete", [name]) => {
            let timer = made.timers.remove(*name).context("no such timer")?;
            // SAFETY: a timer made by a step.
            done(unsafe { libc::timer_delete(timer as libc::timer_t) })?;
        }
        ("alarm", [seconds]) => {
            // SAFETY: no memory is passed.
            unsafe { libc::alarm(seconds.parse()?) };
        }
        ("block", [signal]) => mask(libc::SIG_BLOCK, signal.parse()?)?,
        // Ignored, so that it goes when it is let in.
        ("unblock", [signal]) => {
            // SAFETY: no memory is passed.
            unsafe { libc::signal(signal.parse()?, libc::SIG_IGN) };
            mask(libc::SIG_UNBLOCK, signal.parse()?)?;
        }
        ("ignore-term", []) => {
            // SAFETY: no memory is passed.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        }
        ("sigwait-term", []) => sigwait_term()?,
        ("handle-term", []) => handle_term()?,
        ("await-handler", []) => {
            while !TERMINATED.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        ("ready", [path]) => {
            // More than the number: a file with nothing else is a pid file, and left behind.
            std::fs::write(path, format!("{} is ready", std::process::id()))?;
        }
        // Opens PATH every so many ms, so many times, on a schedule that does not drift.
        ("drip", [path, ms, count]) => {
            let (pause, start) = (Duration::from_millis(ms.parse()?), Instant::now());
            for n in 0..count.parse()? {
                crate::fd::step("open", &[&format!("drip{n}"), path], made)?;
                std::thread::sleep(
                    (start + pause * (n + 1)).saturating_duration_since(Instant::now()),
                );
            }
        }
        ("await", [path]) => {
            while !std::path::Path::new(path).exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        ("raise", [signal]) => {
            // SAFETY: no memory is passed.
            done(unsafe { libc::raise(signal.parse()?) })?;
        }
        // SAFETY: never returns; nothing of ours needs to run after it.
        ("exit", [code]) => unsafe { libc::_exit(code.parse()?) },
        _ => return Ok(false),
    }
    Ok(true)
}

fn fork(made: &mut Made, name: &str, steps: &str) -> Result<()> {
    // SAFETY: this program has one thread when a step forks.
    let pid = done(unsafe { libc::fork() })?;
    if pid > 0 {
        made.children.insert(name.to_owned(), pid);
        return Ok(());
    }
    for step in steps.split(',') {
        if let Err(error) = crate::perform(step.trim(), made) {
            bail!("child `{name}`: {error:#}");
        }
    }
    // SAFETY: as above; the parent's steps must not go on in the child.
    unsafe { libc::_exit(0) }
}

/// Blocks until SIGTERM comes, and takes it without a handler.
fn sigwait_term() -> Result<()> {
    // SAFETY: a set initialised by sigemptyset, and an int to write to.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        done(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        let mut signal = 0;
        done(libc::sigwait(&raw const set, &raw mut signal))?;
    }
    Ok(())
}

fn mask(how: i32, signal: i32) -> Result<()> {
    // SAFETY: a set initialised by sigemptyset.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        done(libc::sigprocmask(how, &raw const set, std::ptr::null_mut()))?;
    }
    Ok(())
}

fn handle_term() -> Result<()> {
    extern "C" fn note(_: i32) {
        TERMINATED.store(true, Ordering::SeqCst);
    }
    let handler: extern "C" fn(i32) = note;
    // SAFETY: the handler only stores to an atomic.
    let before = unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
    done(if before == libc::SIG_ERR { -1 } else { 0 })?;
    Ok(())
}

fn wait_late(pid: i32, late: Duration) -> Result<()> {
    // SAFETY: all-zero bytes are a valid siginfo_t, and the calls write to it or to nothing.
    unsafe {
        let mut ended: libc::siginfo_t = std::mem::zeroed();
        let how = libc::WEXITED | libc::WNOWAIT;
        done(libc::waitid(
            libc::P_PID,
            pid.cast_unsigned(),
            &raw mut ended,
            how,
        ))?;
        std::thread::sleep(late);
        done(libc::waitpid(pid, std::ptr::null_mut(), 0))?;
    }
    Ok(())
}
