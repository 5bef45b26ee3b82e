//! SysV ipc and POSIX message queues.

use leaktrace_common::{
    abi::Op,
    record::{
        Family,
        ipc::{IpcGet, IpcRemove, MqOpen, MqUnlink, ShmAttach, ShmDetach, created, what},
        kind,
    },
};

use super::{
    Arguments,
    file::{self, errno},
    path,
};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{Detail, offset, read},
    tree::{self, Slot},
};

const IPC_CREAT: u32 = 0o1000;
const IPC_EXCL: u32 = 0o2000;
const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;

/// The ipc namespace of the current task and its inode number.
#[inline(always)]
fn namespace() -> (u64, u32) {
    let proxy: u64 = read(tree::current(), offset!(task_nsproxy));
    let namespace: u64 = read(proxy, offset!(nsproxy_ipc));
    (namespace, read(namespace, offset!(ipc_ns_inum)))
}

/// How many of a kind the namespace has. `ids` is indexed by IPC_SEM_IDS 0, IPC_MSG_IDS 1,
/// IPC_SHM_IDS 2 (ipc/util.h).
#[inline(always)]
fn population(op: Op) -> u32 {
    let (namespace, _) = namespace();
    let index = match op {
        Op::SEMGET => 0,
        Op::MSGGET => 1,
        Op::SHMGET => 2,
        _ => return read(namespace, offset!(ipc_ns_mq_count)),
    };
    let place = offset!(ipc_ns_ids)
        .wrapping_add(offset!(ipc_ids_size).wrapping_mul(index))
        .wrapping_add(offset!(ipc_ids_in_use));
    read(namespace, place)
}

/// A get is entered: how many there are before it.
#[inline(always)]
pub fn begin(slot: &mut Slot, op: Op) {
    slot.before = u64::from(population(op));
}

#[inline(always)]
fn was_created(slot: &Slot, op: Op, private: bool, creates: bool, exclusive: bool) -> u32 {
    if private || (creates && exclusive) {
        created::YES
    } else if creates && u64::from(population(op)) > slot.before {
        created::LIKELY
    } else {
        created::NO
    }
}

/// shmget, semget, msgget returned.
#[inline(always)]
pub fn get(slot: &mut Slot, op: Op, result: i64) {
    let arguments = Arguments::current();
    const SIZE: usize = HEADER + size_of::<IpcGet>();
    if result < 0 {
        return;
    }
    let (which, size, flags) = match op {
        Op::SHMGET => (what::SHM, arguments.a1(), arguments.a2() as u32),
        Op::SEMGET => (
            what::SEM,
            arguments.a1() & 0xffff_ffff,
            arguments.a2() as u32,
        ),
        _ => (what::MSG, 0, arguments.a1() as u32),
    };
    let key = arguments.a0() as u32;
    let made = was_created(
        slot,
        op,
        key == 0,
        flags & IPC_CREAT != 0,
        flags & IPC_EXCL != 0,
    );
    let record = emit::reserve_vital::<SIZE>(Family::Ipc);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<IpcGet>();
        (*payload).size = size;
        (*payload).what = which;
        (*payload).id = result as i32;
        (*payload).key = key;
        (*payload).flags = flags;
        (*payload).ipc_ns = namespace().1;
        (*payload).created = made;
        emit::finish(record, kind::IPC_GET, SIZE, slot, Position::default());
    }
}

/// shmctl, semctl, msgctl returned; only IPC_RMID (0) matters. IPC_64 (0x100) may be or'ed in.
#[inline(always)]
pub fn control(slot: &mut Slot, op: Op, result: i64) {
    let arguments = Arguments::current();
    const SIZE: usize = HEADER + size_of::<IpcRemove>();
    let (which, command) = match op {
        Op::SHMCTL => (what::SHM, arguments.a1()),
        Op::SEMCTL => (what::SEM, arguments.a2()),
        _ => (what::MSG, arguments.a1()),
    };
    if command & 0xff != 0 {
        return;
    }
    let record = emit::reserve_vital::<SIZE>(Family::Ipc);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<IpcRemove>();
        (*payload).begin_ns = slot.begin_ns;
        (*payload).what = which;
        (*payload).id = arguments.a0() as i32;
        (*payload).ipc_ns = namespace().1;
        (*payload).errno = errno(result);
        emit::finish(record, kind::IPC_REMOVE, SIZE, slot, Position::default());
    }
}

