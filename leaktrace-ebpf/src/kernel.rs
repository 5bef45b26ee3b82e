//! Reading kernel structures.
//!
//! Two ways. [`load`] follows a pointer that the verifier knows the type of (a tracepoint's
//! argument, the current task, and what is reached from them member by member): about 1 ns, and
//! the kernel catches faults. [`read`] copies from any address: about 15 ns. Where the offset is
//! missing in this kernel both give zero, and userspace has declared the family partial.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use leaktrace_common::{
    abi::NO_OFFSET,
    record::{FileIdentity, SocketType},
};

/// Byte offset of a member of [`leaktrace_common::abi::Offsets`], as the verifier's constant.
macro_rules! offset {
    ($name:ident) => {
        $crate::maps::constant(&$crate::maps::OFFSETS.$name)
    };
}
pub(crate) use offset;

/// Loads a member through a pointer whose type the verifier knows. For numbers: where the member is
/// a pointer, the verifier searches all types of the kernel by name, several times
/// (btf_nested_type_is_trusted in kernel/bpf/btf.c, v6.2), which takes it longer than all else; it
/// is [`read`] better where every nanosecond does not count.
///
/// Not for a tracepoint's argument that is compared with 0 anywhere, as [`read`] does it: some kernels
/// take every argument for one that may be (`PTR_MAYBE_NULL` in `btf_ctx_access`, kernel/bpf/btf.c;
/// Ubuntu's 6.8 is one), and refuse what follows it after that.
///
/// # Safety
/// `base` must be such a pointer, not null, and `T` no larger than the member.
#[cfg(not(feature = "reduced"))]
#[inline(always)]
pub unsafe fn load<T: Copy + Default>(base: u64, offset: u32) -> T {
    if offset == NO_OFFSET {
        return T::default();
    }
    // SAFETY: by contract; the kernel handles faults of BTF pointers.
    unsafe { core::ptr::read_volatile((base as *const u8).add(offset as usize).cast::<T>()) }
}

/// As [`read`]: the reduced object knows no types.
///
/// # Safety
/// None.
#[cfg(feature = "reduced")]
#[inline(always)]
pub unsafe fn load<T: Copy + Default>(base: u64, offset: u32) -> T {
    read(base, offset)
}

/// Copies a member from any kernel address; zero if that cannot be read.
#[inline(always)]
pub fn read<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // The helper gives zeros for 0 as well: without the question there is one way less on, which
    // counts where loops are gone through round by round.
    if offset != NO_OFFSET && (cfg!(feature = "reduced") || base != 0) {
        // SAFETY: the destination is `size_of::<T>()` bytes; the helper checks the source and
        // zeroes the destination on failure.
        unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                (base + u64::from(offset)) as *const _,
            );
        }
    }
    // SAFETY: zeroed, then filled; used with integers and arrays of them only.
    unsafe { value.assume_init() }
}

/// A task whose members are read.
pub trait Task: Copy {
    /// Its address.
    fn address(self) -> u64;
    /// A member.
    fn member<T: Copy + Default>(self, offset: u32) -> T;
    /// Its fd table; `files` is 0 if it has none.
    fn table(self) -> Table;
}

/// A task by a pointer that the verifier knows the type of.
#[derive(Clone, Copy)]
pub struct Typed(u64);

impl Typed {
    /// # Safety
    /// `task` must be such a pointer, not null.
    #[inline(always)]
    pub unsafe fn new(task: u64) -> Self {
        Typed(task)
    }
}

impl Task for Typed {
    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }
    #[inline(always)]
    fn member<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: by contract of `new`.
        unsafe { load(self.0, offset) }
    }
    #[inline(always)]
    fn table(self) -> Table {
        // SAFETY: by contract of `new`.
        unsafe { table_of(self.0) }
    }
}

/// A task by its address, as functions of the kernel are given it.
#[derive(Clone, Copy)]
pub struct Address(pub u64);

impl Task for Address {
    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }
    #[inline(always)]
    fn member<T: Copy + Default>(self, offset: u32) -> T {
        read(self.0, offset)
    }
    #[inline(always)]
    fn table(self) -> Table {
        let mut table = MaybeUninit::uninit();
        fill(self.0, &mut table);
        // SAFETY: filled.
        unsafe { table.assume_init() }
    }
}

