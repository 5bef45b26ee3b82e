//! Scenarios run side by side, except for those that measure time or look at the whole system.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::new(());

/// While this lives no other scenario's run does.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>);

/// Waits until no run is under way and keeps it so.
#[must_use]
pub fn alone() -> Alone {
    // A panicked scenario leaves nothing half-done behind this lock.
    Alone(TURN.write().unwrap_or_else(PoisonError::into_inner))
}

pub(crate) fn among_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}
