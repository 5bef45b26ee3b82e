//! Does the kernel come to the functions that programs are at?
//!
//! A compiler may put a function into those who call it and keep it for others all the same: then a
//! program attaches there and never runs (seen on arm64, 7.2: `__traceiter_io_uring_complete`), and
//! what is not seen looks like what does not happen. So leaktrace goes each way once itself, and
//! where no program has run at the end of it the tracepoint is taken, which can be skipped, as is then
//! declared.
//!
//! Not tried are exec, which would take another program, and the end of an address space, which is
//! only timed. Where leaktrace may have no ring (`kernel.io_uring_disabled`, seccomp) the functions of
//! rings count as called.

use std::{
    io,
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aya::{Ebpf, maps::Map};
use io_uring::{IoUring, opcode::Nop};

use super::{
    health::{Outcome, Way},
    mapped::Mapped,
    maps::Shape,
    probe::{Probe, Trial},
};

/// What the programs tell by.
pub(super) const MAP: &str = "CALLED";

/// Between two looks.
const LOOK: Duration = Duration::from_millis(1);

/// A ring goes when every CPU has been somewhere else (`io_ring_exit_work` in io_uring/io_uring.c):
/// some 20 ms. So long is waited only where something is never called.
const LIMIT: Duration = Duration::from_secs(3);

/// A trial under way.
pub(super) struct Under {
    tried: Vec<(&'static str, u32)>,
    began: Instant,
}

/// Goes the ways of all programs at functions.
///
/// # Errors
/// No thread can be started.
pub(super) fn begin(outcomes: &[(Probe, Outcome)]) -> io::Result<Under> {
    let began = Instant::now();
    if places(outcomes, true).is_empty() {
        let tried = Vec::new();
        return Ok(Under { tried, began });
    }
    let has_ring = thread::Builder::new()
        .name("leaktrace-self-test".to_owned())
        .spawn(|| ring().is_ok())?
        .join()
        .unwrap_or(false);
    let tried = places(outcomes, has_ring);
    Ok(Under { tried, began })
}

/// All that are tried.
pub(super) fn all(outcomes: &[(Probe, Outcome)]) -> Vec<&'static str> {
    let tried = places(outcomes, true).into_iter();
    tried.map(|(program, _)| program).collect()
}

impl Under {
    /// The programs that were never run, once the others have been.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(super) fn uncalled(mut self, ebpf: &Ebpf) -> anyhow::Result<Vec<&'static str>> {
        if !self.tried.is_empty() {
            let Some(Map::Array(map)) = ebpf.map(MAP) else {
                anyhow::bail!("find map `{MAP}` in the object");
            };
            let called =
                Mapped::of(map.fd().as_fd(), Shape::of(map)?).context("look at who was called")?;
            self.wait(LIMIT, |place| {
                called
                    .get(place as usize)
                    .is_some_and(|word: u64| word != 0)
            });
        }
        Ok(self.tried.into_iter().map(|(program, _)| program).collect())
    }

    fn wait(&mut self, limit: Duration, called: impl Fn(u32) -> bool) {
        loop {
            self.tried.retain(|(_, place)| !called(*place));
            if self.tried.is_empty() || self.began.elapsed() > limit {
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

/// Programs at functions that a trial calls, and where it can be seen that they were.
fn places(outcomes: &[(Probe, Outcome)], has_ring: bool) -> Vec<(&'static str, u32)> {
    outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == Outcome::Attached(Way::Function))
        .filter_map(|(probe, _)| {
            let function = probe.function?;
            let (trial, place) = function.trial?;
            (trial == Trial::Thread || has_ring).then_some((function.program, place))
        })
        .collect()
}

/// A request that does nothing, and the end of its ring.
fn ring() -> io::Result<()> {
    let mut ring = IoUring::new(1)?;
    // SAFETY: the request points to nothing.
    let pushed = unsafe { ring.submission().push(&Nop::new().build()) };
    pushed.map_err(|_| io::ErrorKind::OutOfMemory)?;
    ring.submit_and_wait(1)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{super::probe::PROBES, *};

    fn attached(way: Way) -> Vec<(Probe, Outcome)> {
        PROBES
            .iter()
            .map(|probe| (*probe, Outcome::Attached(way)))
            .collect()
    }

    #[test]
    fn what_is_at_a_tracepoint_is_not_tried() {
        assert!(places(&attached(Way::Tracepoint), true).is_empty());
    }

    #[test]
    fn every_program_at_a_function_is_tried_but_for_exec_and_the_end_of_unmapping() {
        let outcomes: Vec<_> = attached(Way::Function)
            .into_iter()
            .filter(|(probe, _)| probe.function.is_some())
            .collect();
        let tried = places(&outcomes, true);
        assert_eq!(tried.len(), outcomes.len() - 2);
        let mut places: Vec<u32> = tried.iter().map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), tried.len());
    }

    #[test]
    fn without_a_ring_nothing_is_said_of_its_functions() {
        let tried = places(&attached(Way::Function), false);
        assert!(
            tried.iter().all(|(program, _)| {
                !["f_submit", "f_complete", "f_ring_end"].contains(program)
            })
        );
        assert!(tried.iter().any(|(program, _)| *program == "f_newtask"));
    }

    #[test]
    fn what_is_called_late_is_waited_for_and_what_never_is_is_told() {
        let mut under = Under {
            tried: vec![("soon", 0), ("late", 1), ("never", 2)],
            began: Instant::now(),
        };
        let looks = Cell::new(0);
        under.wait(20 * LOOK, |place| {
            looks.set(looks.get() + 1);
            place == 0 || place == 1 && looks.get() > 5
        });
        assert_eq!(under.tried, [("never", 2)]);
    }
}
