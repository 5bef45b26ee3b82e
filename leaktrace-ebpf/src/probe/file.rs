//! fds.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::{
    abi::{self, Op},
    record::{
        Family, TextRef,
        file::{FdAcquire, FdLock, FdRange, FdRelease, acquire_flag, lock_owner},
        kind,
    },
};

use super::{Arguments, path, socket, uring};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{
        Address, Detail, FileFacts, Table, Task, credentials, file_at, file_facts, mode, offset,
        read, references, table_of,
    },
    maps, once,
    tree::{self, Slot},
};

/// FMODE_CREATED (include/linux/fs.h).
const FMODE_CREATED: u32 = 1 << 20;
/// O_TMPFILE without O_DIRECTORY (include/uapi/asm-generic/fcntl.h).
const O_TMPFILE: u32 = 0o20_000_000;
const O_CLOEXEC: u32 = 0o2_000_000;

/// include/uapi/asm-generic/errno-base.h
const ENOENT: i64 = 2;
const EIO: i64 = 5;

/// Text areas by size class: most paths fit the first.
const SMALL: usize = 128;
const MIDDLE: usize = 1024;
const LARGE: usize = 8192;

const FIXED: usize = HEADER + size_of::<FdAcquire>();

/// The table of the current task. If it is another one than the slot's, userspace is told.
#[inline(always)]
pub fn current_table(slot: &mut Slot) -> Table {
    // SAFETY: typed by the helper.
    let table = unsafe { table_of(tree::current_typed()) };
    if table.files != slot.files && table.files != 0 {
        once::table_changed(slot);
    }
    table
}

/// As [`current_table`], where a tenth of a microsecond does not count: the verifier is through
/// with it sooner.
#[inline(always)]
pub fn current_table_by_address(slot: &mut Slot) -> Table {
    let table = Address(tree::current()).table();
    if table.files != slot.files && table.files != 0 {
        once::table_changed(slot);
    }
    table
}

/// An fd is about to be released: what it stands for, and its place in the sequence. An fd
/// number that no table has takes no file.
#[inline(always)]
pub fn begin(slot: &mut Slot, fd: u64) {
    let table = current_table(slot);
    slot.before = if fd == u64::MAX {
        0
    } else {
        file_at(&table, fd & 0xffff_ffff)
    };
    // Now: at the return the memory may be somebody else's.
    slot.count = u32::from(references(slot.before));
    slot.cred = credentials(slot.before, slot.count);
    slot.seq = emit::next_seq(slot);
}

/// PRCTL_IDENTIFY: writes the identity of one of the caller's fds where userspace reads it.
#[inline(never)]
pub fn answer(nonce: u64, question: u64) {
    if nonce != maps::nonce() {
        return;
    }
    let table = Address(tree::current()).table();
    let file = file_at(&table, question & 0xffff_ffff);
    if file == 0 {
        return;
    }
    if let Some(answer) = maps::IDENTITY.get_ptr_mut(abi::answer_place(question)) {
        // SAFETY: a map value. Whoever asks reads it when the call has returned.
        unsafe {
            once::identify(&file_facts(file), Detail::Full, &raw mut (*answer).identity);
            (*answer).question = question;
        }
    }
}

/// close(2) returned.
#[inline(always)]
pub fn close(slot: &mut Slot, fd: u64, result: i64) {
    if result == 0 && slot.before == 0 {
        once::file::closed_late(slot, fd as u32);
    } else {
        release(slot, Op::CLOSE, fd as i32, result);
    }
}

/// There was nothing when the call began: it took what another thread had just put there.
#[inline(always)]
pub fn closed_late(slot: &mut Slot, fd: u32) {
    let table = current_table_by_address(slot);
    uring::gone(slot, &table, Op::CLOSE, fd, slot.begin_ns);
}

/// Emits the release that was begun.
#[inline(always)]
pub fn release(slot: &mut Slot, op: Op, fd: i32, result: i64) {
    const SIZE: usize = HEADER + size_of::<FdRelease>();
    // Nobody is ever told again that written data was lost.
    let record = if result == -EIO {
        emit::reserve_vital::<SIZE>(Family::File)
    } else {
        emit::reserve::<SIZE>(Family::File)
    };
    if record.is_null() {
        return;
    }
    let position = Position {
        seq: slot.seq,
        next_fd: 0,
    };
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<FdRelease>();
        (*payload).file = slot.before;
        (*payload).begin_ns = slot.begin_ns;
        (*payload).fd = fd;
        (*payload).errno = errno(result);
        (*payload).op = op.0;
        (*payload).reserved = 0;
        (*payload).count = slot.count as u16;
        (*payload).cred = slot.cred;
        emit::finish(record, kind::FD_RELEASE, SIZE, slot, position);
    }
}

