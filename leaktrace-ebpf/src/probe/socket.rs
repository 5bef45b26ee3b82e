//! Sockets.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use leaktrace_common::{
    abi::Op,
    record::{
        Family, FileIdentity, TextRef,
        file::acquire_flag,
        kind,
        socket::{Endpoint, SocketAcquire, SocketName},
        text_flag, text_kind,
    },
};

use super::{Arguments, file, path};
use crate::{
    emit::{self, HEADER, Position},
    kernel::{Detail, FileFacts, Table, device, file_at, file_facts, offset, read, sock_of},
    once,
    tree::{self, Slot},
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// socket, accept, accept4 returned.
#[inline(always)]
pub fn acquire(slot: &mut Slot, op: Op, result: i64, source: u64) {
    const SIZE: usize = HEADER + size_of::<SocketAcquire>();
    let Some((table, facts)) = file::returned(slot, result) else {
        return;
    };
    let record = emit::reserve::<SIZE>(Family::Socket);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        let payload = record.add(HEADER).cast::<SocketAcquire>();
        let fd = &raw mut (*payload).fd;
        file::fill(fd, &facts, op, result as i32, source as i32, Detail::Basic);
        (*fd).area = 0;
        path::none(&raw mut (*fd).text);
        once::ends_of(
            facts.private_data,
            &raw mut (*payload).local,
            &raw mut (*payload).peer,
        );
        emit::finish(
            record,
            kind::SOCKET_ACQUIRE,
            SIZE,
            slot,
            emit::position(slot, &table),
        );
    }
}

/// A socket is in a table by which way ever; see [`file::found`].
#[inline(always)]
pub fn found(slot: &mut Slot, table: &Table, facts: &FileFacts, op: Op, number: u32) {
    const SIZE: usize = HEADER + size_of::<SocketAcquire>();
    let record = emit::reserve::<SIZE>(Family::Socket);
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for both.
    unsafe {
        if file_at(table, u64::from(number)) != facts.file {
            emit::withdraw(Family::Socket, record);
            return;
        }
        let payload = record.add(HEADER).cast::<SocketAcquire>();
        let fd = &raw mut (*payload).fd;
        file::fill(fd, facts, op, number as i32, -1, Detail::Basic);
        (*fd).flags |= acquire_flag::FOUND;
        (*fd).area = 0;
        path::none(&raw mut (*fd).text);
        once::ends_of(
            facts.private_data,
            &raw mut (*payload).local,
            &raw mut (*payload).peer,
        );
        emit::finish(record, kind::SOCKET_ACQUIRE, SIZE, slot, file::seen(table));
    }
}

/// socketpair returned; the numbers are in user memory.
#[inline(always)]
pub fn pair(slot: &mut Slot, address: u64, result: i64) {
    if result != 0 {
        return;
    }
    let (first, second) = file::pair(address);
    once::socket::acquire(slot, Op::SOCKETPAIR, first, u64::MAX);
    once::socket::acquire(slot, Op::SOCKETPAIR, second, u64::MAX);
}

/// Writes both ends of an internet socket; zeros for others.
///
/// # Safety
/// Both must be writable.
#[inline(always)]
pub unsafe fn ends_of(socket: u64, local: *mut Endpoint, peer: *mut Endpoint) {
    let sk = sock_of(socket);
    let family: u16 = read(sk, offset!(sock_family));
    let mut here = [0u64; 2];
    let mut there = [0u64; 2];
    let mut ports = (0u16, 0u16);
    if family == AF_INET {
        here[0] = u64::from(read::<u32>(sk, offset!(sock_rcv_saddr)));
        there[0] = u64::from(read::<u32>(sk, offset!(sock_daddr)));
    } else if family == AF_INET6 {
        here = read(sk, offset!(sock_v6_rcv_saddr));
        there = read(sk, offset!(sock_v6_daddr));
    }
    if family == AF_INET || family == AF_INET6 {
        // skc_num is in host order, skc_dport in network order (include/net/sock.h).
        ports = (
            read(sk, offset!(sock_num)),
            u16::from_be(read(sk, offset!(sock_dport))),
        );
    }
    // SAFETY: by contract.
    unsafe {
        store(local, here, ports.0);
        store(peer, there, ports.1);
    }
}

/// # Safety
/// `out` must be writable.
#[inline(always)]
unsafe fn store(out: *mut Endpoint, address: [u64; 2], port: u16) {
    let words = out.cast::<u64>();
    // SAFETY: an endpoint is three words: address, then port with padding.
    unsafe {
        *words = address[0];
        *words.add(1) = address[1];
        *words.add(2) = u64::from(port);
    }
}

