//! Who is watched, and what each watched task is in the middle of.

#[cfg(not(feature = "reduced"))]
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use aya_ebpf::helpers::{
    bpf_get_current_task,
    generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_pid_tgid},
};
use aya_log_ebpf::debug;
use leaktrace_common::{
    abi::{self, Op, fault},
    record::{Family, Header, header_flag, kind, task::Seed, task::TaskFacts},
};

#[cfg(not(feature = "reduced"))]
use crate::atomic;
use crate::{
    emit::{self, HEADER, Position},
    kernel::{Address, Chunk, Task, load, offset, read},
    maps::{self, LAST_TABLE, TASKS, count_fault},
};

/// A watched task. Only the task itself writes to its slot once it runs.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Slot {
    /// Start of the thread group leader.
    pub start_ns: u64,
    /// Address of the files_struct that `table` stands for.
    pub files: u64,
    /// When the syscall in flight was entered.
    pub begin_ns: u64,
    /// Sequence number taken at entry; where a table is compared, its `next_fd` then.
    pub seq: u64,
    /// Families of which records of the task were lost since the last one that came: the bits of
    /// a header's flags. Others may set them, for a signal that was sent.
    #[cfg(not(feature = "reduced"))]
    lost: u64,
    /// Registers of the call that the task is in, or was in last. No bits are set at once there, so
    /// it is not told whose records were lost, only that some were.
    #[cfg(feature = "reduced")]
    pub registers: u64,
    /// `struct file` of the fd the syscall is about, or a count taken at entry.
    pub before: u64,
    pub pid: u32,
    pub tid: u32,
    pub ns_pid: u32,
    /// header_flag in the low half, [`flag`] above.
    pub flags: u32,
    pub table: u32,
    /// [`Op`] in flight; 0 for none.
    pub op: u32,
    /// References to the description in `before`, taken at entry; where a table has been
    /// compared, how many numbers are to be looked at.
    pub count: u32,
    /// A number that is to be told.
    pub returned: u32,
    /// Who opened the description in `before`, if it has more than one reference.
    pub cred: u32,
    /// Which times of its exit are noted in `room`.
    pub exit_times: u32,
    /// What the call being told needs.
    pub room: Room,
}

#[cfg(not(feature = "reduced"))]
impl Slot {
    /// Notes that records of the task were lost.
    #[inline(always)]
    pub fn mark(&self, bits: u64) {
        // SAFETY: the slot lives until the task leaves; others may mark it too, hence atomic.
        unsafe { atomic::set_bits((&raw const self.lost).cast_mut(), bits) };
    }

    /// Whether records of the task were lost since the last one that came.
    #[inline(always)]
    pub fn is_marked(&self) -> bool {
        // SAFETY: a reference is valid for reads.
        unsafe { core::ptr::read_volatile(&raw const self.lost) != 0 }
    }

    /// Of which families; the next record does not say so again.
    #[inline(always)]
    pub fn take_marks(&self) -> u64 {
        // SAFETY: as in `mark`.
        unsafe { atomic::take((&raw const self.lost).cast_mut()) }
    }
}

#[cfg(feature = "reduced")]
impl Slot {
    /// Nothing is noted: see [`Slot::registers`].
    #[inline(always)]
    pub fn mark(&self, _: u64) {}

    /// Never.
    #[inline(always)]
    pub fn is_marked(&self) -> bool {
        false
    }

    /// None.
    #[inline(always)]
    pub fn take_marks(&self) -> u64 {
        0
    }
}

const _: () = assert!(size_of::<Slot>() == abi::WATCHED_BYTES);
const _: () = assert!(core::mem::offset_of!(Slot, start_ns) == abi::WATCHED_START);
const _: () = assert!(core::mem::offset_of!(Slot, pid) == abi::WATCHED_PID);

