//! Names in file systems.

use leaktrace_common::{
    abi::Op,
    record::{Family, TextRef, kind, name::Name, text_kind},
};

use super::{Arguments, path};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{file_at, file_facts, table_of},
    tree::{self, Slot},
};

/// AT_FDCWD (include/uapi/linux/fcntl.h).
const AT_FDCWD: i32 = -100;

const FIXED: usize = HEADER + size_of::<Name>();

/// Text areas by size class.
const SMALL: usize = 512;
const LARGE: usize = 4096;

/// Where the paths and flags of a call are.
#[derive(Clone, Copy)]
struct Call {
    first: Option<(i32, u64)>,
    second: Option<(i32, u64)>,
    flags: u32,
}

#[inline(always)]
fn call(op: Op, arguments: Arguments) -> Call {
    let (a0, a1) = (arguments.a0(), arguments.a1());
    let (a2, a3) = (arguments.a2(), arguments.a3());
    let here = AT_FDCWD;
    match op {
        Op::UNLINK | Op::RMDIR => Call {
            first: Some((here, a0)),
            second: None,
            flags: 0,
        },
        Op::MKDIR | Op::MKNOD => Call {
            first: Some((here, a0)),
            second: None,
            flags: a1 as u32,
        },
        Op::UNLINKAT | Op::MKDIRAT | Op::MKNODAT => Call {
            first: Some((a0 as i32, a1)),
            second: None,
            flags: a2 as u32,
        },
        Op::RENAME | Op::LINK => Call {
            first: Some((here, a0)),
            second: Some((here, a1)),
            flags: 0,
        },
        // symlink(target, new): the new name is the first path of the record.
        Op::SYMLINK => Call {
            first: Some((here, a1)),
            second: Some((here, a0)),
            flags: 0,
        },
        Op::SYMLINKAT => Call {
            first: Some((a1 as i32, a2)),
            second: Some((here, a0)),
            flags: 0,
        },
        // renameat, renameat2, linkat
        _ => Call {
            first: Some((a0 as i32, a1)),
            second: Some((a2 as i32, a3)),
            flags: if op == Op::RENAMEAT {
                0
            } else {
                arguments.a4() as u32
            },
        },
    }
}

/// A call that changes names returned. Failed ones are of no interest: nothing changed.
#[inline(never)]
pub fn changed(slot: &mut Slot, op: Op, arguments: Arguments, result: i64) {
    if result < 0 {
        return;
    }
    let call = call(op, arguments);
    if !emit_with::<SMALL, false>(slot, op, &call) {
        emit_with::<LARGE, true>(slot, op, &call);
    }
}

/// Emits with areas of `AREA` bytes; false if something did not fit and nothing was emitted.
#[inline(always)]
fn emit_with<const AREA: usize, const LAST: bool>(slot: &mut Slot, op: Op, call: &Call) -> bool {
    // One path needs two areas, two need four; the large class always takes four.
    if LAST {
        let record = emit::reserve_again::<{ FIXED + 4 * LARGE }>(Family::Name);
        return record.is_null() || unsafe { write::<AREA, LAST>(record, slot, op, call) };
    }
    let record = emit::reserve::<{ FIXED + 4 * SMALL }>(Family::Name);
    // SAFETY: the record has room for header, payload and four areas.
    record.is_null() || unsafe { write::<AREA, LAST>(record, slot, op, call) }
}

/// # Safety
/// `record` must have room for header, payload and four areas.
#[inline(always)]
unsafe fn write<const AREA: usize, const LAST: bool>(
    record: *mut u8,
    slot: &mut Slot,
    op: Op,
    call: &Call,
) -> bool {
    let none = TextRef {
        len: 0,
        kind: text_kind::NONE,
        flags: 0,
    };
    let mut texts = [none; 4];
    let mut used = FIXED;
    // SAFETY: by contract.
    unsafe {
        if let Some((dirfd, name)) = call.first {
            texts[0] = base::<AREA>(dirfd, name, record.add(FIXED));
            texts[1] = path::user::<AREA>(name, record.add(FIXED + AREA));
            used = FIXED + AREA + texts[1].len as usize;
        }
        if let Some((dirfd, name)) = call.second {
            if op != Op::SYMLINK && op != Op::SYMLINKAT {
                texts[2] = base::<AREA>(dirfd, name, record.add(FIXED + 2 * AREA));
            }
            texts[3] = path::user::<AREA>(name, record.add(FIXED + 3 * AREA));
            used = FIXED + 3 * AREA + texts[3].len as usize;
        }
        let flags = texts[0].flags | texts[1].flags | texts[2].flags | texts[3].flags;
        if !LAST && flags & leaktrace_common::record::text_flag::TRUNCATED != 0 {
            emit::discard(record);
            return false;
        }
        let payload = record.add(HEADER).cast::<Name>();
        (*payload).begin_ns = if op.begins_at_entry() {
            slot.begin_ns
        } else {
            0
        };
        (*payload).errno = 0;
        (*payload).mnt_ns = path::mount_namespace(tree::current_typed());
        (*payload).flags = call.flags;
        (*payload).op = op.0;
        (*payload).reserved = 0;
        (*payload).area = AREA as u16;
        (*payload).text = texts;
        emit::finish(record, kind::NAME, used, slot, Position::default());
    }
    true
}

/// The directory that a relative path starts from.
///
/// # Safety
/// `out` must be writable for `AREA` bytes.
#[inline(always)]
unsafe fn base<const AREA: usize>(dirfd: i32, name: u64, out: *mut u8) -> TextRef {
    if path::is_absolute(name) {
        return TextRef {
            len: 0,
            kind: text_kind::NONE,
            flags: 0,
        };
    }
    let task = tree::current_typed();
    // SAFETY: typed by the helper; `out` by contract.
    unsafe {
        let (dentry, mnt) = if dirfd == AT_FDCWD {
            path::working_directory(task)
        } else {
            let table = table_of(task);
            let facts = file_facts(file_at(&table, u64::from(dirfd as u32)));
            (facts.dentry, facts.mnt)
        };
        path::walk::<AREA>(dentry, mnt, out)
    }
}
