//! The rights of file capabilities (capabilities(7)), used only where they are needed.
//!
//! `setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search=ep leaktrace` lets a plain user
//! trace what leaktrace starts. The same rights would open any file for it that the user names
//! on the command line. So they are set aside first thing, and taken up by the thread that
//! loads a program, runs an iterator or looks into /proc, for as long as that takes. CMD gets none
//! of them: exec gives up what only the file had given.

use std::{cell::Cell, marker::PhantomData};

/// _LINUX_CAPABILITY_VERSION_3 (include/uapi/linux/capability.h); libc does not name it.
const VERSION: u32 = 0x2008_0522;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

thread_local! {
    /// How often this thread has taken them up and not set them aside again.
    static TAKEN: Cell<u32> = const { Cell::new(0) };
}

#[repr(C)]
struct Header {
    version: u32,
    /// 0: the calling thread.
    pid: i32,
}

/// One half of the sets: capabilities 0-31 and 32-63.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets aside what this thread, and those that it starts, may do beyond the user. Root stays root:
/// whoever types sudo means it.
pub fn set_aside() {
    if !is_root() {
        change(|sets| sets.effective = 0);
    }
}

/// Rights that are taken up. Dropped, they are set aside again. Threads that are started meanwhile
/// have them until they end.
#[derive(Debug)]
pub struct TakenUp {
    /// Capabilities are a thread's own: this may not go to another one.
    _here: PhantomData<*const ()>,
}

/// Takes up what was set aside, for this thread.
#[must_use = "they are set aside again when it is dropped"]
pub fn taken_up() -> TakenUp {
    if !is_root() {
        change(|sets| sets.effective = sets.permitted);
    }
    TAKEN.set(TAKEN.get() + 1);
    TakenUp { _here: PhantomData }
}

impl Drop for TakenUp {
    fn drop(&mut self) {
        TAKEN.set(TAKEN.get() - 1);
        if TAKEN.get() == 0 {
            set_aside();
        }
    }
}

/// Whether the file that was executed gave rights that the user does not have (AT_SECURE,
/// getauxval(3)): then the user decides what is run and is not trusted with more than that.
pub fn is_given_by_the_file() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether this process may show what leaktrace did not start: root may, and whom root has given
/// that right, but not everybody who can execute a file with capabilities.
pub fn may_show_others() -> bool {
    is_root() || !is_given_by_the_file() || administers()
}

/// Whether CAP_SYS_ADMIN is there to be taken up.
pub fn administers() -> bool {
    read().is_some_and(|sets| sets[0].permitted >> CAP_SYS_ADMIN & 1 != 0)
}

/// Whether this process may load programs and read what they tell: CAP_BPF and CAP_PERFMON, which
/// CAP_SYS_ADMIN includes (bpf_capable and perfmon_capable, include/linux/capability.h).
pub fn may_load() -> bool {
    let Some(sets) = read() else { return false };
    let has = |bit: u32| sets[bit as usize / 32].permitted >> (bit % 32) & 1 != 0;
    has(CAP_SYS_ADMIN) || has(CAP_BPF) && has(CAP_PERFMON)
}

/// Whether this process is root.
pub fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Changes the thread's sets; only what is permitted can become effective, so it cannot fail.
fn change(how: impl Fn(&mut Sets)) {
    let Some(mut sets) = read() else { return };
    sets.iter_mut().for_each(how);
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    // SAFETY: the header and two sets, as version 3 has them.
    unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
}

fn read() -> Option<[Sets; 2]> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut sets = [Sets::default(); 2];
    // SAFETY: room for the header and two sets, as version 3 has them.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    (done == 0).then_some(sets)
}
