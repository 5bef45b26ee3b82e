//! Handlers, by family. Written once; `hook` decides how the kernel reaches them.

pub mod aio;
pub mod appear;
pub mod call;
pub mod exit;
pub mod exit_times;
pub mod file;
pub mod ipc;
pub mod mapping;
pub mod name;
pub mod path;
pub mod ring;
pub mod scope;
pub mod signal;
pub mod socket;
pub mod stack;
pub mod stay;
pub mod task;
pub mod uring;
#[cfg_attr(feature = "reduced", path = "walk_by_rounds.rs")]
pub mod walk;

use core::ffi::c_void;

#[cfg(not(feature = "reduced"))]
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use leaktrace_common::{
    abi::{self, NO_OFFSET, Op},
    record::ring::aio_cause,
};

use crate::{
    emit,
    kernel::{load, offset},
    maps, once,
    tree::{self, Slot},
};

/// The six arguments of a syscall, from its pt_regs, which keep them until the return.
#[derive(Clone, Copy)]
pub struct Arguments(pub(crate) u64);

/// The registers of the call that the current task is in, as a pointer that the verifier knows the
/// type of.
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub fn registers() -> u64 {
    // SAFETY: the task is typed by the helper.
    unsafe { bpf_task_pt_regs(tree::current_typed() as *mut _) as u64 }
}

/// The registers of the call that a task is in.
///
/// # Safety
/// The task must be typed.
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub unsafe fn registers_of(task: u64) -> u64 {
    // SAFETY: by contract.
    unsafe { bpf_task_pt_regs(task as *mut _) as u64 }
}

/// The registers of the call that a watched task is in, or was in last; 0: it has made none yet.
///
/// # Safety
/// None.
#[cfg(feature = "reduced")]
#[inline(always)]
pub unsafe fn registers_of(task: u64) -> u64 {
    tree::noted(crate::kernel::number(task)).map_or(0, |slot| slot.registers)
}

/// The registers of the call that the current task is in, as its tracepoint gave them: no helper
/// tells them before 5.15.
#[cfg(feature = "reduced")]
#[inline(always)]
pub fn registers() -> u64 {
    tree::noted(tree::current()).map_or(0, |slot| slot.registers)
}

/// The number of the call with these registers.
#[inline(always)]
pub fn number(regs: u64) -> u64 {
    // SAFETY: pt_regs from the tracepoint or the helper. 32 bits: arm64 has no more.
    u64::from(unsafe { load::<u32>(regs, offset!(pt_regs_orig_ax)) })
}

impl Arguments {
    /// Those of the call that the current task is in: for functions that the verifier looks at on
    /// their own, where a pointer of the tracepoint's would be a number.
    #[inline(always)]
    pub fn current() -> Self {
        Arguments(registers())
    }
    /// First argument.
    #[inline(always)]
    pub fn a0(self) -> u64 {
        // SAFETY: pt_regs from the tracepoint.
        unsafe { load(self.0, offset!(pt_regs_di)) }
    }
    /// Second.
    #[inline(always)]
    pub fn a1(self) -> u64 {
        // SAFETY: as above.
        unsafe { load(self.0, offset!(pt_regs_si)) }
    }
    /// Third.
    #[inline(always)]
    pub fn a2(self) -> u64 {
        // SAFETY: as above.
        unsafe { load(self.0, offset!(pt_regs_dx)) }
    }
    /// Fourth.
    #[inline(always)]
    pub fn a3(self) -> u64 {
        // SAFETY: as above.
        unsafe { load(self.0, offset!(pt_regs_r10)) }
    }
    /// Fifth.
    #[inline(always)]
    pub fn a4(self) -> u64 {
        // SAFETY: as above.
        unsafe { load(self.0, offset!(pt_regs_r8)) }
    }
    /// Sixth.
    #[inline(always)]
    pub fn a5(self) -> u64 {
        // SAFETY: as above.
        unsafe { load(self.0, offset!(pt_regs_r9)) }
    }
}

