//! Maps and globals.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LruHashMap, RingBuf},
};
#[cfg(feature = "reduced")]
use aya_ebpf::{helpers::generated::bpf_get_smp_processor_id, maps::PerCpuArray};
#[cfg(not(feature = "reduced"))]
use leaktrace_common::abi::called;
use leaktrace_common::{
    ABI_VERSION,
    abi::{
        self, AGAIN_BUCKETS, ANSWERS, Answer, BUCKET, Config, FamilyCount, Offsets,
        SYSCALL_TABLE_LEN, TABLE_SLOTS, WANTED_BUCKETS, fault,
    },
    record::FAMILY_SLOTS,
};

use crate::{
    atomic::{self, Counter},
    kernel::number,
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
    cpu_bits: 0,
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
#[cfg(not(feature = "reduced"))]
pub static LAST_TABLE: Counter = Counter::new();

/// fds seen whose read(2) makes fds (fanotify, userfaultfd). Until there is one, read(2) is
/// left alone.
pub static MAKERS: Counter = Counter::new();

/// Last walk number given out.
#[cfg(not(feature = "reduced"))]
pub static LAST_WALK: Counter = Counter::new();

/// Last number given out on each CPU.
#[cfg(feature = "reduced")]
#[map]
static NUMBERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(2, 0);

/// Numbers that no two are given, where no addition tells what came of it. No program on a
/// tracepoint is interrupted there by another that takes one; an iterator may be, so it has numbers
/// of its own.
#[cfg(feature = "reduced")]
pub struct Numbers {
    origin: u32,
}

#[cfg(feature = "reduced")]
impl Numbers {
    #[inline(always)]
    pub fn next(&self) -> u64 {
        // SAFETY: no preconditions.
        let cpu = u64::from(unsafe { bpf_get_smp_processor_id() });
        let Some(last) = NUMBERS.get_ptr_mut(self.origin) else {
            return 0;
        };
        // SAFETY: this CPU's map value.
        let number = unsafe {
            *last += 1;
            *last
        };
        (number << 1 | u64::from(self.origin)) << (cpu_bits() & 31) | cpu
    }
}

/// Numbers of fd tables.
#[cfg(feature = "reduced")]
pub static LAST_TABLE: Numbers = Numbers { origin: 0 };

/// Numbers of walks.
#[cfg(feature = "reduced")]
pub static LAST_WALK: Numbers = Numbers { origin: 0 };

/// Numbers of fd tables that an iterator finds.
#[cfg(feature = "reduced")]
pub static FOUND_TABLE: Numbers = Numbers { origin: 1 };

/// Numbers of fd tables that an iterator finds.
#[cfg(not(feature = "reduced"))]
pub use LAST_TABLE as FOUND_TABLE;

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

/// What userspace reads and writes, it does by memory: while a system call of it looks into a map,
/// no program at a function runs on that CPU, and the call may be preempted
/// (`bpf_disable_instrumentation` in kernel/bpf/syscall.c, `trace_call_bpf` in
/// kernel/trace/bpf_trace.c).
const SHARED: u32 = BPF_F_MMAPABLE;

/// Part of a set that userspace writes: see [`abi::BUCKET`].
type Bucket = [u64; BUCKET];

/// Processes that are to be read again, by pid plus one; 1: all of them.
#[map]
pub static AGAIN: Array<Bucket> = Array::with_max_entries(AGAIN_BUCKETS, SHARED);

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
pub static WANTED: Array<Bucket> = Array::with_max_entries(WANTED_BUCKETS, SHARED);

/// Sequence of each fd table, by its number modulo the length. Two tables that fall on one
/// slot leave holes in each other's sequence; the order within each stays right.
#[map]
pub static SEQUENCES: Array<u64> = Array::with_max_entries(TABLE_SLOTS, 0);

/// The walks that are going on, of tracepoints' programs and of iterators.
#[cfg(feature = "reduced")]
#[map]
pub static WALKS: PerCpuArray<crate::probe::walk::Walking> = PerCpuArray::with_max_entries(2, 0);

/// The path that is being written on this CPU.
#[cfg(feature = "reduced")]
#[map]
pub static PATH: PerCpuArray<crate::once::Path> = PerCpuArray::with_max_entries(1, 0);

/// Counters by CPU and family. Userspace sets the size.
#[map]
pub static COUNTS: Array<FamilyCount> = Array::with_max_entries(FAMILY_SLOTS as u32, SHARED);

/// Counters of [`fault`].
#[map]
pub static FAULTS: Array<u64> = Array::with_max_entries(fault::LEN, SHARED);

/// Which of the programs at functions have run, by [`called`].
#[cfg(not(feature = "reduced"))]
#[map]
static CALLED: Array<u64> = Array::with_max_entries(called::LEN, SHARED);

/// Answers to PRCTL_IDENTIFY.
#[map]
pub static IDENTITY: Array<Answer> = Array::with_max_entries(ANSWERS, SHARED);

/// Processes to watch in the targets mode, by [`leaktrace_common::abi::target_key`]. Userspace
/// sets the size.
#[map]
pub static TARGETS: Array<Bucket> = Array::with_max_entries(1, SHARED);

/// Process id of the held child once it has announced itself.
#[map]
pub static ROOT: Array<u64> = Array::with_max_entries(1, SHARED);

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

/// Bits that the number of a CPU has.
#[cfg(feature = "reduced")]
#[inline(always)]
fn cpu_bits() -> u32 {
    constant(&CONFIG.cpu_bits)
}

/// The handler of a syscall number; 0 for none.
#[inline(always)]
pub fn handler(number: u64) -> u8 {
    if number >= SYSCALL_TABLE_LEN as u64 {
        return 0;
    }
    constant(&HANDLERS[number as usize])
}

/// Whether a set of so many buckets has a key that is not zero.
#[inline(always)]
pub fn has(set: &Array<Bucket>, buckets: u32, key: u64) -> bool {
    // The kernel's pointers cannot be multiplied.
    let key = number(key);
    match set.get_ptr(abi::bucket(key, buckets)) {
        // SAFETY: a map value.
        Some(bucket) => unsafe { is_in(bucket, key) },
        None => false,
    }
}

/// On its own: its frame is gone when the program goes deeper.
///
/// # Safety
/// `bucket` must be readable.
#[inline(never)]
unsafe fn is_in(bucket: *const Bucket, key: u64) -> bool {
    // Out at the first: results that are gathered double the verifier's paths with each.
    for place in 0..BUCKET {
        // SAFETY: by contract. Userspace may write it meanwhile; words are whole.
        if unsafe { core::ptr::read_volatile(bucket.cast::<u64>().add(place)) } == key {
            return true;
        }
    }
    false
}

/// Counts a fault.
#[inline(always)]
pub fn count_fault(which: u32) {
    if let Some(counter) = FAULTS.get_ptr_mut(which) {
        // SAFETY: a map value of that type, counted nowhere else.
        unsafe { atomic::add(counter, 1) };
    }
}

/// Notes that a program at a function runs. Looked at first: a word that every CPU writes would go from
/// one to the other.
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub fn note_call(which: u32) {
    if let Some(word) = CALLED.get_ptr_mut(which) {
        // SAFETY: a map value of that type, to which nothing but 1 is written.
        unsafe {
            if core::ptr::read_volatile(word) == 0 {
                core::ptr::write_volatile(word, 1);
            }
        }
    }
}
