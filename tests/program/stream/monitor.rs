//! The background monitor: ticks by a timer of the kernel until its event tells it to stop.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::Arc;

use anyhow::Result;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

/// A monitor at work.
#[derive(Debug)]
pub struct Monitor {
    stop: Arc<AsyncFd<OwnedFd>>,
    task: JoinHandle<u64>,
}

impl Monitor {
    /// Starts one that ticks every 20 ms.
    pub fn start() -> Result<Self> {
        let stop = Arc::new(registered(event()?)?);
        let timer = registered(timer()?)?;
        let task = tokio::spawn(watch(timer, Arc::clone(&stop)));
        Ok(Self { stop, task })
    }

    /// Ends it and waits until it has ended.
    pub async fn stop(self) -> Result<u64> {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes that live as long as the call.
        let written = unsafe { libc::write(self.stop.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        owned_errno(i32::try_from(written)?)?;
        Ok(self.task.await?)
    }

    /// Lets it run on, with nobody who could stop it.
    pub fn detach(self) {
        std::mem::forget(self.stop);
        drop(self.task);
    }
}

fn registered(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    // SAFETY: the owned fd stays open, and is the same one, as long as it is registered.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

async fn watch(timer: AsyncFd<OwnedFd>, stop: Arc<AsyncFd<OwnedFd>>) -> u64 {
    let mut ticks = 0;
    loop {
        tokio::select! {
            _ = stop.readable() => return ticks,
            ready = timer.readable() => match ready {
                Ok(mut ready) => {
                    ticks += expirations(ready.get_inner());
                    ready.clear_ready();
                }
                Err(_) => return ticks,
            }
        }
    }
}

fn expirations(timer: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    // SAFETY: eight bytes that live as long as the call.
    let read = unsafe { libc::read(timer.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    if read == 8 {
        u64::from_ne_bytes(count)
    } else {
        0
    }
}

fn event() -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    owned(fd)
}

fn timer() -> Result<OwnedFd> {
    let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
    // SAFETY: no memory is passed.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
    let tick = libc::timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    let setting = libc::itimerspec {
        it_interval: tick,
        it_value: tick,
    };
    // SAFETY: a setting that lives as long as the call; the old one is not asked for.
    let set = unsafe {
        libc::timerfd_settime(
            timer.as_raw_fd(),
            0,
            &raw const setting,
            std::ptr::null_mut(),
        )
    };
    owned_errno(set)?;
    Ok(timer)
}

fn owned(fd: i32) -> Result<OwnedFd> {
    owned_errno(fd)?;
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn owned_errno(result: i32) -> Result<()> {
    if result < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}