/// Positive errno of a syscall's result, or 0.
#[inline(always)]
pub fn errno(result: i64) -> i32 {
    if result < 0 { (-result) as i32 } else { 0 }
}

/// The fd that a syscall returned, if the kernel's table has it: the table and the file. Seccomp
/// can make a call return a number that is not there.
#[inline(always)]
pub fn returned(slot: &mut Slot, result: i64) -> Option<(Table, FileFacts)> {
    let table = current_table(slot);
    if result < 0 {
        return None;
    }
    match file_at(&table, result as u64) {
        0 => None,
        file => {
            let mut facts = FileFacts::default();
            facts_of(file, &mut facts);
            Some((table, facts))
        }
    }
}

/// As [`file_facts`]. On its own: its frame is gone when what it found is told.
#[inline(never)]
fn facts_of(file: u64, facts: &mut FileFacts) {
    *facts = file_facts(file);
}

/// A call that returns an fd without a name of the program's.
#[inline(always)]
pub fn plain(slot: &mut Slot, op: Op, result: i64, source: u64) {
    let Some((table, facts)) = returned(slot, result) else {
        return;
    };
    let record = emit::reserve::<FIXED>(Family::File);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<FdAcquire>();
        fill(
            payload,
            &facts,
            op,
            result as i32,
            source as i32,
            Detail::Basic,
        );
        (*payload).area = 0;
        path::none(&raw mut (*payload).text);
        emit::finish(
            record,
            kind::FD_ACQUIRE,
            FIXED,
            slot,
            emit::position(slot, &table),
        );
    }
}

/// Fills what every acquisition has.
///
/// # Safety
/// `payload` must be writable.
#[inline(always)]
pub unsafe fn fill(
    payload: *mut FdAcquire,
    facts: &FileFacts,
    op: Op,
    fd: i32,
    source: i32,
    detail: Detail,
) {
    // SAFETY: by contract.
    unsafe {
        once::identify(facts, detail, &raw mut (*payload).identity);
        (*payload).fd = fd;
        (*payload).source_fd = source;
        (*payload).open_flags = facts.flags;
        (*payload).mnt_ns = 0;
        (*payload).op = op.0;
        let mut flags = 0;
        if facts.mode & FMODE_CREATED != 0 {
            flags |= acquire_flag::CREATED;
        }
        if facts.flags & O_CLOEXEC != 0 {
            flags |= acquire_flag::CLOEXEC;
        }
        if facts.flags & O_TMPFILE != 0 {
            flags |= acquire_flag::TMPFILE;
        }
        (*payload).flags = flags;
    }
}

/// An open that succeeded.
struct Opened<'a> {
    table: &'a Table,
    facts: &'a FileFacts,
    /// The string that the program passed.
    name: u64,
    op: Op,
    fd: i32,
    /// Bits of [`acquire_flag`] that the file does not tell.
    flags: u8,
}

/// open, openat, openat2, creat, memfd_create returned. The text of a file that this call made
/// and of a relative name is the kernel's path; otherwise it is the program's string.
#[inline(always)]
pub fn open(slot: &mut Slot, op: Op, name: u64, how: u64, result: i64) {
    if result == -ENOENT {
        once::scope::marked(slot, name);
        return;
    }
    let Some((table, facts)) = returned(slot, result) else {
        return;
    };
    let created = facts.mode & FMODE_CREATED != 0;
    // The kernel takes O_EXCL off f_flags (do_dentry_open in fs/open.c).
    let exclusive = created && open_flags(op, how) & O_EXCL != 0;
    let opened = Opened {
        table: &table,
        facts: &facts,
        name,
        op,
        fd: result as i32,
        flags: if exclusive {
            acquire_flag::EXCLUSIVE
        } else {
            0
        },
    };
    if created {
        let record = emit::reserve_vital::<{ FIXED + MIDDLE }>(Family::File);
        by_path(record, slot, &opened);
    } else {
        by_name(slot, &opened);
    }
}

/// include/uapi/asm-generic/fcntl.h
const O_EXCL: u64 = 0o200;

/// The flags of an open. openat2 has them first in `struct open_how`.
#[inline(always)]
fn open_flags(op: Op, how: u64) -> u64 {
    if op != Op::OPENAT2 {
        return how;
    }
    let mut flags = 0u64;
    // SAFETY: the destination is eight bytes.
    unsafe {
        bpf_probe_read_user((&raw mut flags).cast(), 8, how as *const _);
        core::ptr::read_volatile(&raw const flags)
    }
}

