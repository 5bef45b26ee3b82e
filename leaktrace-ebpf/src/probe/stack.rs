//! Stacks of calls that acquire something, and where code is mapped.
//!
//! Everything here is behind `Config::stacks`: the verifier prunes it where nobody asked. It is
//! done once per call, before what the call did is told; those records say by a flag that they
//! belong to it. The kernel's walk by frame pointers leaves out the caller of a function without
//! one, which the system calls of the C library are, so a piece of the stack comes along.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::BPF_F_USER_STACK,
    helpers::generated::{bpf_get_stack, bpf_probe_read_user},
};
use leaktrace_common::{
    abi::{Op, fault},
    record::{
        Family, TextRef, header_flag, kind,
        stack::{CHAIN, Image, Stack, WORDS},
    },
};

use super::{Arguments, call};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{load, offset, read},
    maps::count_fault,
    tree::{self, Slot},
};

/// Bits of mmap(2) (include/uapi/asm-generic/mman-common.h).
const PROT_EXEC: u64 = 4;
const MAP_SHARED: u64 = 1;
const MAP_ANONYMOUS: u64 = 0x20;

/// A call has returned: its stack, if it has made something or there was no room for it.
#[inline(never)]
pub fn of_call(context: *mut c_void, regs: u64, slot: &mut Slot, op: Op, result: i64) {
    let failed = (-4095..0).contains(&result);
    if !op.acquires() || failed && !call::no_room(result) {
        return;
    }
    if op == Op::MMAP && !failed {
        let arguments = Arguments(regs);
        let flags = arguments.a3();
        if arguments.a2() & PROT_EXEC != 0 && flags & MAP_ANONYMOUS == 0 {
            image(slot, arguments, result);
        }
        // Private memory comes and goes all the time.
        if flags & MAP_SHARED == 0 {
            return;
        }
    }
    stack(context, regs, slot);
}

/// A task is being made: the stack of the call that makes it, which has not returned.
#[inline(never)]
pub fn of_birth(context: *mut c_void, slot: &mut Slot) {
    stack(context, Arguments::current().0, slot);
}

/// What comes now is not of that call.
#[inline(always)]
pub fn over(slot: &mut Slot) {
    slot.flags &= !u32::from(header_flag::STACK);
}

#[inline(always)]
fn stack(context: *mut c_void, regs: u64, slot: &mut Slot) {
    const SIZE: usize = HEADER + size_of::<Stack>();
    // Without room there is no stack; what the call did is told all the same.
    let record = emit::reserve_if_room::<SIZE>(Family::Task);
    if record.is_null() {
        count_fault(fault::STACK_LEFT_OUT);
        return;
    }
    let mm = tree::current_mm();
    // SAFETY: the record has room for both; pt_regs from the tracepoint.
    unsafe {
        let payload = record.add(HEADER).cast::<Stack>();
        (*payload).mm = mm;
        (*payload).start_code = read(mm, offset!(mm_start_code));
        (*payload).end_code = read(mm, offset!(mm_end_code));
        (*payload).ip = load(regs, offset!(pt_regs_ip));
        let sp: u64 = load(regs, offset!(pt_regs_sp));
        (*payload).sp = sp;
        (*payload).fp = load(regs, offset!(pt_regs_fp));
        (*payload).lr = load(regs, offset!(pt_regs_lr));
        let chain = (&raw mut (*payload).chain).cast::<c_void>();
        let bytes = bpf_get_stack(
            context,
            chain,
            (CHAIN * 8) as u32,
            u64::from(BPF_F_USER_STACK),
        );
        (*payload).chain_len = if bytes > 0 { bytes as u32 / 8 } else { 0 };
        let words = (&raw mut (*payload).words).cast::<c_void>();
        // Near its top there is less.
        let mut found = WORDS as u32;
        if bpf_probe_read_user(words, (WORDS * 8) as u32, sp as *const _) != 0 {
            found = WORDS as u32 / 4;
            if bpf_probe_read_user(words, (WORDS * 2) as u32, sp as *const _) != 0 {
                found = 0;
            }
        }
        (*payload).words_len = found;
        emit::finish(record, kind::STACK, SIZE, slot, Position::default());
    }
    slot.flags |= u32::from(header_flag::STACK);
}

/// Code of a file was mapped.
#[inline(always)]
fn image(slot: &Slot, arguments: Arguments, address: i64) {
    const SIZE: usize = HEADER + size_of::<Image>();
    let record = emit::reserve_if_room::<SIZE>(Family::Task);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Image>();
        (*payload).mm = tree::current_mm();
        (*payload).address = address as u64;
        (*payload).bytes = arguments.a1();
        (*payload).offset = arguments.a5();
        (*payload).fd = arguments.a4() as i32;
        (*payload).area = 0;
        (*payload).reserved = 0;
        (*payload).text = TextRef {
            len: 0,
            kind: 0,
            flags: 0,
        };
        (*payload).reserved2 = 0;
        emit::finish(record, kind::IMAGE, SIZE, slot, Position::default());
    }
}