/// TS_COMPAT (arch/x86/include/asm/thread_info.h): the task is in a 32-bit system call, whose
/// number means something else.
const TS_COMPAT: u32 = 2;

/// PSR_MODE32_BIT (arch/arm64/include/uapi/asm/ptrace.h): the registers are those of 32-bit code.
const PSR_MODE32: u64 = 0x10;

/// Whether a task is in a 32-bit system call. The task must be typed.
#[inline(always)]
pub fn is_compat(task: u64) -> bool {
    if offset!(thread_info_status) == NO_OFFSET {
        // As compat_user_mode in arch/arm64/include/asm/ptrace.h: the processor's own word, where
        // the numbers of a task's flags differ between kernels.
        // SAFETY: by contract.
        let state: u64 = unsafe { load(registers_of(task), offset!(pt_regs_pstate)) };
        return state & PSR_MODE32 != 0;
    }
    // SAFETY: by contract. thread_info is embedded in task_struct on x86 (v4.9).
    let status: u32 = unsafe {
        load(
            task,
            offset!(task_thread_info).wrapping_add(offset!(thread_info_status)),
        )
    };
    status & TS_COMPAT != 0
}

/// sys_enter: what is released is noted while it is still there.
///
/// Every syscall of every task of the machine comes through here, so what is not traced leaves
/// before anything else is set up: the rest is a function of its own, whose registers are saved
/// only when it is called.
#[inline(always)]
pub fn enter(regs: u64, number: u64) {
    let op = Op(maps::handler(number));
    if op.begins_at_entry() {
        begin(regs, op);
    }
}

#[inline(never)]
fn begin(regs: u64, op: Op) {
    let arguments = Arguments(regs);
    if op == Op::PRCTL {
        own_call(arguments);
        return;
    }
    if reads_in_vain(op) {
        return;
    }
    let Some(slot) = tree::current_slot() else {
        return;
    };
    keep(slot, regs);
    if is_compat(tree::current_typed()) {
        task::compat(slot);
        return;
    }
    slot.op = u32::from(op.0);
    slot.begin_ns = emit::now();
    match op {
        Op::CLOSE => {
            file::begin(slot, arguments.a0());
            ring::closing(slot);
        }
        Op::DUP2 | Op::DUP3 => file::begin(slot, arguments.a1()),
        Op::CLOSE_RANGE => file::begin(slot, u64::MAX),
        Op::SHMGET | Op::SEMGET | Op::MSGGET | Op::MQ_OPEN => once::ipc::begin(slot, op),
        Op::IOCTL => {
            once::appear::begin(slot);
            once::appear::supervised(slot);
        }
        Op::CLONE => {
            if arguments.a0() & appear::CLONE_PIDFD != 0 {
                once::appear::begin(slot);
            } else {
                slot.op = 0;
            }
        }
        Op::RECVMSG
        | Op::RECVMMSG
        | Op::BPF
        | Op::GETSOCKOPT
        | Op::SECCOMP
        | Op::READ
        | Op::READV
        | Op::CLONE3
        | Op::LANDLOCK_CREATE_RULESET => once::appear::begin(slot),
        Op::IO_URING_ENTER => {
            once::appear::begin(slot);
            slot.before = arguments.a0();
        }
        Op::EXIT_GROUP => exit::group(slot, arguments.a0() as i32),
        Op::IO_DESTROY => aio::of_current(slot, arguments.a0(), aio_cause::DESTROY),
        _ if op.may_wait() => slot.before = arguments.a0(),
        _ => {}
    }
}

/// Whether it is a read while nothing is known whose read would make fds.
#[inline(always)]
fn reads_in_vain(op: Op) -> bool {
    (op == Op::READ || op == Op::READV) && maps::MAKERS.get() == 0
}

/// `prctl` with our own first argument: the held child, or a question for an identity.
#[inline(never)]
fn own_call(arguments: Arguments) {
    if arguments.a0() as u32 != abi::PRCTL_MAGIC as u32 {
        return;
    }
    match arguments.a1() {
        abi::PRCTL_HOLD => tree::hold(arguments.a2()),
        abi::PRCTL_IDENTIFY => file::answer(arguments.a2(), arguments.a3()),
        abi::PRCTL_STAY => stay::long(arguments.a2()),
        _ => {}
    }
}

