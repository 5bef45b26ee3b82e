//! Maps and globals.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use leaktrace_common::{
    ABI_VERSION,
    abi::{Config, FamilyCount, Offsets, SYSCALL_TABLE_LEN, TABLE_SLOTS, fault},
    record::{FAMILY_SLOTS, FileIdentity},
};

use crate::{
    atomic::{self, Counter},
    tree::Slot,
};

/// What userspace chose for this run.
#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    abi: ABI_VERSION,
    mode: 0,
    nonce: 0,
    self_pid: 0,
    deputy_pid: 0,
    wake_bytes: 0,
    target_cgroup: 0,
    target_level: 0,
    stacks: 0,
    reserved: 0,
};

/// Where this kernel keeps what.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::UNKNOWN;

/// Syscall number to [`leaktrace_common::abi::Op`].
#[unsafe(no_mangle)]
static HANDLERS: [u8; SYSCALL_TABLE_LEN] = [0; SYSCALL_TABLE_LEN];

/// Records lost by all families; every record carries it, so that a gap is seen in-band.
pub static DROPPED: Counter = Counter::new();

/// Last fd table number given out.
pub static LAST_TABLE: Counter = Counter::new();

/// fds seen whose read(2) makes fds (fanotify, userfaultfd). Until there is one, read(2) is
/// left alone.
pub static MAKERS: Counter = Counter::new();

/// Last walk number given out.
pub static LAST_WALK: Counter = Counter::new();

/// `f_op` of io_uring files, once somebody has made one: by it a close knows a ring.
pub static RING_OPERATIONS: Counter = Counter::new();

/// Records on their way to userspace. Userspace sets the size.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(1 << 24, 0);

/// Bytes of the spare ring.
pub const SPARE_BYTES: u64 = 4 << 20;

/// Records that cannot be replaced and for which the ring has no room: a storm of one family
/// must not hide a birth, an end or a name.
#[map]
pub static SPARE: RingBuf = RingBuf::with_byte_size(SPARE_BYTES as u32, 0);

/// Processes that are to be read again, by pid; 0: all of them.
#[map]
pub static AGAIN: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);

/// The watched tasks by the address of their task_struct: that address cannot be used again
/// before sched_process_free, which a pid can (it is free at release_task, 8-32 ms earlier).
#[map]
pub static TASKS: HashMap<u64, Slot> = HashMap::with_max_entries(32768, 0);

/// Who made a ring, by the address of the work that ends it.
#[map]
pub static RINGS: HashMap<u64, Slot> = HashMap::with_max_entries(1024, 0);

/// Requests of io_uring to close an fd, by the address of the request: when they were made.
#[map]
pub static CLOSING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(4096, 0);

/// Requests of io_uring to accept connections, by ring and user data: one may complete many
/// times, and those completions name no request.
#[map]
pub static ACCEPTING: LruHashMap<[u64; 2], u8> = LruHashMap::with_max_entries(4096, 0);

/// What the iterators look for: addresses of `struct file` and inode numbers, which cannot be
/// mistaken for each other.
#[map]
pub static WANTED: HashMap<u64, u8> = HashMap::with_max_entries(4096, 0);

/// Sequence of each fd table, by its number modulo the length. Two tables that fall on one
/// slot leave holes in each other's sequence; the order within each stays right.
#[map]
pub static SEQUENCES: Array<u64> = Array::with_max_entries(TABLE_SLOTS, 0);

/// Counters by family.
#[map]
pub static COUNTS: PerCpuArray<FamilyCount> = PerCpuArray::with_max_entries(FAMILY_SLOTS as u32, 0);

/// Counters of [`fault`].
#[map]
pub static FAULTS: Array<u64> = Array::with_max_entries(fault::LEN, 0);

/// Answers to PRCTL_IDENTIFY by fd.
#[map]
pub static IDENTITY: HashMap<u64, FileIdentity> = HashMap::with_max_entries(256, 0);

/// Processes to watch in the targets mode, by [`leaktrace_common::abi::target_key`]. Userspace
/// sets the size.
#[map]
pub static TARGETS: HashMap<u64, u8> = HashMap::with_max_entries(1, 0);

/// Process id of the held child once it has announced itself.
#[map]
pub static ROOT: Array<u64> = Array::with_max_entries(1, 0);

/// The value of a read-only global. Volatile: userspace replaces its bytes before load, so the
/// compiler must not know it; the verifier does.
#[inline(always)]
pub fn constant<T: Copy>(place: &T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::read_volatile(place) }
}

macro_rules! config {
    ($($name:ident: $type:ty,)*) => {
        $(
            #[doc = concat!("`CONFIG.", stringify!($name), "`, a constant to the verifier.")]
            #[inline(always)]
            pub fn $name() -> $type {
                constant(&CONFIG.$name)
            }
        )*
    };
}

config! {
    mode: u32,
    nonce: u64,
    self_pid: u32,
    deputy_pid: u32,
    wake_bytes: u32,
    target_cgroup: u64,
    target_level: u32,
    stacks: u32,
}

/// The handler of a syscall number; 0 for none.
#[inline(always)]
pub fn handler(number: u64) -> u8 {
    if number >= SYSCALL_TABLE_LEN as u64 {
        return 0;
    }
    constant(&HANDLERS[number as usize])
}

/// Counts a fault.
#[inline(always)]
pub fn count_fault(which: u32) {
    if let Some(counter) = FAULTS.get_ptr_mut(which) {
        // SAFETY: a map value of that type, counted nowhere else.
        unsafe { atomic::add(counter, 1) };
    }
}
