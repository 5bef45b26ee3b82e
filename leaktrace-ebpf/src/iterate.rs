//! Iterators: what was there before leaktrace attached.
//!
//! Each writes records of the ring's own form into the iterator's file, which userspace reads.
//! aya has no attribute for iterators, so the sections are named by hand.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_seq_write;
use leaktrace_common::{
    abi::{self, AGAIN_BUCKETS, Holder, Op, TARGET_BUCKETS, WANTED_BUCKETS, fault, holder_kind},
    record::{
        Family, Header,
        call::{Call, call_flag},
        file::{FdAcquire, walk_cause},
        kind,
        ring::aio_cause,
        socket::Endpoint,
        task::TaskFacts,
        task::{Reread, Seed},
        text_kind,
    },
};

use crate::{
    emit::{self, Position},
    kernel::{
        self, Chunk, Detail, FileFacts, Typed, device, file_facts, load, mode, offset, read,
        sock_of, socket_type, table_of,
    },
    maps::{self, AGAIN, FOUND_TABLE, TASKS, count_fault},
    once,
    probe::{Arguments, aio, call, is_compat, number, registers_of},
    tree::{self, Slot, describe, process_flag, slot_for},
};

/// `struct bpf_iter__task` and `struct bpf_iter__task_file` (kernel/bpf/task_iter.c): each
/// member is a pointer in an eight-byte slot.
#[repr(C)]
struct Context {
    meta: u64,
    task: u64,
    fd: u32,
    pad: u32,
    file: u64,
}

#[repr(C)]
struct SeedRecord {
    header: Header,
    seed: Seed,
}

#[repr(C)]
struct FdRecord {
    header: Header,
    fd: FdAcquire,
}

/// # Safety
/// `ctx` must be the context of an iterator program.
#[inline(always)]
unsafe fn sequence(ctx: *mut Context) -> *mut aya_ebpf::bindings::seq_file {
    // SAFETY: by contract; `struct bpf_iter_meta` begins with the seq_file.
    unsafe { core::ptr::read_volatile((*ctx).meta as *const u64) as *mut _ }
}

fn header(kind: u16, len: usize, slot: &Slot) -> Header {
    Header {
        len: len as u16,
        kind,
        cpu: 0,
        flags: slot.flags as u16,
        dropped: maps::DROPPED.get() as u32,
        pid: slot.pid,
        tid: slot.tid,
        ns_pid: slot.ns_pid,
        start_ns: slot.start_ns,
        time_ns: emit::now(),
        table: slot.table,
        next_fd: 0,
        seq: 0,
    }
}

/// One task: it joins the watched ones and is written down.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn seed_tasks(ctx: *mut Context) -> i32 {
    // SAFETY: the kernel's context.
    let task = unsafe { core::ptr::read_volatile(&raw const (*ctx).task) };
    if task == 0 || maps::mode() == abi::mode::TREE {
        return 0;
    }
    // SAFETY: the iterator's task.
    let (flags, pid): (u32, u32) = unsafe {
        (
            load(task, offset!(task_flags)),
            load(task, offset!(task_tgid)),
        )
    };
    if flags & (process_flag::KTHREAD | process_flag::EXITING) != 0 || tree::is_own(pid) {
        return 0;
    }
    let targets = maps::mode() == abi::mode::TARGETS;
    // SAFETY: the iterator's task.
    let slot = match tree::slot_of(task) {
        // One that joined between two runs has been told already.
        Some(_) if targets => return 0,
        Some(slot) => *slot,
        // SAFETY: the iterator's task.
        None if targets && !unsafe { is_target(task) } => return 0,
        None => match unsafe { join(task) } {
            Some(slot) => slot,
            None => return 0,
        },
    };
    let kind = if targets { kind::TARGET } else { kind::SEED };
    let mut record = SeedRecord {
        header: header(kind, size_of::<SeedRecord>(), &slot),
        seed: Seed::default(),
    };
    // SAFETY: the iterator's task; a local record.
    unsafe {
        describe(
            Typed::new(task),
            &slot,
            (&raw mut record.seed.task).cast::<TaskFacts>(),
        );
        write(
            ctx,
            &raw const record as *const c_void,
            size_of::<SeedRecord>(),
        );
    }
    0
}

