//! Paths: the program's own string, or the kernel's dentries.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str};
use leaktrace_common::record::{TextRef, text_flag, text_kind};

use crate::{
    kernel::{Chunk, offset, read},
    rounds,
};

/// Components of a path that are followed at most.
const DEPTH: u32 = 64;

/// Longest name in a directory, with its NUL (NAME_MAX in include/uapi/linux/limits.h).
const NAME: usize = 256;

/// How far a walk is. How much it has written is in the record, whose bytes the verifier does not
/// follow: a count that it did follow would have it go round until the area is full.
struct Walk {
    dentry: u64,
    mnt: u64,
    out: *mut u8,
    text: *mut TextRef,
}

/// Writes the names from `dentry` up to the root of the mount tree to `out`, which has room
/// for `AREA` bytes, and says so in `text`.
///
/// # Safety
/// `out` must be writable for `AREA` bytes, `text` be in a record.
#[inline(always)]
pub unsafe fn walk<const AREA: usize>(dentry: u64, mnt: u64, out: *mut u8, text: *mut TextRef) {
    let mut state = Walk {
        dentry,
        mnt,
        out,
        text,
    };
    // SAFETY: by contract; the context is what the step takes.
    unsafe {
        (*text).len = 0;
        (*text).kind = text_kind::WALK;
        (*text).flags = text_flag::TRUNCATED;
        rounds::go::<DEPTH, _>(DEPTH, step::<AREA>, &raw mut state);
    }
}

/// No text.
///
/// # Safety
/// `text` must be in a record.
#[inline(always)]
pub unsafe fn none(text: *mut TextRef) {
    // SAFETY: by contract.
    unsafe {
        (*text).len = 0;
        (*text).kind = text_kind::NONE;
        (*text).flags = 0;
    }
}

/// Length of a text, as the record has it.
///
/// # Safety
/// `text` must be in a record.
#[inline(always)]
pub unsafe fn len(text: *const TextRef) -> usize {
    // SAFETY: by contract.
    usize::from(unsafe { core::ptr::read_volatile(&raw const (*text).len) })
}

/// Flags of a text, as the record has them.
///
/// # Safety
/// `text` must be in a record.
#[inline(always)]
pub unsafe fn flags(text: *const TextRef) -> u8 {
    // SAFETY: by contract.
    unsafe { core::ptr::read_volatile(&raw const (*text).flags) }
}

/// What is read of a `struct dentry` at once.
#[cfg(not(feature = "reduced"))]
type Dentry = Chunk<8>;
/// Nothing, each member on its own: there the stack is short.
#[cfg(feature = "reduced")]
type Dentry = Chunk<0>;

extern "C" fn step<const AREA: usize>(_index: u64, state: *mut Walk) -> i64 {
    // SAFETY: it is what `walk` gave.
    let state = unsafe { &mut *state };
    let dentry = Dentry::read(state.dentry);
    let parent: u64 = dentry.get(state.dentry, offset!(dentry_parent));
    let root: u64 = read(state.mnt, offset!(vfsmount_root));
    if state.dentry == root || state.dentry == parent {
        return up(state);
    }
    let name: u64 = dentry.get(
        state.dentry,
        offset!(dentry_name).wrapping_add(offset!(qstr_name)),
    );
    // SAFETY: as `walk` found it.
    let used = unsafe { len(state.text) };
    if used > AREA - NAME {
        return 1;
    }
    // SAFETY: `used + NAME` is within the area.
    let more = unsafe {
        bpf_probe_read_kernel_str(state.out.add(used).cast(), NAME as u32, name as *const _)
    };
    if more <= 0 || more > NAME as i64 {
        return 1;
    }
    // SAFETY: as above; all that fits an area fits 16 bits.
    unsafe { (*state.text).len = (used + more as usize) as u16 };
    state.dentry = parent;
    0
}

/// From the root of one mount to the place where it is mounted.
#[inline(always)]
fn up(state: &mut Walk) -> i64 {
    let mount = state.mnt.wrapping_sub(u64::from(offset!(mount_mnt)));
    let parent: u64 = read(mount, offset!(mount_parent));
    if parent == mount || parent == 0 {
        // SAFETY: as `walk` found it.
        unsafe { (*state.text).flags = 0 };
        return 1;
    }
    state.dentry = read(mount, offset!(mount_mountpoint));
    state.mnt = parent.wrapping_add(u64::from(offset!(mount_mnt)));
    0
}

/// Copies the string that the program passed. Read at syscall exit: the page has been touched
/// by then (at entry 2 % are not there yet).
///
/// # Safety
/// `out` must be writable for `AREA` bytes, `text` be in a record.
#[inline(always)]
pub unsafe fn user<const AREA: usize>(address: u64, out: *mut u8, text: *mut TextRef) {
    // SAFETY: by contract.
    unsafe {
        let len = bpf_probe_read_user_str(out.cast(), AREA as u32, address as *const _);
        (*text).kind = text_kind::USER;
        if len <= 0 {
            (*text).len = 0;
            (*text).flags = text_flag::FAULT;
        } else {
            (*text).len = (len - 1) as u16;
            (*text).flags = u8::from(len as usize == AREA) * text_flag::TRUNCATED;
        }
    }
}

/// Whether a text that was read begins at the root.
///
/// # Safety
/// `out` must be where [`user`] wrote.
#[inline(always)]
pub unsafe fn starts_at_root(out: *const u8) -> bool {
    // SAFETY: by contract.
    unsafe { core::ptr::read_volatile(out) == b'/' }
}

/// Whether the string that the program passed begins at the root.
#[inline(always)]
pub fn is_absolute(address: u64) -> bool {
    let mut first = [0u8; 1];
    // SAFETY: the destination is one byte.
    unsafe {
        aya_ebpf::helpers::generated::bpf_probe_read_user(
            first.as_mut_ptr().cast(),
            1,
            address as *const _,
        );
        core::ptr::read_volatile(first.as_ptr()) == b'/'
    }
}

/// Dentry and mount of the working directory of a task.
#[inline(always)]
pub fn working_directory(task: u64) -> (u64, u64) {
    let fs: u64 = read(task, offset!(task_fs));
    let pwd = offset!(fs_pwd);
    (
        read(fs, pwd.wrapping_add(offset!(path_dentry))),
        read(fs, pwd.wrapping_add(offset!(path_mnt))),
    )
}

/// Inode number of the mount namespace of a task.
#[inline(always)]
pub fn mount_namespace(task: u64) -> u32 {
    let proxy: u64 = read(task, offset!(task_nsproxy));
    let namespace: u64 = read(proxy, offset!(nsproxy_mnt));
    read(namespace, offset!(mnt_ns_inum))
}