/// The program's string; the kernel's path where that is relative.
#[inline(always)]
fn by_name(slot: &mut Slot, opened: &Opened<'_>) {
    let record = emit::reserve::<{ FIXED + SMALL }>(Family::File);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for header, payload and an area.
    unsafe {
        let text = text_of(record);
        path::user::<SMALL>(opened.name, record.add(FIXED), text);
        let relative = opened.op != Op::MEMFD_CREATE && !path::starts_at_root(record.add(FIXED));
        if relative || path::flags(text) != 0 {
            emit::discard(record);
            if relative {
                let record = emit::reserve_again::<{ FIXED + MIDDLE }>(Family::File);
                by_path(record, slot, opened);
            } else {
                large_name(slot, opened);
            }
            return;
        }
        told(record, slot, opened, SMALL, Detail::Basic);
    }
}

/// The kernel's path, to a record with a middle area or to null.
#[inline(always)]
fn by_path(record: *mut u8, slot: &mut Slot, opened: &Opened<'_>) {
    if record.is_null() {
        return;
    }
    let facts = opened.facts;
    // SAFETY: the record has room for header, payload and an area.
    unsafe {
        let text = text_of(record);
        once::path::<MIDDLE>(facts.dentry, facts.mnt, record.add(FIXED), text);
        if path::flags(text) != 0 {
            emit::discard(record);
            large_path(slot, opened);
            return;
        }
        told(record, slot, opened, MIDDLE, Detail::Full);
    }
}

#[inline(never)]
fn large_name(slot: &mut Slot, opened: &Opened<'_>) {
    let record = emit::reserve_again::<{ FIXED + LARGE }>(Family::File);
    if !record.is_null() {
        // SAFETY: the record has room for header, payload and an area.
        unsafe {
            path::user::<LARGE>(opened.name, record.add(FIXED), text_of(record));
            told(record, slot, opened, LARGE, Detail::Basic);
        }
    }
}

#[inline(never)]
fn large_path(slot: &mut Slot, opened: &Opened<'_>) {
    let facts = opened.facts;
    let record = emit::reserve_vital_again::<{ FIXED + LARGE }>(Family::File);
    if !record.is_null() {
        // SAFETY: the record has room for header, payload and an area.
        unsafe {
            once::path::<LARGE>(facts.dentry, facts.mnt, record.add(FIXED), text_of(record));
            told(record, slot, opened, LARGE, Detail::Full);
        }
    }
}

/// The header's word on a table of which something was seen, not done.
#[inline(always)]
pub fn seen(table: &Table) -> Position {
    Position {
        seq: 0,
        next_fd: table.next_fd,
    }
}

/// An fd is in a table by which way ever. What the table holds is read again once the record has
/// its place: a release that is told before has been done by then.
#[inline(always)]
pub fn found(slot: &mut Slot, table: &Table, op: Op, fd: u32) {
    let file = file_at(table, u64::from(fd));
    if file == 0 {
        return;
    }
    let mut facts = FileFacts::default();
    facts_of(file, &mut facts);
    let mode: u16 = read(facts.inode, offset!(inode_mode));
    if mode & mode::FORMAT == mode::SOCKET {
        socket::found(slot, table, &facts, op, fd);
        return;
    }
    let record = emit::reserve::<{ FIXED + MIDDLE }>(Family::File);
    if record.is_null() {
        if facts.mode & FMODE_CREATED != 0 {
            emit::name_lost(slot);
        }
        return;
    }
    if file_at(table, u64::from(fd)) != file {
        // SAFETY: just reserved.
        unsafe { emit::withdraw(Family::File, record) };
        return;
    }
    let opened = Opened {
        table,
        facts: &facts,
        name: 0,
        op,
        fd: fd as i32,
        flags: acquire_flag::FOUND,
    };
    by_path(record, slot, &opened);
}

/// # Safety
/// `record` must have room for header and payload.
#[inline(always)]
unsafe fn text_of(record: *mut u8) -> *mut TextRef {
    // SAFETY: by contract.
    unsafe { &raw mut (*record.add(HEADER).cast::<FdAcquire>()).text }
}

/// Fills and emits a record whose text of `area` bytes is there already.
///
/// # Safety
/// `record` must have room for header and payload, and not be used afterwards.
#[inline(always)]
unsafe fn told(record: *mut u8, slot: &mut Slot, opened: &Opened<'_>, area: usize, detail: Detail) {
    // SAFETY: by contract.
    unsafe {
        let payload = record.add(HEADER).cast::<FdAcquire>();
        fill(payload, opened.facts, opened.op, opened.fd, -1, detail);
        (*payload).flags |= opened.flags;
        if detail == Detail::Full {
            (*payload).mnt_ns = path::mount_namespace(tree::current_typed());
        }
        (*payload).area = area as u16;
        (*payload).flags |= opened.flags;
        let len = FIXED + path::len(&raw const (*payload).text);
        let position = if opened.flags & acquire_flag::FOUND == 0 {
            emit::position(slot, opened.table)
        } else {
            seen(opened.table)
        };
        emit::finish(record, kind::FD_ACQUIRE, len, slot, position);
    }
}