/// One task: tells that records of it were lost, and, if its process is wanted, has that read
/// again. What it tells goes through the ring, so that it stands in order with what the process
/// does meanwhile.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn reread_tasks(ctx: *mut Context) -> i32 {
    // SAFETY: the kernel's context.
    let task = unsafe { core::ptr::read_volatile(&raw const (*ctx).task) };
    if task == 0 {
        return 0;
    }
    let Some(slot) = tree::slot_of(task) else {
        return 0;
    };
    if slot.is_marked() {
        marked(slot);
    }
    let wanted = |pid: u32| maps::has(&AGAIN, AGAIN_BUCKETS, u64::from(pid) + 1);
    // No process has number 0: all of them are wanted then.
    if slot.pid == slot.tid && (wanted(slot.pid) || wanted(0)) {
        // SAFETY: the iterator's task.
        unsafe { again(task, slot) };
    }
    0
}

#[inline(never)]
fn marked(slot: &Slot) {
    const SIZE: usize = size_of::<Header>();
    let record = emit::reserve_if_room::<SIZE>(Family::Task);
    if !record.is_null() {
        // SAFETY: the record has room for a header.
        unsafe { emit::finish(record, kind::MARKED, SIZE, slot, Position::default()) };
    }
}

/// # Safety
/// `task` must be the iterator's task.
#[inline(always)]
unsafe fn again(task: u64, slot: &mut Slot) {
    // SAFETY: by contract.
    let table = unsafe { table_of(task) };
    // A table that the slot does not know of yet is told by the task's next call.
    let walk = if table.files != 0 && table.files == slot.files {
        once::walk(slot, || kernel::number(task), &table, walk_cause::ITERATOR)
    } else {
        0
    };
    // SAFETY: by contract.
    unsafe { told_again(task, slot, walk) };
}

/// # Safety
/// `task` must be the iterator's task.
// A subprogram: the walk needs the stack.
#[inline(never)]
unsafe fn told_again(task: u64, slot: &Slot, walk: u32) {
    const SIZE: usize = size_of::<Header>() + size_of::<Reread>();
    let record = emit::reserve_if_room::<SIZE>(Family::Task);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both; the task by contract.
    unsafe {
        let signal: u64 = load(task, offset!(task_signal));
        let payload = record.add(size_of::<Header>()).cast::<Reread>();
        describe(
            Typed::new(task),
            slot,
            (&raw mut (*payload).task).cast::<TaskFacts>(),
        );
        (*payload).walk = walk;
        (*payload).threads = read(signal, offset!(signal_threads));
        emit::finish(record, kind::REREAD, SIZE, slot, Position::default());
    }
}

#[repr(C)]
struct CallRecord {
    header: Header,
    call: Call,
}

/// One task: if it has been waiting in a call for long, that is written down. How far the aio
/// contexts of its process are is told through the ring, in order with what the process does.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn waiting_tasks(ctx: *mut Context) -> i32 {
    // SAFETY: the kernel's context.
    let task = unsafe { core::ptr::read_volatile(&raw const (*ctx).task) };
    if task == 0 {
        return 0;
    }
    let Some(slot) = tree::slot_of(task) else {
        return 0;
    };
    if slot.pid == slot.tid {
        let mm: u64 = read(task, offset!(task_mm));
        aio::of(slot, mm, 0, aio_cause::LOOK);
    }
    let (op, begin) = (Op(slot.op as u8), slot.begin_ns);
    if !op.may_wait() || emit::now().wrapping_sub(begin) < call::LONG {
        return 0;
    }
    // SAFETY: the iterator's task.
    if unsafe { sleeps_in(task) }.0 != op {
        return 0;
    }
    let kind = (call::family(op) as u16) << 8 | kind::CALL;
    let mut record = CallRecord {
        header: header(kind, size_of::<CallRecord>(), slot),
        call: Call::default(),
    };
    record.call.begin_ns = begin;
    record.call.arguments[0] = slot.before;
    record.call.op = op.0;
    record.call.flags = call_flag::IN_FLIGHT | call_flag::LONG;
    // SAFETY: the iterator's context; a local record.
    unsafe {
        write(
            ctx,
            &raw const record as *const c_void,
            size_of::<CallRecord>(),
        );
    }
    0
}

/// TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE (include/linux/sched.h).
const SLEEPING: u32 = 1 | 2;

/// The call that a task sleeps in, and its first argument; none while it runs, and none in a page
/// fault or an interrupt, where the number is -1 (arch/x86/entry/entry_64.S, v6.18).
///
/// # Safety
/// `task` must be the iterator's task.
#[inline(always)]
unsafe fn sleeps_in(task: u64) -> (Op, u64) {
    // SAFETY: by contract.
    let (state, regs) = unsafe {
        let state: u32 = load(task, offset!(task_state));
        (state, registers_of(task))
    };
    if state & SLEEPING == 0 || regs == 0 {
        return (Op::NONE, 0);
    }
    (Op(maps::handler(number(regs))), Arguments(regs).a0())
}

