//! What the kernel counts about programs.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, bpf_prog_info};

use crate::launch::privilege;

/// How often a program was to run and did not: it was interrupted by itself, or (from Linux
/// 7.2) preempted. `None`: this kernel does not count (before 5.12).
///
/// # Errors
/// The kernel does not tell.
pub fn missed(program: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    // SAFETY: plain integers; zero is a valid value of each.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    // Writing to a union's field is safe; the kernel reads this one for this command.
    attr.info.bpf_fd = program.as_raw_fd() as u32;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    attr.info.info = (&raw mut info) as u64;
    // Before Linux 5.19 a plain user is refused (`__sys_bpf` in kernel/bpf/syscall.c, v5.15).
    let rights = privilege::taken_up();
    // SAFETY: the attribute names a buffer of the length it gives.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut attr,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(rights);
    // SAFETY: the kernel has written the length it filled.
    let filled = unsafe { attr.info.info_len } as usize;
    let counts = filled >= std::mem::offset_of!(bpf_prog_info, recursion_misses) + 8;
    Ok(counts.then_some(info.recursion_misses))
}