/// Room that one call at a time uses, each in its way. In the slot: the verifier does not follow
/// what is in a map, and on the stack each of the fourteen calls that have paths would be looked
/// at on its own, with their constants.
#[repr(C)]
#[derive(Clone, Copy)]
pub union Room {
    /// Where the paths of the call are.
    pub paths: Paths,
    /// Numbers 0 to 255 of the fd table: those taken at entry, then those new at exit.
    pub taken: [u64; 4],
}

impl Default for Room {
    fn default() -> Self {
        Room { taken: [0; 4] }
    }
}

/// Directory fds and addresses of up to two paths. No second path: address 0.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Paths {
    pub first: u64,
    pub second: u64,
    pub first_dirfd: i32,
    pub second_dirfd: i32,
    pub flags: u32,
    pub op: u32,
}

/// Bits of [`Slot::flags`] that are not header flags.
pub mod flag {
    /// A 32-bit system call was reported.
    pub const COMPAT: u32 = 1 << 16;
    /// A request of io_uring without a completion was reported.
    pub const SILENT: u32 = 1 << 17;
    /// The same of one that may make a file.
    pub const SILENT_CREATION: u32 = 1 << 18;
    /// A request of io_uring to make or change a name was reported.
    pub const RING_NAMES: u32 = 1 << 19;
}

/// PF_EXITING and PF_IO_WORKER (include/linux/sched.h).
pub mod process_flag {
    pub const EXITING: u32 = 0x4;
    pub const IO_WORKER: u32 = 0x10;
    pub const KTHREAD: u32 = 0x20_0000;
}

/// Address of the current task, as a number.
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_get_current_task() }
}

/// The current task as a pointer that the verifier knows the type of.
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub fn current_typed() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_get_current_task_btf() as u64 }
}

/// The current task by its address: no helper tells the type before 5.11.
#[cfg(feature = "reduced")]
#[inline(always)]
pub fn current_typed() -> u64 {
    current()
}

/// The address space of the current task.
#[inline(always)]
pub fn current_mm() -> u64 {
    read(current(), offset!(task_mm))
}

/// What is noted under the address of a task, whoever that is.
#[inline(always)]
pub fn noted(task: u64) -> Option<&'static mut Slot> {
    // SAFETY: the element lives until the task leaves, which is after its last event.
    TASKS.get_ptr_mut(task).map(|slot| unsafe { &mut *slot })
}

/// The slot of any task, if it is its own: see [`own_slot`]. The start of the leader tells, which
/// a thread that executes a program as another than the leader keeps; its number changes before
/// anybody is told.
#[inline(always)]
pub fn slot_of(task: u64) -> Option<&'static mut Slot> {
    noted(task).filter(|slot| {
        let leader: u64 = read(task, offset!(task_group_leader));
        start_of(leader) == slot.start_ns
    })
}

/// The slot of the current task, if it is watched. In the system mode a task that is not known
/// yet is taken in.
#[inline(always)]
pub fn current_slot() -> Option<&'static mut Slot> {
    match own_slot() {
        Some(slot) => Some(slot),
        None if maps::mode() == abi::mode::SYSTEM => adopt(current()),
        None => None,
    }
}

/// The slot of the current task, if it is its own: one that could not be taken out when its task
/// went (LEAVE_FAILED) is found by the next task at that address.
#[inline(always)]
pub fn own_slot() -> Option<&'static mut Slot> {
    // SAFETY: no preconditions.
    let tid = unsafe { bpf_get_current_pid_tgid() } as u32;
    noted(current()).filter(|slot| slot.tid == tid)
}

/// The slot of the current task, which has just started a program. In the targets mode one that
/// runs in the target cgroup is taken in: whoever puts a process there does so before its exec.
#[inline(always)]
pub fn program_slot() -> Option<&'static mut Slot> {
    let task = current();
    // The thread's number is about to change, if it is not the leader.
    // SAFETY: no preconditions.
    let pid = unsafe { bpf_get_current_pid_tgid() >> 32 } as u32;
    match noted(task).filter(|slot| slot.pid == pid) {
        Some(slot) => Some(slot),
        None if maps::mode() == abi::mode::SYSTEM => adopt(task),
        None if maps::mode() == abi::mode::TARGETS => enter(task),
        None => None,
    }
}

