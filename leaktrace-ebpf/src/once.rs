//! Functions that the verifier looks at once.
//!
//! It looks at a function again at each call, with all that is known there, so that the cost of
//! a program is that of its paths. One that is global to the kernel's eyes (BTF_FUNC_GLOBAL) is
//! looked at once, on its own, whatever its arguments are (do_check_subprogs in
//! kernel/bpf/verifier.c, since v5.6), and what it took of memory is given back before the next.
//! bpf-linker makes those global that have a name of their own to the outside; the shells here
//! have, and what they call is inlined into them.
//!
//! The price: arguments are numbers, or pointers to memory of a type's size, which may be null;
//! never pointers into the kernel (those come from `bpf_get_current_task_btf` and
//! `bpf_task_pt_regs` again), and there are five. The result is a number.
//!
//! Before 5.12 there are no pointers among the arguments at all. In the reduced object handlers look
//! the current task's slot up again, and what cannot do without a pointer is an ordinary function.

use leaktrace_common::abi::Op;

#[cfg(feature = "reduced")]
use crate::tree;
use crate::{emit, probe, tree::Slot};

#[cfg(feature = "reduced")]
mod numbers;
#[cfg(not(feature = "reduced"))]
mod pointers;

#[cfg(feature = "reduced")]
pub use numbers::*;
#[cfg(not(feature = "reduced"))]
pub use pointers::*;

/// What fits a register, there and back.
pub trait Word {
    fn word(self) -> u64;
    fn of(word: u64) -> Self;
}

macro_rules! words {
    ($($type:ty)*) => {
        $(impl Word for $type {
            #[inline(always)]
            fn word(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn of(word: u64) -> Self {
                word as $type
            }
        })*
    };
}

words!(u8 u16 u32 i32 u64 i64);

impl Word for Op {
    #[inline(always)]
    fn word(self) -> u64 {
        u64::from(self.0)
    }
    #[inline(always)]
    fn of(word: u64) -> Self {
        Op(word as u8)
    }
}

impl Word for () {
    #[inline(always)]
    fn word(self) -> u64 {
        0
    }
    #[inline(always)]
    fn of(_: u64) {}
}

/// Shells of handlers, which work on the current task's slot.
macro_rules! once {
    ($($module:ident {
        $(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*
    })*) => {
        $(pub mod $module {
            #[allow(clippy::wildcard_imports, unused_imports)]
            use super::*;
            $(
                #[cfg(not(feature = "reduced"))]
                #[inline(always)]
                pub fn $name(slot: &mut Slot $(, $argument: $type)*) $(-> $result)? {
                    #[unsafe(export_name = concat!(stringify!($module), "_", stringify!($name)))]
                    #[inline(never)]
                    extern "C" fn $name(slot: *mut Slot $(, $argument: u64)*) -> u64 {
                        // SAFETY: the verifier has seen to it that this is null or a slot.
                        match unsafe { slot.as_mut() } {
                            None => 0,
                            Some(slot) => {
                                probe::$module::$name(slot $(, Word::of($argument))*).word()
                            }
                        }
                    }
                    Word::of($name(slot $(, $argument.word())*))
                }
                // Before 5.12 such a function takes numbers only: it looks the slot up again.
                #[cfg(feature = "reduced")]
                #[inline(always)]
                pub fn $name(_: &Slot $(, $argument: $type)*) $(-> $result)? {
                    #[unsafe(export_name = concat!(stringify!($module), "_", stringify!($name)))]
                    #[inline(never)]
                    extern "C" fn $name($($argument: u64),*) -> u64 {
                        match tree::noted(tree::current()) {
                            None => 0,
                            Some(slot) => {
                                probe::$module::$name(slot $(, Word::of($argument))*).word()
                            }
                        }
                    }
                    Word::of($name($($argument.word()),*))
                }
            )*
        })*
    };
}

once! {
    aio {
        fn states(table: u64, only: u64, cause: u32);
    }
    appear {
        fn begin();
        fn end(op: Op, result: i64);
        fn known(op: Op, fd: i64);
        fn supervised();
        fn added(result: i64);
    }
    call {
        fn refused(op: Op, result: i64);
        fn waited(op: Op, result: i64);
        fn plain(op: Op, result: i64);
    }
    exit {
        fn pending();
    }
    file {
        fn closed_late(fd: u32);
        fn plain(op: Op, result: i64, source: u64);
        fn open(op: Op, name: u64, how: u64, result: i64);
        fn dup_over(op: Op, old: u64, result: i64);
        fn lock(fd: u64, what: u16, owner: u8, result: i64);
        fn close_range(result: i64);
    }
    ipc {
        fn begin(op: Op);
        fn get(op: Op, result: i64);
        fn control(op: Op, result: i64);
        fn attach(id: u64, result: i64);
        fn detach(address: u64, result: i64);
        fn mq_open(result: i64);
        fn mq_unlink(name: u64, result: i64);
    }
    mapping {
        fn map(result: i64);
        fn unmap(result: i64);
        fn remap(result: i64);
    }
    name {
        fn changed(op: Op, result: i64);
        fn mounted(result: i64);
        fn pinned(result: i64);
        fn told();
    }
    ring {
        fn setup(params: u64, result: i64);
        fn register(result: i64);
        fn tell(op: Op, file: u64, argument: u64, value: u64);
        fn closing_file(rings: u64);
        fn state(ring: u64, file: u64);
    }
    scope {
        fn marked(name: u64);
        fn program();
        fn tell(verb: u32, name: u64);
    }
    signal {
        fn action(result: i64);
    }
    socket {
        fn acquire(op: Op, result: i64, source: u64);
        fn name(op: Op, result: i64);
    }
    task {
        fn unshared(flags: u64, result: i64);
        fn waitid(result: i64);
        fn reaped(pid: u32);
        fn taint(reason: u32, mark: u32);
    }
    uring {
        fn silent(request: u64, code: u8);
        fn told(op: Op, request: u64, result: u32);
    }
}

/// As [`emit::lost`].
#[inline(always)]
pub fn lost(family: u32, vital: u32) {
    #[unsafe(export_name = "emit_lost")]
    #[inline(never)]
    extern "C" fn lost(family: u32, vital: u32) -> u64 {
        emit::lost(family, vital);
        0
    }
    lost(family, vital);
}
