//! Names in file systems.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::{
    abi::Op,
    record::{Family, TextRef, kind, name::Name, text_flag},
};

use super::{Arguments, path};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{Address, Task, file_at, file_facts},
    once,
    tree::{self, Paths, Slot},
};

/// AT_FDCWD (include/uapi/linux/fcntl.h).
const AT_FDCWD: i32 = -100;

const FIXED: usize = HEADER + size_of::<Name>();

/// Text areas by size class.
const SMALL: usize = 512;
const LARGE: usize = 4096;

/// The path is not relative to anything: the target of a symlink.
const NOWHERE: i32 = i32::MIN;

#[inline(always)]
fn paths(op: Op, arguments: Arguments) -> Paths {
    let (a0, a1) = (arguments.a0(), arguments.a1());
    let (a2, a3) = (arguments.a2(), arguments.a3());
    let one = |dirfd, first, flags| Paths {
        first,
        second: 0,
        first_dirfd: dirfd,
        second_dirfd: NOWHERE,
        flags,
        op: u32::from(op.0),
    };
    let two = |dirfd, first, other, second, flags| Paths {
        first,
        second,
        first_dirfd: dirfd,
        second_dirfd: other,
        flags,
        op: u32::from(op.0),
    };
    let here = AT_FDCWD;
    match op {
        Op::UNLINK | Op::RMDIR => one(here, a0, 0),
        Op::MKDIR | Op::MKNOD => one(here, a0, a1 as u32),
        Op::UNLINKAT | Op::MKDIRAT | Op::MKNODAT => one(a0 as i32, a1, a2 as u32),
        Op::RENAME | Op::LINK => two(here, a0, here, a1, 0),
        // symlink(target, new): the new name is the first path of the record.
        Op::SYMLINK => two(here, a1, NOWHERE, a0, 0),
        Op::SYMLINKAT => two(a1 as i32, a2, NOWHERE, a0, 0),
        Op::UMOUNT2 => one(here, a0, a1 as u32),
        Op::MOVE_MOUNT => two(a2 as i32, a3, a0 as i32, a1, arguments.a4() as u32),
        Op::RENAMEAT => two(a0 as i32, a1, a2 as i32, a3, 0),
        // renameat2, linkat
        _ => two(a0 as i32, a1, a2 as i32, a3, arguments.a4() as u32),
    }
}

/// A call that changes names returned. Failed ones are of no interest: nothing changed.
#[inline(always)]
pub fn changed(slot: &mut Slot, op: Op, result: i64) {
    let arguments = Arguments::current();
    if result < 0 {
        return;
    }
    slot.room.paths = paths(op, arguments);
    once::name::told(slot);
}

/// MS_REMOUNT and the changes of propagation: nothing is mounted by them. MS_BIND, MS_MOVE: there
/// is a source (include/uapi/linux/mount.h).
const MS_NO_MOUNT: u32 = 0x20 | 0x2_0000 | 0x4_0000 | 0x8_0000 | 0x10_0000;
const MS_SOURCE: u32 = 0x1000 | 0x2000;

/// mount(2) returned: source, target, type, flags.
#[inline(always)]
pub fn mounted(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    let flags = arguments.a3() as u32;
    if result < 0 || flags & MS_NO_MOUNT != 0 {
        return;
    }
    let source = flags & MS_SOURCE != 0;
    slot.room.paths = Paths {
        first: arguments.a1(),
        second: if source {
            arguments.a0()
        } else {
            arguments.a2()
        },
        first_dirfd: AT_FDCWD,
        second_dirfd: if source { AT_FDCWD } else { NOWHERE },
        flags,
        op: u32::from(Op::MOUNT.0),
    };
    once::name::told(slot);
}

/// BPF_OBJ_PIN, and BPF_F_PATH_FD in its flags (include/uapi/linux/bpf.h).
pub const BPF_OBJ_PIN: u64 = 6;
const BPF_F_PATH_FD: u32 = 1 << 14;

/// The attributes of BPF_OBJ_PIN.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pin {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
    path_fd: i32,
    pad: u32,
}