#[inline(never)]
fn enter(task: u64) -> Option<&'static mut Slot> {
    let target = maps::target_cgroup();
    let own = cgroup();
    if target == 0 || own != target {
        return None;
    }
    seed(task, kind::TARGET)
}

/// Whether a process is leaktrace's.
#[inline(always)]
pub fn is_own(pid: u32) -> bool {
    pid == maps::self_pid() || pid == maps::deputy_pid()
}

/// The cgroup of the current task at the level of the target.
#[cfg(not(feature = "reduced"))]
#[inline(always)]
fn cgroup() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_get_current_ancestor_cgroup_id(maps::target_level() as i32) }
}

/// The cgroup of the current task: what is above it no helper tells tracing programs before 5.14.
#[cfg(feature = "reduced")]
#[inline(always)]
fn cgroup() -> u64 {
    let cgroups: u64 = read(current(), offset!(task_cgroups));
    let node: u64 = read(read(cgroups, offset!(css_set_dfl_cgrp)), offset!(cgroup_kn));
    read(node, offset!(kernfs_node_id))
}

#[inline(never)]
fn adopt(task: u64) -> Option<&'static mut Slot> {
    let typed = current_typed();
    // SAFETY: typed by the helper.
    let flags: u32 = unsafe { load(typed, offset!(task_flags)) };
    // SAFETY: typed by the helper.
    let pid: u32 = unsafe { load(typed, offset!(task_tgid)) };
    if is_own(pid) || flags & (process_flag::KTHREAD | process_flag::EXITING) != 0 {
        return None;
    }
    seed(task, kind::SEED)
}

/// Takes a task in and tells userspace of it.
#[inline(always)]
pub fn seed(task: u64, kind: u16) -> Option<&'static mut Slot> {
    note(task);
    let slot = noted(task)?;
    const SIZE: usize = HEADER + size_of::<Seed>();
    let record = emit::reserve_vital::<SIZE>(Family::Task);
    if !record.is_null() {
        // SAFETY: the record has room for both.
        unsafe {
            describe_at(task, slot, record.add(HEADER).cast::<TaskFacts>());
            emit::finish(record, kind, SIZE, slot, Position::default());
        }
    }
    Some(slot)
}

/// Notes a task, with a table of its own. On its own: its frame is gone when records are written.
#[inline(never)]
fn note(task: u64) {
    let slot = slot_for(Address(task), LAST_TABLE.next() as u32);
    if TASKS.insert(task, slot, 0).is_err() {
        count_fault(fault::JOIN_FAILED);
        debug!((), "process {} could not be taken in", slot.pid);
    }
}

/// [`describe`] by the address alone, in a frame of its own.
///
/// # Safety
/// `out` must be writable.
#[inline(never)]
unsafe fn describe_at(task: u64, slot: &Slot, out: *mut TaskFacts) {
    // SAFETY: by contract.
    unsafe { describe(Address(task), slot, out) }
}

/// The slot that belongs to a task.
#[inline(always)]
pub fn slot_for(task: impl Task, table: u32) -> Slot {
    let leader: u64 = task.member(offset!(task_group_leader));
    let flags: u32 = task.member(offset!(task_flags));
    Slot {
        start_ns: start_of(leader),
        files: task.member(offset!(task_files)),
        pid: task.member(offset!(task_tgid)),
        tid: task.member(offset!(task_pid)),
        ns_pid: ns_pid(leader),
        flags: if flags & process_flag::IO_WORKER != 0 {
            u32::from(header_flag::IO_WORKER)
        } else {
            0
        },
        table,
        ..Slot::default()
    }
}

/// When a thread group leader started.
#[inline(always)]
pub fn start_of(leader: u64) -> u64 {
    read(leader, offset!(task_start_boottime))
}