/// sys_exit: what was acquired is in the kernel now, what was begun has ended. Light for what is
/// not traced, as [`enter`].
#[inline(always)]
pub fn exit(context: *mut c_void, regs: u64, result: i64) {
    // After rt_sigreturn the number is -1.
    let op = Op(maps::handler(number(regs)));
    if op == Op::ALIAS {
        if is_compat(tree::current_typed()) {
            alias();
        }
        return;
    }
    if op == Op::MADVISE && !call::decides_for_children(Arguments(regs)) {
        return;
    }
    if op == Op::SETSOCKOPT && !call::makes_ring(Arguments(regs)) {
        return;
    }
    if op != Op::NONE && op != Op::PRCTL && !reads_in_vain(op) {
        end(context, regs, op, result);
    }
}

/// A 32-bit system call whose number means nothing to us.
#[inline(never)]
fn alias() {
    if let Some(slot) = tree::current_slot() {
        task::compat(slot);
    }
}

/// Keeps the registers for those who cannot ask for them.
#[inline(always)]
fn keep(slot: &mut Slot, regs: u64) {
    #[cfg(feature = "reduced")]
    {
        slot.registers = regs;
    }
    #[cfg(not(feature = "reduced"))]
    let _ = (slot, regs);
}

#[inline(never)]
fn end(context: *mut c_void, regs: u64, op: Op, result: i64) {
    let Some(slot) = tree::current_slot() else {
        return;
    };
    keep(slot, regs);
    if is_compat(tree::current_typed()) {
        task::compat(slot);
        return;
    }
    let begun = tree::take(slot, op);
    if op.begins_at_entry() && !begun {
        // Seccomp or a tracer answered in the kernel's place: nothing was done.
        return;
    }
    if maps::stacks() != 0 {
        stack::of_call(context, regs, slot, op, result);
    }
    if call::no_room(result) {
        once::call::refused(slot, op, result);
    }
    if op.may_wait() {
        once::call::waited(slot, op, result);
    }
    dispatch(slot, op, Arguments(regs), result);
    if maps::stacks() != 0 {
        stack::over(slot);
    }
}