/// shmat returned.
#[inline(always)]
pub fn attach(slot: &mut Slot, id: u64, result: i64) {
    const SIZE: usize = HEADER + size_of::<ShmAttach>();
    if (-4095..0).contains(&result) {
        return;
    }
    let record = emit::reserve_vital::<SIZE>(Family::Ipc);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<ShmAttach>();
        (*payload).mm = tree::current_mm();
        (*payload).address = result as u64;
        (*payload).id = id as i32;
        (*payload).ipc_ns = namespace().1;
        emit::finish(record, kind::SHM_ATTACH, SIZE, slot, Position::default());
    }
}

/// shmdt returned.
#[inline(always)]
pub fn detach(slot: &mut Slot, address: u64, result: i64) {
    const SIZE: usize = HEADER + size_of::<ShmDetach>();
    let record = emit::reserve_vital::<SIZE>(Family::Ipc);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<ShmDetach>();
        (*payload).mm = tree::current_mm();
        (*payload).address = address;
        (*payload).begin_ns = slot.begin_ns;
        (*payload).errno = errno(result);
        (*payload).reserved = 0;
        emit::finish(record, kind::SHM_DETACH, SIZE, slot, Position::default());
    }
}

/// Longest name of a queue with its NUL (NAME_MAX).
const AREA: usize = 256;

/// mq_open returned.
#[inline(always)]
pub fn mq_open(slot: &mut Slot, result: i64) {
    let arguments = Arguments::current();
    const FIXED: usize = HEADER + size_of::<MqOpen>();
    let Some((table, facts)) = file::returned(slot, result) else {
        return;
    };
    let flags = arguments.a1() as u32;
    let made = was_created(
        slot,
        Op::MQ_OPEN,
        false,
        flags & O_CREAT != 0,
        flags & O_EXCL != 0,
    );
    let record = emit::reserve_vital::<{ FIXED + AREA }>(Family::Ipc);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for header, payload and the area.
    unsafe {
        let payload = record.add(HEADER).cast::<MqOpen>();
        (*payload).created = made;
        (*payload).ipc_ns = namespace().1;
        let fd = &raw mut (*payload).fd;
        file::fill(fd, &facts, Op::MQ_OPEN, result as i32, -1, Detail::Full);
        (*fd).area = AREA as u16;
        let text = &raw mut (*fd).text;
        path::user::<AREA>(arguments.a0(), record.add(FIXED), text);
        let len = FIXED + path::len(text);
        emit::finish(
            record,
            kind::MQ_OPEN,
            len,
            slot,
            emit::position(slot, &table),
        );
    }
}

/// mq_unlink returned.
#[inline(always)]
pub fn mq_unlink(slot: &mut Slot, name: u64, result: i64) {
    const FIXED: usize = HEADER + size_of::<MqUnlink>();
    let record = emit::reserve_vital::<{ FIXED + AREA }>(Family::Ipc);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for header, payload and the area.
    unsafe {
        let payload = record.add(HEADER).cast::<MqUnlink>();
        (*payload).begin_ns = slot.begin_ns;
        (*payload).errno = errno(result);
        (*payload).ipc_ns = namespace().1;
        (*payload).area = AREA as u16;
        (*payload).reserved = 0;
        let text = &raw mut (*payload).text;
        path::user::<AREA>(name, record.add(FIXED), text);
        let len = FIXED + path::len(text);
        emit::finish(record, kind::MQ_UNLINK, len, slot, Position::default());
    }
}