/// A task that was in a call before it was watched: if it may wait there for long, it is told to
/// wait since now.
///
/// # Safety
/// `task` must be the iterator's task.
#[inline(always)]
unsafe fn begun_before(task: u64, slot: &mut Slot) {
    // SAFETY: by contract.
    let (op, first) = unsafe { sleeps_in(task) };
    // What else may wait begins with something that is noted when it is entered.
    if matches!(
        op,
        Op::FLOCK | Op::CONNECT | Op::ACCEPT | Op::ACCEPT4 | Op::IO_GETEVENTS
    ) && !is_compat(task)
    {
        slot.op = u32::from(op.0);
        slot.begin_ns = emit::now();
        slot.before = first;
    }
}

/// Whether a task is of a process that userspace asked for.
///
/// # Safety
/// `task` must be the iterator's task.
#[inline(always)]
unsafe fn is_target(task: u64) -> bool {
    // SAFETY: by contract.
    let leader: u64 = unsafe { load(task, offset!(task_group_leader)) };
    let key = abi::target_key(tree::ns_pid(leader), tree::start_of(leader));
    maps::has(&maps::TARGETS, TARGET_BUCKETS, key)
}

/// # Safety
/// `task` must be the iterator's task.
#[inline(always)]
unsafe fn join(task: u64) -> Option<Slot> {
    // SAFETY: by contract.
    let leader: u64 = unsafe { load(task, offset!(task_group_leader)) };
    // A thread shares its leader's table as a rule; one that does not is found at its next
    // change of the table.
    let table = match tree::slot_of(leader) {
        Some(other) if leader != task => other.table,
        _ => FOUND_TABLE.next() as u32,
    };
    // SAFETY: by contract.
    let mut slot = slot_for(unsafe { Typed::new(task) }, table);
    // SAFETY: by contract.
    unsafe { begun_before(task, &mut slot) };
    // One that was there by itself meanwhile stays; what is of another task does not.
    let flags = match tree::noted(task) {
        None => aya_ebpf::bindings::BPF_NOEXIST,
        Some(_) => aya_ebpf::bindings::BPF_ANY,
    };
    if TASKS.insert(task, slot, flags.into()).is_err() {
        count_fault(fault::JOIN_FAILED);
        return None;
    }
    Some(slot)
}

/// One fd of one task.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn seed_files(ctx: *mut Context) -> i32 {
    // SAFETY: the kernel's context.
    let (task, fd, file) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx).task),
            core::ptr::read_volatile(&raw const (*ctx).fd),
            core::ptr::read_volatile(&raw const (*ctx).file),
        )
    };
    if task == 0 || file == 0 {
        return 0;
    }
    let Some(slot) = tree::slot_of(task) else {
        return 0;
    };
    let facts = file_facts(file);
    let mut record = FdRecord {
        header: header(kind::FD_SEED, FILE, slot),
        fd: FdAcquire::default(),
    };
    let payload = &raw mut record.fd;
    // SAFETY: a local record.
    unsafe {
        once::identify(&facts, Detail::Full, &raw mut (*payload).identity);
        (*payload).fd = fd as i32;
        (*payload).source_fd = -1;
        (*payload).open_flags = facts.flags;
        (*payload).text.kind = text_kind::NONE;
        let mode = core::ptr::read_volatile(&raw const (*payload).identity.mode);
        let socket = mode & mode::FORMAT == mode::SOCKET;
        if socket {
            record.header.kind = kind::SOCKET_SEED;
            record.header.len = (FILE + size_of::<Ends>()) as u16;
        }
        write(ctx, &raw const record as *const c_void, FILE);
        if socket {
            write_ends(ctx, &facts);
        }
    }
    0
}

/// What a [`leaktrace_common::record::socket::SocketAcquire`] has behind its fd.
#[repr(C)]
struct Ends {
    local: Endpoint,
    peer: Endpoint,
}

/// The second half of a socket's record. On its own: the stack is short.
///
/// # Safety
/// `ctx` must be the iterator's context.
#[inline(never)]
unsafe fn write_ends(ctx: *mut Context, facts: &FileFacts) {
    let mut ends = Ends {
        local: Endpoint::default(),
        peer: Endpoint::default(),
    };
    // SAFETY: a local value; the context by contract.
    unsafe {
        once::ends_of(facts.private_data, &raw mut ends.local, &raw mut ends.peer);
        write(ctx, &raw const ends as *const c_void, size_of::<Ends>());
    }
}

