//! Whether the clock of the day has been set meanwhile: births that it tells then mean nothing, and
//! that it shows the right time again does not say that it always has.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

/// A timer that never ends: it is there to be cancelled (TFD_TIMER_CANCEL_ON_SET of
/// timerfd_create(2)).
struct Watch {
    timer: OwnedFd,
    was_set: AtomicBool,
}

/// One for the whole process: the clock is the machine's.
static WATCH: OnceLock<io::Result<Watch>> = OnceLock::new();

/// Far away, seconds since the epoch.
const NEVER: i64 = 1 << 40;

/// Looks from now on. Where the kernel gives no such timer the clock counts as one that is not set.
pub(super) fn watch() {
    WATCH.get_or_init(Watch::new);
}

/// Whether it was set since [`watch`], however little, and whether or not it was set back.
pub(super) fn was_set() -> bool {
    WATCH
        .get()
        .and_then(|watch| watch.as_ref().ok())
        .is_some_and(Watch::look)
}

impl Watch {
    fn new() -> io::Result<Watch> {
        let timer = timerfd_create(
            TimerfdClockId::Realtime,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let zero = Timespec::default();
        let never = Itimerspec {
            it_interval: zero,
            it_value: Timespec {
                tv_sec: NEVER,
                ..zero
            },
        };
        timerfd_settime(
            &timer,
            TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            &never,
        )?;
        Ok(Watch {
            timer,
            was_set: AtomicBool::new(false),
        })
    }

    /// The kernel says it to one read only.
    fn look(&self) -> bool {
        let mut count = [0; 8];
        if rustix::io::read(&self.timer, &mut count) == Err(Errno::CANCELED) {
            self.was_set.store(true, Ordering::Relaxed);
        }
        self.was_set.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // That it is seen when it is set is tried in guests: here it is everybody's clock.
    #[test]
    fn the_kernel_gives_such_a_timer() {
        let watch = Watch::new().map(|watch| watch.look());
        assert!(watch.is_ok(), "{watch:?}");
    }
}