/// dup2, dup3 returned: a release of what the number held, then an acquisition.
#[inline(always)]
pub fn dup_over(slot: &mut Slot, op: Op, old: u64, result: i64) {
    if result < 0 || old as i32 == result as i32 {
        return;
    }
    if slot.before != 0 {
        release(slot, op, result as i32, 0);
    }
    once::file::plain(slot, op, result, old);
}

/// F_DUPFD, F_DUPFD_CLOEXEC and the locks (include/uapi/asm-generic/fcntl.h,
/// include/uapi/linux/fcntl.h). `struct flock` begins with the type.
#[inline(always)]
pub fn fcntl(slot: &mut Slot, arguments: Arguments, result: i64) {
    let command = arguments.a1() as u32;
    let owner = match command {
        0 | 1030 => {
            once::file::plain(slot, Op::FCNTL, result, arguments.a0());
            return;
        }
        6 | 7 => lock_owner::PROCESS,
        37 | 38 => lock_owner::DESCRIPTION,
        _ => return,
    };
    let mut what = 0u16;
    // SAFETY: the destination is two bytes.
    let what = unsafe {
        bpf_probe_read_user((&raw mut what).cast(), 2, arguments.a2() as *const _);
        core::ptr::read_volatile(&raw const what)
    };
    once::file::lock(slot, arguments.a0(), what, owner, result);
}

/// flock(2) returned: LOCK_SH is 1, LOCK_EX 2, LOCK_UN 8 (include/uapi/asm-generic/fcntl.h).
#[inline(always)]
pub fn flock(slot: &mut Slot, arguments: Arguments, result: i64) {
    let operation = arguments.a1();
    let what = if operation & 8 != 0 {
        2
    } else if operation & 2 != 0 {
        1
    } else {
        0
    };
    once::file::lock(slot, arguments.a0(), what, lock_owner::DESCRIPTION, result);
}

#[inline(always)]
pub fn lock(slot: &mut Slot, fd: u64, what: u16, owner: u8, result: i64) {
    const SIZE: usize = HEADER + size_of::<FdLock>();
    if result != 0 {
        return;
    }
    let table = current_table_by_address(slot);
    let file = file_at(&table, fd & 0xffff_ffff);
    // A lock may outlive the process with its description, and a file that was never locked is
    // judged otherwise than one that was.
    let record = emit::reserve_vital::<SIZE>(Family::File);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<FdLock>();
        (*payload).file = file;
        (*payload).fd = fd as i32;
        (*payload).what = what;
        (*payload).owner = owner;
        (*payload).reserved = 0;
        emit::finish(record, kind::FD_LOCK, SIZE, slot, Position::default());
    }
}

/// pipe, pipe2 returned; the numbers are in user memory.
#[inline(always)]
pub fn pipe(slot: &mut Slot, op: Op, address: u64, result: i64) {
    if result != 0 {
        return;
    }
    let (first, second) = pair(address);
    once::file::plain(slot, op, first, u64::MAX);
    once::file::plain(slot, op, second, u64::MAX);
}

/// Two fd numbers from user memory.
#[inline(always)]
pub fn pair(address: u64) -> (i64, i64) {
    let mut both = [-1i32; 2];
    // SAFETY: the destination is eight bytes.
    unsafe {
        bpf_probe_read_user(both.as_mut_ptr().cast(), 8, address as *const _);
        (
            i64::from(core::ptr::read_volatile(&raw const both[0])),
            i64::from(core::ptr::read_volatile(&raw const both[1])),
        )
    }
}

/// close_range returned.
#[inline(always)]
pub fn close_range(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    const SIZE: usize = HEADER + size_of::<FdRange>();
    // With CLOSE_RANGE_UNSHARE the table may be another one now; that is told first.
    current_table_by_address(slot);
    let record = emit::reserve::<SIZE>(Family::File);
    if record.is_null() {
        return;
    }
    let position = Position {
        seq: emit::next_seq(slot),
        next_fd: 0,
    };
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<FdRange>();
        (*payload).begin_ns = slot.begin_ns;
        (*payload).first = arguments.a0() as u32;
        (*payload).last = arguments.a1() as u32;
        (*payload).flags = arguments.a2() as u32;
        (*payload).errno = errno(result);
        emit::finish(record, kind::FD_RANGE, SIZE, slot, position);
    }
}