#[inline(always)]
fn dispatch(slot: &mut Slot, op: Op, arguments: Arguments, result: i64) {
    match op {
        Op::CLOSE => file::close(slot, arguments.a0(), result),
        Op::OPEN => once::file::open(slot, op, arguments.a0(), arguments.a1(), result),
        Op::CREAT => once::file::open(slot, op, arguments.a0(), 0, result),
        Op::OPENAT | Op::OPENAT2 => {
            once::file::open(slot, op, arguments.a1(), arguments.a2(), result);
        }
        Op::DUP => once::file::plain(slot, op, result, arguments.a0()),
        Op::DUP2 | Op::DUP3 => once::file::dup_over(slot, op, arguments.a0(), result),
        Op::FCNTL => file::fcntl(slot, arguments, result),
        Op::PIPE | Op::PIPE2 => file::pipe(slot, op, arguments.a0(), result),
        Op::CLOSE_RANGE => once::file::close_range(slot, result),
        Op::MEMFD_CREATE => once::file::open(slot, op, arguments.a0(), 0, result),
        Op::USERFAULTFD | Op::FANOTIFY_INIT => {
            if result >= 0 {
                maps::MAKERS.count();
            }
            once::file::plain(slot, op, result, u64::MAX);
        }
        Op::BPF if arguments.a0() & 0xffff_ffff == name::BPF_OBJ_PIN => {
            once::name::pinned(slot, result);
        }
        Op::IOCTL if slot.before != 0 => once::appear::added(slot, result),
        Op::IOCTL
        | Op::RECVMSG
        | Op::RECVMMSG
        | Op::BPF
        | Op::GETSOCKOPT
        | Op::IO_URING_ENTER
        | Op::SECCOMP
        | Op::READ
        | Op::READV
        | Op::CLONE
        | Op::CLONE3
        | Op::LANDLOCK_CREATE_RULESET
        | Op::OPEN_BY_HANDLE_AT
        | Op::PIDFD_GETFD
        | Op::OPEN_TREE
        | Op::OPEN_TREE_ATTR
        | Op::FSPICK
        | Op::FSMOUNT => once::appear::end(slot, op, result),
        Op::MEMFD_SECRET
        | Op::PERF_EVENT_OPEN
        | Op::FSOPEN
        | Op::PIDFD_OPEN
        | Op::EPOLL_CREATE
        | Op::EPOLL_CREATE1
        | Op::EVENTFD
        | Op::EVENTFD2
        | Op::TIMERFD_CREATE
        | Op::INOTIFY_INIT
        | Op::INOTIFY_INIT1 => once::file::plain(slot, op, result, u64::MAX),
        Op::SIGNALFD | Op::SIGNALFD4 => {
            // signalfd(2) with an fd changes that one and makes none.
            if arguments.a0() as i32 == -1 {
                once::file::plain(slot, op, result, u64::MAX);
            }
        }
        Op::SOCKET => once::socket::acquire(slot, op, result, u64::MAX),
        Op::ACCEPT | Op::ACCEPT4 => once::socket::acquire(slot, op, result, arguments.a0()),
        Op::SOCKETPAIR => socket::pair(slot, arguments.a3(), result),
        Op::BIND | Op::LISTEN | Op::CONNECT => once::socket::name(slot, op, result),
        Op::MMAP => once::mapping::map(slot, result),
        Op::MUNMAP => once::mapping::unmap(slot, result),
        Op::MREMAP => once::mapping::remap(slot, result),
        Op::IO_URING_SETUP => once::ring::setup(slot, arguments.a1(), result),
        Op::RT_SIGACTION => once::signal::action(slot, result),
        Op::WAIT4 => task::wait4(slot, result),
        Op::WAITID => once::task::waitid(slot, result),
        Op::SHMGET | Op::SEMGET | Op::MSGGET => once::ipc::get(slot, op, result),
        Op::SHMCTL | Op::SEMCTL | Op::MSGCTL => once::ipc::control(slot, op, result),
        Op::SHMAT => once::ipc::attach(slot, arguments.a0(), result),
        Op::SHMDT => once::ipc::detach(slot, arguments.a0(), result),
        Op::MQ_OPEN => once::ipc::mq_open(slot, result),
        Op::MQ_UNLINK => once::ipc::mq_unlink(slot, arguments.a0(), result),
        Op::UNLINK
        | Op::UNLINKAT
        | Op::RMDIR
        | Op::MKDIR
        | Op::MKDIRAT
        | Op::MKNOD
        | Op::MKNODAT
        | Op::SYMLINK
        | Op::SYMLINKAT
        | Op::RENAME
        | Op::RENAMEAT
        | Op::RENAMEAT2
        | Op::LINK
        | Op::LINKAT
        | Op::MOVE_MOUNT
        | Op::UMOUNT2 => once::name::changed(slot, op, result),
        Op::MOUNT => once::name::mounted(slot, result),
        Op::UNSHARE => once::task::unshared(slot, arguments.a0(), result),
        Op::FLOCK => file::flock(slot, arguments, result),
        Op::IO_URING_REGISTER => once::ring::register(slot, result),
        Op::EPOLL_CTL
        | Op::FSYNC
        | Op::FDATASYNC
        | Op::MSYNC
        | Op::MADVISE
        | Op::BRK
        | Op::SETSOCKOPT
        | Op::MLOCK
        | Op::MLOCK2
        | Op::MUNLOCK
        | Op::MLOCKALL
        | Op::MUNLOCKALL
        | Op::TIMER_CREATE
        | Op::TIMER_DELETE
        | Op::SETITIMER
        | Op::ALARM
        | Op::IO_SETUP
        | Op::IO_SUBMIT
        | Op::IO_DESTROY
        | Op::SETRLIMIT
        | Op::PRLIMIT64 => once::call::plain(slot, op, result),
        _ => {}
    }
}
