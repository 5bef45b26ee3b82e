//! Address space mappings.

use leaktrace_common::record::{
    Family, kind,
    mapping::{Map, Remap, Unmap},
};

use super::{Arguments, file::errno};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{Address, Task, device, file_at, offset, read},
    tree::{self, Slot},
};

/// MAP_ANONYMOUS (include/uapi/asm-generic/mman-common.h).
const MAP_ANONYMOUS: u64 = 0x20;

/// Pages of an address space that calls map, and of the program's image, which stays as it is: all
/// but the stack's and those of brk(2). The heap ends in the page before `brk` (mm/mmap.c).
#[inline(always)]
pub fn rest(mm: u64) -> u64 {
    let total: u64 = read(mm, offset!(mm_total_vm));
    let stack: u64 = read(mm, offset!(mm_stack_vm));
    let brk: u64 = read(mm, offset!(mm_brk));
    total
        .wrapping_sub(stack)
        .wrapping_sub(brk.wrapping_add(4095) >> 12)
}

/// mmap returned an address.
#[inline(always)]
pub fn map(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    const SIZE: usize = HEADER + size_of::<Map>();
    if (-4095..0).contains(&result) {
        return;
    }
    let record = emit::reserve::<SIZE>(Family::Mapping);
    if record.is_null() {
        return;
    }
    let flags = arguments.a3();
    let (mut dev, mut ino, mut fd) = (0, 0, -1);
    if flags & MAP_ANONYMOUS == 0 {
        fd = arguments.a4() as i32;
        let table = Address(tree::current()).table();
        let file = file_at(&table, u64::from(fd as u32));
        let inode: u64 = read(file, offset!(file_inode));
        ino = read(inode, offset!(inode_ino));
        dev = device(read(inode, offset!(inode_sb))).0;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Map>();
        (*payload).mm = tree::current_mm();
        (*payload).address = result as u64;
        (*payload).bytes = arguments.a1();
        (*payload).prot = arguments.a2() as u32;
        (*payload).flags = flags as u32;
        (*payload).fd = fd;
        (*payload).dev = dev;
        (*payload).ino = ino;
        emit::finish(record, kind::MAP, SIZE, slot, Position::default());
    }
}

/// munmap returned.
#[inline(always)]
pub fn unmap(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    const SIZE: usize = HEADER + size_of::<Unmap>();
    let record = emit::reserve::<SIZE>(Family::Mapping);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Unmap>();
        (*payload).mm = tree::current_mm();
        (*payload).address = arguments.a0();
        (*payload).bytes = arguments.a1();
        (*payload).begin_ns = slot.begin_ns;
        (*payload).errno = errno(result);
        (*payload).reserved = 0;
        emit::finish(record, kind::UNMAP, SIZE, slot, Position::default());
    }
}

/// mremap returned.
#[inline(always)]
pub fn remap(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    const SIZE: usize = HEADER + size_of::<Remap>();
    let record = emit::reserve::<SIZE>(Family::Mapping);
    if record.is_null() {
        return;
    }
    let failed = (-4095..0).contains(&result);
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<Remap>();
        (*payload).mm = tree::current_mm();
        (*payload).old_address = arguments.a0();
        (*payload).old_bytes = arguments.a1();
        (*payload).new_address = if failed { 0 } else { result as u64 };
        (*payload).new_bytes = arguments.a2();
        (*payload).begin_ns = slot.begin_ns;
        (*payload).flags = arguments.a3() as u32;
        (*payload).errno = if failed { errno(result) } else { 0 };
        emit::finish(record, kind::REMAP, SIZE, slot, Position::default());
    }
}