const AREA: usize = 1024;

/// bind, listen, connect returned.
#[inline(always)]
pub fn name(slot: &mut Slot, op: Op, result: i64) {
    let arguments = Arguments::current();
    const FIXED: usize = HEADER + size_of::<SocketName>();
    const SIZE: usize = FIXED + 2 * AREA;
    let table = file::current_table_by_address(slot);
    let fd = arguments.a0() as u32;
    let address = file_at(&table, u64::from(fd));
    if address == 0 {
        return;
    }
    let facts = file_facts(address);
    // A listener may outlive the process.
    let record = if op != Op::CONNECT {
        emit::reserve_vital::<SIZE>(Family::Socket)
    } else {
        emit::reserve::<SIZE>(Family::Socket)
    };
    if record.is_null() {
        return;
    }
    // SAFETY: the record has room for header, payload and two areas.
    unsafe {
        let payload = record.add(HEADER).cast::<SocketName>();
        once::identify(&facts, Detail::Basic, &raw mut (*payload).identity);
        once::ends_of(
            facts.private_data,
            &raw mut (*payload).local,
            &raw mut (*payload).peer,
        );
        (*payload).fd = fd as i32;
        (*payload).errno = file::errno(result);
        (*payload).mnt_ns = path::mount_namespace(tree::current_typed());
        (*payload).op = op.0;
        (*payload).reserved = 0;
        (*payload).area = AREA as u16;
        clear(&raw mut (*payload).name_identity);
        let text = (&raw mut (*payload).text).cast::<TextRef>();
        path::none(text);
        path::none(text.add(1));
        let mut len = FIXED;
        let sk = sock_of(facts.private_data);
        if read::<u16>(sk, offset!(sock_family)) == AF_UNIX && op != Op::LISTEN {
            passed(arguments, record.add(FIXED), text);
            len = FIXED + AREA;
            if op == Op::BIND && result == 0 {
                let out = record.add(FIXED + AREA);
                made(sk, &raw mut (*payload).name_identity, out, text.add(1));
                len = FIXED + AREA + path::len(text.add(1));
            }
        }
        emit::finish(record, kind::SOCKET_NAME, len, slot, Position::default());
    }
}

/// # Safety
/// `out` must be writable.
#[inline(always)]
unsafe fn clear(out: *mut FileIdentity) {
    let words = out.cast::<u64>();
    let mut i = 0;
    while i < size_of::<FileIdentity>() / 8 {
        // SAFETY: by contract.
        unsafe { *words.add(i) = 0 };
        i += 1;
    }
}

/// The unix address that the program passed: `sun_path`, at most 108 bytes.
///
/// # Safety
/// `out` must be writable for 128 bytes, `text` be in a record.
#[inline(always)]
unsafe fn passed(arguments: Arguments, out: *mut u8, text: *mut TextRef) {
    let len = arguments.a2();
    if len <= 2 || len > 110 {
        return;
    }
    let bytes = (len - 2) & 0x7f;
    // SAFETY: by contract; at most 127 bytes are read.
    unsafe {
        (*text).kind = text_kind::USER;
        (*text).len = bytes as u16;
        let address = (arguments.a1() + 2) as *const _;
        if bpf_probe_read_user(out.cast(), bytes as u32, address) != 0 {
            (*text).len = 0;
            (*text).flags = text_flag::FAULT;
        }
    }
}

/// The file that bind made: `unix_sock.path` (net/unix/af_unix.c, unix_bind_bsd).
///
/// # Safety
/// Both must be writable, `out` for an area, `text` be in a record.
#[inline(always)]
unsafe fn made(sk: u64, identity: *mut FileIdentity, out: *mut u8, text: *mut TextRef) {
    let place = offset!(unix_sock_path);
    let dentry: u64 = read(sk, place.wrapping_add(offset!(path_dentry)));
    let mnt: u64 = read(sk, place.wrapping_add(offset!(path_mnt)));
    if dentry == 0 {
        return;
    }
    let inode: u64 = read(dentry, offset!(dentry_inode));
    let (dev, magic) = device(read(inode, offset!(inode_sb)));
    // SAFETY: by contract.
    unsafe {
        (*identity).ino = read(inode, offset!(inode_ino));
        (*identity).dev = dev;
        (*identity).magic = magic;
        (*identity).mode = read(inode, offset!(inode_mode));
        (*identity).generation = read(inode, offset!(inode_generation));
        once::path::<AREA>(dentry, mnt, out, text);
    }
}