/// The number of an address whose type the verifier knows: functions that it looks at on their
/// own take no such pointers.
#[inline(always)]
pub fn number(pointer: u64) -> u64 {
    read((&raw const pointer) as u64, 0)
}

/// The same number, of which the compiler knows nothing: what it knows of an index by a
/// comparison makes it leave out the mask by which the verifier of 6.1 knows it.
#[inline(always)]
pub fn opaque(value: u32) -> u32 {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::read_volatile(&raw const value) }
}

/// A copy of the first `N * 8` bytes of a structure, from which members are taken: one helper
/// call instead of one per member.
#[repr(transparent)]
pub struct Chunk<const N: usize>(MaybeUninit<[u64; N]>);

impl<const N: usize> Chunk<N> {
    /// Room for a copy.
    #[inline(always)]
    fn none() -> Self {
        Chunk(MaybeUninit::uninit())
    }

    /// Copies from `base`; zeros if that cannot be read.
    #[inline(always)]
    pub fn read(base: u64) -> Self {
        let mut chunk = Chunk::none();
        chunk.fill(base);
        chunk
    }

    /// Copies from another place over what is there: the stack is short.
    #[inline(always)]
    pub fn fill(&mut self, base: u64) {
        if N == 0 {
            return;
        }
        // SAFETY: the destination is N * 8 bytes; the helper fills or zeroes all of it.
        unsafe {
            bpf_probe_read_kernel(self.0.as_mut_ptr().cast(), (N * 8) as u32, base as *const _);
        }
    }

    /// A member; read on its own if the copy does not reach that far in this kernel.
    #[inline(always)]
    pub fn get<T: Copy>(&self, base: u64, offset: u32) -> T {
        if offset as usize + size_of::<T>() <= N * 8 {
            // SAFETY: within the copy, which the helper filled.
            unsafe {
                core::ptr::read_volatile(
                    self.0
                        .as_ptr()
                        .cast::<u8>()
                        .add(offset as usize)
                        .cast::<T>(),
                )
            }
        } else {
            read::<T>(base, offset)
        }
    }
}

/// S_IFMT and what it selects (include/uapi/linux/stat.h).
pub mod mode {
    /// Mask.
    pub const FORMAT: u16 = 0o170_000;
    /// Socket.
    pub const SOCKET: u16 = 0o140_000;
}

/// `ANON_INODE_FS_MAGIC` (include/uapi/linux/magic.h).
const ANON_INODE_MAGIC: u32 = 0x0904_1934;

/// `TMPFS_MAGIC` (include/uapi/linux/magic.h): memfds are told from files by their names.
const TMPFS_MAGIC: u32 = 0x0102_1994;

/// Members of a `struct file`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct FileFacts {
    pub file: u64,
    pub inode: u64,
    pub private_data: u64,
    pub mnt: u64,
    pub dentry: u64,
    pub mode: u32,
    pub flags: u32,
}

/// Reads what later steps need of a `struct file`.
#[inline(always)]
pub fn file_facts(file: u64) -> FileFacts {
    if cfg!(feature = "reduced") {
        return facts_in(file, &Chunk::<0>::none());
    }
    let mut chunk = MaybeUninit::uninit();
    file_facts_by(file, &mut chunk)
}

/// Room for the part of a `struct file` that holds its members.
pub type FileRoom = MaybeUninit<[u64; 12]>;

/// As [`file_facts`], by way of room that the caller has: elsewhere than on the stack, where
/// that is short.
#[inline(always)]
pub fn file_facts_by(file: u64, room: &mut FileRoom) -> FileFacts {
    // SAFETY: the same bytes; a chunk is nothing else.
    let chunk = unsafe { &mut *(&raw mut *room).cast::<Chunk<12>>() };
    chunk.fill(file);
    facts_in(file, chunk)
}

#[inline(always)]
fn facts_in<const N: usize>(file: u64, chunk: &Chunk<N>) -> FileFacts {
    let path = offset!(file_path);
    FileFacts {
        file,
        inode: chunk.get(file, offset!(file_inode)),
        private_data: chunk.get(file, offset!(file_private_data)),
        mnt: chunk.get(file, path.wrapping_add(offset!(path_mnt))),
        dentry: chunk.get(file, path.wrapping_add(offset!(path_dentry))),
        mode: chunk.get(file, offset!(file_mode)),
        flags: chunk.get(file, offset!(file_flags)),
    }
}