/// bpf(2) returned. Only pins make a name.
#[inline(always)]
pub fn pinned(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    if result != 0 {
        return;
    }
    let mut pin = Pin {
        pathname: 0,
        bpf_fd: 0,
        file_flags: 0,
        path_fd: 0,
        pad: 0,
    };
    // The size that was passed may be that of an older kernel: what lies behind is not looked at
    // unless the flag says so.
    // SAFETY: the destination is as large as is read; the padding is read as what follows.
    let pin = unsafe {
        bpf_probe_read_user((&raw mut pin).cast(), 20, arguments.a1() as *const _);
        core::ptr::read_volatile(&raw const pin)
    };
    let by_fd = pin.file_flags & BPF_F_PATH_FD != 0;
    slot.room.paths = Paths {
        first: pin.pathname,
        second: 0,
        first_dirfd: if by_fd { pin.path_fd } else { AT_FDCWD },
        second_dirfd: NOWHERE,
        flags: 0,
        op: u32::from(Op::BPF.0),
    };
    once::name::told(slot);
}

#[inline(always)]
pub fn told(slot: &mut Slot) {
    let record = emit::reserve_vital::<{ FIXED + 4 * SMALL }>(Family::Name);
    // SAFETY: the record has room for header, payload and four areas.
    if record.is_null() || unsafe { write::<SMALL, false>(record, slot) } {
        return;
    }
    let record = emit::reserve_vital_again::<{ FIXED + 4 * LARGE }>(Family::Name);
    if !record.is_null() {
        // SAFETY: the record has room for header, payload and four areas.
        unsafe { write::<LARGE, true>(record, slot) };
    }
}

/// Fills and emits; false if a text did not fit: then nothing was emitted, unless this is the
/// last class, where texts are cut.
///
/// # Safety
/// `record` must have room for header, payload and four areas.
#[inline(always)]
unsafe fn write<const AREA: usize, const LAST: bool>(record: *mut u8, slot: &mut Slot) -> bool {
    let paths: *const Paths = &raw const slot.room.paths;
    let mut used = FIXED;
    // SAFETY: by contract.
    unsafe {
        let payload = record.add(HEADER).cast::<Name>();
        let text = (&raw mut (*payload).text).cast::<TextRef>();
        let mut flags = 0;
        let name = (*paths).first;
        base::<AREA>((*paths).first_dirfd, name, record.add(FIXED), text);
        path::user::<AREA>(name, record.add(FIXED + AREA), text.add(1));
        flags |= path::flags(text) | path::flags(text.add(1));
        used += AREA + path::len(text.add(1));
        path::none(text.add(2));
        path::none(text.add(3));
        let name = (*paths).second;
        if name != 0 {
            let out = record.add(FIXED + 2 * AREA);
            base::<AREA>((*paths).second_dirfd, name, out, text.add(2));
            path::user::<AREA>(name, record.add(FIXED + 3 * AREA), text.add(3));
            flags |= path::flags(text.add(2)) | path::flags(text.add(3));
            used = FIXED + 3 * AREA + path::len(text.add(3));
        }
        if !LAST && flags & text_flag::TRUNCATED != 0 {
            emit::discard(record);
            return false;
        }
        let op = Op((*paths).op as u8);
        (*payload).begin_ns = if op.begins_at_entry() {
            slot.begin_ns
        } else {
            0
        };
        (*payload).errno = 0;
        (*payload).mnt_ns = path::mount_namespace(tree::current_typed());
        (*payload).flags = (*paths).flags;
        (*payload).op = op.0;
        (*payload).reserved = 0;
        (*payload).area = AREA as u16;
        emit::finish(record, kind::NAME, used, slot, Position::default());
    }
    true
}

/// The directory that a relative path starts from.
///
/// # Safety
/// `out` must be writable for `AREA` bytes, `text` be in a record.
#[inline(always)]
unsafe fn base<const AREA: usize>(dirfd: i32, name: u64, out: *mut u8, text: *mut TextRef) {
    // SAFETY: typed by the helper; the rest by contract.
    unsafe {
        if dirfd == NOWHERE || path::is_absolute(name) {
            path::none(text);
            return;
        }
        let task = tree::current();
        let (dentry, mnt) = if dirfd == AT_FDCWD {
            path::working_directory(task)
        } else {
            let table = Address(task).table();
            let facts = file_facts(file_at(&table, u64::from(dirfd as u32)));
            (facts.dentry, facts.mnt)
        };
        once::path::<AREA>(dentry, mnt, out, text);
    }
}
