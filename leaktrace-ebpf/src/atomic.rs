//! Shared counters.
//!
//! `core` gives the BPF target no read-modify-write atomics because not every BPF machine has
//! them; those leaktrace loads on (5.12 and later, cpu v3) do, so the intrinsic is used here
//! and nowhere else.
//!
//! Before 5.12 there is only an addition without a result, which is what the reduced object has.

#[cfg(not(feature = "reduced"))]
use core::intrinsics::{atomic_or, atomic_xchg};
use core::{
    cell::UnsafeCell,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

/// A counter in a global.
#[repr(transparent)]
pub struct Counter(UnsafeCell<u64>);

// SAFETY: changed by atomic addition only.
unsafe impl Sync for Counter {}

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Counter(UnsafeCell::new(0))
    }

    /// Counts one.
    #[inline(always)]
    pub fn count(&self) {
        // SAFETY: the cell is valid.
        unsafe { add(self.0.get(), 1) };
    }

    /// The next value.
    #[cfg(not(feature = "reduced"))]
    #[inline(always)]
    pub fn next(&self) -> u64 {
        // SAFETY: the cell is valid.
        unsafe { next(self.0.get()) }
    }

    /// Replaces the value; for one that is the same whoever sets it.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        // SAFETY: the cell is valid; aligned eight-byte stores are whole.
        unsafe { core::ptr::write_volatile(self.0.get(), value) }
    }

    /// The value now.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        // SAFETY: the cell is valid; aligned eight-byte loads are whole.
        unsafe { core::ptr::read_volatile(self.0.get()) }
    }
}

/// Adds.
///
/// # Safety
/// `place` must be valid and changed by the functions of this module only.
#[inline(always)]
pub unsafe fn add(place: *mut u64, amount: u64) {
    // SAFETY: by contract.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(place, amount) };
}

/// Sets bits.
///
/// # Safety
/// As for [`add`].
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub unsafe fn set_bits(place: *mut u64, bits: u64) {
    // SAFETY: by contract.
    unsafe { atomic_or::<u64, u64, { AtomicOrdering::SeqCst }>(place, bits) };
}

/// Puts zero and returns what was there.
///
/// # Safety
/// As for [`add`].
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub unsafe fn take(place: *mut u64) -> u64 {
    // SAFETY: by contract.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(place, 0) }
}

/// Adds one and returns what is there after.
///
/// # Safety
/// As for [`add`].
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub unsafe fn next(place: *mut u64) -> u64 {
    // Sequentially consistent: LLVM makes a relaxed addition an instruction without a result
    // (BPF_XADD), even where the result is used; that gives back the amount.
    // SAFETY: by contract.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(place, 1) + 1 }
}

/// Adds one and returns what is there then: of two that do so at once, both may be given the number
/// of the later, never one that was there before.
///
/// # Safety
/// As for [`add`].
#[cfg(feature = "reduced")]
#[inline(always)]
pub unsafe fn next(place: *mut u64) -> u64 {
    // SAFETY: by contract; aligned eight-byte loads are whole.
    unsafe {
        add(place, 1);
        core::ptr::read_volatile(place)
    }
}