/// Whether the identity of a named file is wanted in full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Without the inode's generation.
    Basic,
    /// With generation and reference count.
    Full,
}

/// What is read of an inode and of a superblock at once.
#[cfg(not(feature = "reduced"))]
type Inode = Chunk<9>;
/// Nothing, each member on its own: there functions have their frames all at once.
#[cfg(feature = "reduced")]
type Inode = Chunk<0>;

/// Writes the identity of a file to `out`.
///
/// # Safety
/// `out` must be writable for a [`FileIdentity`].
#[inline(always)]
pub unsafe fn identify(facts: &FileFacts, detail: Detail, out: *mut FileIdentity) {
    // As far as i_ino; the stack of all that calls this is short, so s_magic, further on in the
    // superblock, is read on its own.
    let mut chunk = Inode::none();
    chunk.fill(facts.inode);
    let mode: u16 = chunk.get(facts.inode, offset!(inode_mode));
    let sb: u64 = chunk.get(facts.inode, offset!(inode_sb));
    let ino: u64 = chunk.get(facts.inode, offset!(inode_ino));
    chunk.fill(sb);
    let dev: u32 = chunk.get(sb, offset!(sb_dev));
    let magic: u32 = chunk.get::<u64>(sb, offset!(sb_magic)) as u32;
    let mut generation = 0;
    let mut count = 0u16;
    if detail == Detail::Full {
        generation = read::<u32>(facts.inode, offset!(inode_generation));
        count = references(facts.file);
    }
    // SAFETY: by contract.
    unsafe {
        (*out).file = facts.file;
        (*out).ino = ino;
        (*out).dev = dev;
        (*out).generation = generation;
        (*out).mode = mode;
        (*out).count = count;
        (*out).magic = magic;
        let words = (&raw mut (*out).detail).cast::<u64>();
        if mode & mode::FORMAT == mode::SOCKET {
            let socket = socket_type(facts.private_data);
            *words = u64::from(socket.family)
                | u64::from(socket.type_) << 16
                | u64::from(socket.protocol) << 32
                | u64::from(socket.state) << 48;
            words.add(1).write_volatile(0);
        } else if magic == ANON_INODE_MAGIC || detail == Detail::Full && magic == TMPFS_MAGIC {
            let name: u64 = read(
                facts.dentry,
                offset!(dentry_name).wrapping_add(offset!(qstr_name)),
            );
            zero(words);
            aya_ebpf::helpers::generated::bpf_probe_read_kernel_str(
                words.cast(),
                RING_NAME,
                name as *const _,
            );
        } else {
            zero(words);
        }
    }
}

/// Zeroes two words. Volatile: put together they would become a call of memset, whose frame
/// takes of the stack.
///
/// # Safety
/// `words` must be writable for two of them.
#[inline(always)]
unsafe fn zero(words: *mut u64) {
    // SAFETY: by contract.
    unsafe {
        words.write_volatile(0);
        words.add(1).write_volatile(0);
    }
}

/// Bytes of the name that are taken; what follows is for a ring's requests in flight, which
/// walks fill in.
const RING_NAME: u32 = 12;

/// How the name of a ring's file begins: `[io_uring]`.
pub const IO_URING: u64 = u64::from_le_bytes(*b"[io_urin");

/// Requests of a ring that were taken and have posted no completion. One that is told to post
/// none (IOSQE_CQE_SKIP_SUCCESS) counts for ever, one that posts several (multishot) hides
/// others: then there are none by this count.
#[inline(always)]
pub fn in_flight(ring: u64) -> u32 {
    let taken: u32 = read(ring, offset!(ring_sq_head));
    let completed: u32 = read(ring, offset!(ring_cq_tail));
    let difference = taken.wrapping_sub(completed);
    if difference > MOST_ENTRIES {
        0
    } else {
        difference
    }
}

/// IORING_MAX_CQ_ENTRIES (io_uring/io_uring.h): more are no difference but a wrap.
const MOST_ENTRIES: u32 = 65536;

/// `s_dev` and `s_magic` of a superblock.
#[inline(always)]
pub fn device(sb: u64) -> (u32, u32) {
    let chunk = Chunk::<13>::read(sb);
    let dev: u32 = chunk.get(sb, offset!(sb_dev));
    let magic: u64 = chunk.get(sb, offset!(sb_magic));
    (dev, magic as u32)
}