/// Bytes of a record of an fd that is not a socket.
const FILE: usize = size_of::<Header>() + size_of::<FdAcquire>();

/// # Safety
/// `ctx` must be the iterator's context, `record` readable for `len` bytes.
#[inline(always)]
unsafe fn write(ctx: *mut Context, record: *const c_void, len: usize) {
    // SAFETY: by contract.
    unsafe { bpf_seq_write(sequence(ctx), record, len as u32) };
}

/// One fd of one task: written down if its description or its inode is wanted.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn holding_files(ctx: *mut Context) -> i32 {
    // SAFETY: the kernel's context.
    let (task, fd, file) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx).task),
            core::ptr::read_volatile(&raw const (*ctx).fd),
            core::ptr::read_volatile(&raw const (*ctx).file),
        )
    };
    if task != 0 && file != 0 {
        // SAFETY: the iterator's context and task.
        unsafe { holder(ctx, task, file, u64::from(fd), holder_kind::FD) };
    }
    0
}

/// `struct bpf_iter__task_vma` (kernel/bpf/task_iter.c).
#[repr(C)]
struct VmaContext {
    meta: u64,
    task: u64,
    vma: u64,
}

/// One mapping of one task (the iterator is of 5.12): written down if it is of a wanted description or inode.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_vma")]
extern "C" fn holding_mappings(ctx: *mut VmaContext) -> i32 {
    // SAFETY: the kernel's context.
    let (task, vma) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx).task),
            core::ptr::read_volatile(&raw const (*ctx).vma),
        )
    };
    if task == 0 || vma == 0 {
        return 0;
    }
    // SAFETY: the iterator's mapping.
    let (file, start): (u64, u64) =
        unsafe { (load(vma, offset!(vma_file)), load(vma, offset!(vma_start))) };
    if file != 0 {
        // SAFETY: the iterator's context, whose beginning is the same, and task.
        unsafe { holder(ctx.cast(), task, file, start, holder_kind::MAPPING) };
    }
    0
}

/// # Safety
/// `ctx` must be the iterator's context, `task` its task.
#[inline(always)]
unsafe fn holder(ctx: *mut Context, task: u64, file: u64, place: u64, kind: u32) {
    let facts = file_facts(file);
    let ino: u64 = read(facts.inode, offset!(inode_ino));
    // A bound unix socket has an inode of its own beside that of its name.
    let mode: u16 = read(facts.inode, offset!(inode_mode));
    let name = if mode & mode::FORMAT == mode::SOCKET {
        name_of_socket(&facts)
    } else {
        0
    };
    let name_ino: u64 = read(name, offset!(inode_ino));
    let wanted = |key: u64| key != 0 && maps::has(&maps::WANTED, WANTED_BUCKETS, key);
    if !wanted(file) && !wanted(ino) && !wanted(name_ino) {
        return;
    }
    let mut line = Holder::default();
    // SAFETY: a local value; the task and the context by contract.
    unsafe {
        line.file = file;
        line.place = place;
        line.ino = ino;
        line.name_ino = name_ino;
        line.kind = kind;
        line.cred = read(file, offset!(file_cred));
        let sb: u64 = read(facts.inode, offset!(inode_sb));
        (line.dev, line.magic) = device(sb);
        let sb: u64 = read(name, offset!(inode_sb));
        (line.name_dev, _) = device(sb);
        line.mode = u32::from(mode);
        if mode & mode::FORMAT == mode::SOCKET {
            line.state = u32::from(socket_type(facts.private_data).state);
        }
        line.pid = load(task, offset!(task_tgid));
        let leader: u64 = load(task, offset!(task_group_leader));
        line.start_ns = load(leader, offset!(task_start_boottime));
        let comm = Chunk::<2>::read(leader.wrapping_add(u64::from(offset!(task_comm))));
        let words = (&raw mut line.comm).cast::<u64>();
        *words = comm.get(0, 0);
        *words.add(1) = comm.get(0, 8);
        write(ctx, &raw const line as *const c_void, size_of::<Holder>());
    }
}

/// The inode of the name that a unix socket is bound to; 0: none.
#[inline(always)]
fn name_of_socket(facts: &FileFacts) -> u64 {
    // AF_UNIX (include/linux/socket.h)
    if socket_type(facts.private_data).family != 1 {
        return 0;
    }
    let sk = sock_of(facts.private_data);
    let dentry: u64 = read(
        sk,
        offset!(unix_sock_path).wrapping_add(offset!(path_dentry)),
    );
    read(dentry, offset!(dentry_inode))
}