/// The process id of a leader in its own pid namespace: the last of `thread_pid->numbers`.
#[inline(always)]
pub fn ns_pid(leader: u64) -> u32 {
    let pid: u64 = read(leader, offset!(task_thread_pid));
    let level: u32 = read(pid, offset!(pid_level));
    // `struct upid` is { int nr; struct pid_namespace *ns; }: 16 bytes on every 64-bit kernel.
    read(
        pid.wrapping_add(u64::from(level & 31) * 16),
        offset!(pid_numbers).wrapping_add(offset!(upid_nr)),
    )
}

/// Fills the facts of a task.
///
/// # Safety
/// `out` must be writable.
#[inline(always)]
pub unsafe fn describe(task: impl Task, slot: &Slot, out: *mut TaskFacts) {
    // SAFETY: by contract.
    unsafe {
        let parent: u64 = task.member(offset!(task_real_parent));
        let parent_leader: u64 = read(parent, offset!(task_group_leader));
        let signal: u64 = task.member(offset!(task_signal));
        let cred: u64 = task.member(offset!(task_cred));
        let cgroups: u64 = task.member(offset!(task_cgroups));
        let cgroup: u64 = read(cgroups, offset!(css_set_dfl_cgrp));
        let node: u64 = read(cgroup, offset!(cgroup_kn));
        (*out).mm = task.member(offset!(task_mm));
        (*out).start_ns = slot.start_ns;
        (*out).parent_start_ns = start_of(parent_leader);
        (*out).cgroup = read(node, offset!(kernfs_node_id));
        // RLIMIT_NOFILE is 7 (include/uapi/asm-generic/resource.h); rlim_cur comes first.
        (*out).nofile = read(signal, offset!(signal_rlim).wrapping_add(7 * 16));
        (*out).pid = slot.pid;
        (*out).tid = slot.tid;
        (*out).ns_pid = slot.ns_pid;
        (*out).parent_pid = read(parent, offset!(task_tgid));
        (*out).uid = read(cred, offset!(cred_uid));
        (*out).table = slot.table;
        (*out).flags = slot.flags & 0xffff;
        (*out).exit_signal = task.member(offset!(task_exit_signal));
        let comm = Chunk::<2>::read(task.address().wrapping_add(u64::from(offset!(task_comm))));
        let words = (&raw mut (*out).comm).cast::<u64>();
        *words = comm.get(0, 0);
        *words.add(1) = comm.get(0, 8);
    }
}

/// The held child speaks: it becomes the root of the tree.
#[inline(never)]
pub fn hold(nonce: u64) {
    if nonce != maps::nonce() {
        return;
    }
    if let Some(slot) = seed(current(), kind::ROOT) {
        if let Some(root) = maps::ROOT.get_ptr_mut(0) {
            // SAFETY: a map value; one writer.
            unsafe { *root = u64::from(slot.pid) };
            debug!((), "process {} is the root of the watched tree", slot.pid);
        }
    }
}

/// Notes that the current task has another files_struct than before and tells userspace.
#[inline(always)]
pub fn table_changed(slot: &mut Slot) {
    const SIZE: usize = HEADER + size_of::<leaktrace_common::record::file::FdTable>();
    let old = slot.table;
    let files: u64 = read(current(), offset!(task_files));
    slot.table = LAST_TABLE.next() as u32;
    slot.files = files;
    let record = emit::reserve_vital::<SIZE>(Family::File);
    if !record.is_null() {
        let seq = emit::next_seq(slot);
        // SAFETY: the record has room for both.
        unsafe {
            let payload = record.add(size_of::<Header>()).cast::<u64>();
            *payload = u64::from(old);
            emit::finish(
                record,
                kind::FD_TABLE,
                SIZE,
                slot,
                Position { seq, next_fd: 0 },
            );
        }
    }
}

/// Whether the operation in flight is this one; it is in flight no more.
#[inline(always)]
pub fn take(slot: &mut Slot, op: Op) -> bool {
    let same = slot.op == u32::from(op.0);
    slot.op = 0;
    same
}