/// References to a description. `file_ref_t` (since 6.13) counts from -1
/// (include/linux/file_ref.h: 0 means one reference), `f_count` before from 0.
#[inline(always)]
pub fn references(file: u64) -> u16 {
    let raw: u64 = read(file, offset!(file_count));
    let count = raw.wrapping_add(u64::from(offset!(file_count_base)));
    if count > 0xffff { 0xffff } else { count as u16 }
}

/// Who opened a description to which there is more than one reference: half of the address of
/// the credentials that it keeps; 0 of others.
#[inline(always)]
pub fn credentials(file: u64, count: u32) -> u32 {
    if count > 1 {
        read(file, offset!(file_cred))
    } else {
        0
    }
}

/// Address of the `struct sock` of a `struct socket`.
#[inline(always)]
pub fn sock_of(socket: u64) -> u64 {
    read(socket, offset!(socket_sk))
}

/// Family, type, protocol and state.
#[inline(always)]
pub fn socket_type(socket: u64) -> SocketType {
    let sk = sock_of(socket);
    SocketType {
        family: read(sk, offset!(sock_family)),
        type_: read(socket, offset!(socket_type)),
        protocol: read(sk, offset!(sock_protocol)),
        state: u16::from(read::<u8>(sk, offset!(sock_state))),
        reserved: [0; 8],
    }
}

/// Members of the fd table of the current task.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Table {
    pub files: u64,
    pub next_fd: u32,
    pub max_fds: u32,
    pub fds: u64,
    pub open: u64,
    pub cloexec: u64,
}

/// The fd table of a task whose type the verifier knows; `files` is 0 if it has none.
///
/// # Safety
/// `task` must be such a pointer.
#[inline(always)]
pub unsafe fn table_of(task: u64) -> Table {
    // SAFETY: by contract; every step is checked for null.
    unsafe {
        let files: u64 = load(task, offset!(task_files));
        let none = Table {
            files: 0,
            next_fd: 0,
            max_fds: 0,
            fds: 0,
            open: 0,
            cloexec: 0,
        };
        if files == 0 {
            return none;
        }
        let next_fd: u32 = load(files, offset!(files_next_fd));
        let fdt: u64 = load(files, offset!(files_fdt));
        if fdt == 0 {
            return none;
        }
        Table {
            files,
            next_fd,
            max_fds: load(fdt, offset!(fdtable_max_fds)),
            fds: load(fdt, offset!(fdtable_fd)),
            open: load(fdt, offset!(fdtable_open_fds)),
            cloexec: load(fdt, offset!(fdtable_close_on_exec)),
        }
    }
}

/// The fd table of any task; `files` is 0 if it has none.
#[inline(always)]
pub fn table_at(task: u64) -> Table {
    let files: u64 = read(task, offset!(task_files));
    let fdt: u64 = read(files, offset!(files_fdt));
    Table {
        files: if fdt == 0 { 0 } else { files },
        next_fd: read(files, offset!(files_next_fd)),
        max_fds: read(fdt, offset!(fdtable_max_fds)),
        fds: read(fdt, offset!(fdtable_fd)),
        open: read(fdt, offset!(fdtable_open_fds)),
        cloexec: read(fdt, offset!(fdtable_close_on_exec)),
    }
}

/// As [`table_at`]. On its own: its frame is gone when the table is walked.
#[inline(never)]
fn fill(task: u64, out: &mut MaybeUninit<Table>) {
    out.write(table_at(task));
}

/// The `struct file` at a number of a table; 0 for none.
#[inline(always)]
pub fn file_at(table: &Table, fd: u64) -> u64 {
    if table.files == 0 || fd >= u64::from(table.max_fds) {
        return 0;
    }
    read(table.fds.wrapping_add(fd * 8), 0)
}

/// Bits that are set, in parallel: there is no popcount instruction.
#[inline(always)]
pub fn ones(mut word: u64) -> u32 {
    word -= word >> 1 & 0x5555_5555_5555_5555;
    word = (word & 0x3333_3333_3333_3333) + (word >> 2 & 0x3333_3333_3333_3333);
    word = word + (word >> 4) & 0x0f0f_0f0f_0f0f_0f0f;
    (word.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32
}
