//! What kind of resource the kernel's identity of a file tells.
//!
//! S_IFMT first, then the superblock's magic, then the dentry's name: the addresses of
//! file_operations would need kallsyms, and pidfs shows no name.

use leaktrace_common::{
    abi::Op,
    record::{FileIdentity, SocketType},
};
use zerocopy::FromBytes;

use super::facts::{How, Kind};

// include/uapi/linux/magic.h
const TMPFS: u32 = 0x0102_1994;
const ANON_INODE: u32 = 0x0904_1934;
const MQUEUE: u32 = 0x1980_0202;
const SECRETMEM: u32 = 0x5345_434d;
const PIDFS: u32 = 0x5049_4446;
const NSFS: u32 = 0x6e73_6673;
const PIPEFS: u32 = 0x5049_5045;
const SOCKFS: u32 = 0x534f_434b;

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
const S_IFLNK: u16 = 0o120_000;
const S_IFREG: u16 = 0o100_000;
const S_IFBLK: u16 = 0o060_000;
const S_IFDIR: u16 = 0o040_000;
const S_IFCHR: u16 = 0o020_000;
const S_IFIFO: u16 = 0o010_000;

/// The kind of a file, and of a file that mknod made with this mode.
pub(super) fn of_mode(mode: u16) -> Kind {
    match mode & S_IFMT {
        S_IFDIR => Kind::Directory,
        S_IFCHR | S_IFBLK => Kind::Device,
        S_IFLNK => Kind::Symlink,
        S_IFIFO => Kind::Fifo,
        S_IFSOCK => Kind::Unix,
        _ => Kind::File,
    }
}

/// The kind of an open file description.
#[inline]
pub(super) fn of_file(identity: &FileIdentity, op: Op) -> Kind {
    if identity.magic == ANON_INODE {
        return of_anonymous(&identity.detail);
    }
    match identity.mode & S_IFMT {
        S_IFREG => of_regular(identity, op),
        S_IFIFO if identity.magic == PIPEFS => Kind::Pipe,
        S_IFSOCK if identity.magic == SOCKFS => of_socket(&identity.detail),
        // anon_inode and pidfs inodes had no file type before Linux 6.16 (fs/anon_inodes.c).
        0 => match identity.magic {
            PIDFS => Kind::Pidfd,
            NSFS => Kind::Namespace,
            _ => of_anonymous(&identity.detail),
        },
        _ => of_mode(identity.mode),
    }
}

fn of_regular(identity: &FileIdentity, op: Op) -> Kind {
    match identity.magic {
        MQUEUE => Kind::PosixMq,
        NSFS => Kind::Namespace,
        PIDFS => Kind::Pidfd,
        SECRETMEM => Kind::Memfd,
        TMPFS if identity.detail.starts_with(b"memfd:") => Kind::Memfd,
        _ if op == Op::MEMFD_CREATE => Kind::Memfd,
        _ => Kind::File,
    }
}

/// The kind of a description that only a walk has shown.
pub(super) fn of_walked(identity: &FileIdentity) -> Kind {
    of_file(identity, Op::NONE)
}

/// Whether a file can have a path: the roots of the kernel's own mounts are none.
pub(super) fn has_path(identity: &FileIdentity) -> bool {
    let own = [ANON_INODE, PIDFS, NSFS, PIPEFS, SOCKFS, SECRETMEM];
    !own.contains(&identity.magic)
}

fn of_anonymous(detail: &[u8; 16]) -> Kind {
    let len = detail.iter().position(|byte| *byte == 0);
    let name = &detail[..len.unwrap_or(detail.len())];
    let name = name.strip_prefix(b"[").unwrap_or(name);
    let name = name.strip_suffix(b"]").unwrap_or(name);
    const NAMES: &[(&[u8], Kind)] = &[
        (b"eventpoll", Kind::Epoll),
        (b"eventfd", Kind::Eventfd),
        (b"timerfd", Kind::Timerfd),
        (b"signalfd", Kind::Signalfd),
        (b"inotify", Kind::Inotify),
        (b"fanotify", Kind::Fanotify),
        (b"io_uring", Kind::IoUring),
        (b"userfaultfd", Kind::Userfaultfd),
        (b"perf_event", Kind::PerfEvent),
        (b"pidfd", Kind::Pidfd),
    ];
    // Twelve bytes of the name are told, with the bracket and a NUL.
    let is = |known: &[u8]| known == name || name.len() == 10 && known.starts_with(name);
    let known = NAMES.iter().find(|(known, _)| is(known));
    match known {
        Some((_, kind)) => *kind,
        None if name.starts_with(b"bpf") => Kind::Bpf,
        None => Kind::Other,
    }
}

fn of_socket(detail: &[u8; 16]) -> Kind {
    const AF_UNIX: u16 = 1;
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    const AF_NETLINK: u16 = 16;
    const AF_PACKET: u16 = 17;
    const AF_VSOCK: u16 = 40;
    const SOCK_STREAM: u16 = 1;
    const SOCK_DGRAM: u16 = 2;
    let Ok(socket) = SocketType::read_from_bytes(detail) else {
        return Kind::Socket;
    };
    match (socket.family, socket.type_) {
        // MPTCP and SCTP streams count as tcp: the same life, another wire.
        (AF_INET | AF_INET6, SOCK_STREAM) => Kind::Tcp,
        (AF_INET | AF_INET6, SOCK_DGRAM) => Kind::Udp,
        (AF_UNIX, _) => Kind::Unix,
        (AF_NETLINK, _) => Kind::Netlink,
        (AF_PACKET, _) => Kind::Packet,
        (AF_VSOCK, _) => Kind::Vsock,
        _ => Kind::Socket,
    }
}

/// State of a stream socket (include/net/tcp_states.h; unix sockets use the same numbers).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SocketState {
    /// No socket, or one without connections.
    #[default]
    None,
    Connected,
    Connecting,
    Closing,
    NotConnected,
    Listening,
}

impl SocketState {
    /// As the kernel tells it now.
    pub(super) fn of(identity: &FileIdentity) -> SocketState {
        const SOCK_STREAM: u16 = 1;
        const SOCK_SEQPACKET: u16 = 5;
        if identity.magic != SOCKFS {
            return SocketState::None;
        }
        let Ok(socket) = SocketType::read_from_bytes(&identity.detail) else {
            return SocketState::None;
        };
        let connects = [SOCK_STREAM, SOCK_SEQPACKET].contains(&socket.type_);
        match socket.state {
            _ if !connects => SocketState::None,
            1 => SocketState::Connected,
            2 | 3 => SocketState::Connecting,
            // FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT, LAST_ACK, CLOSING.
            4..=6 | 8 | 9 | 11 => SocketState::Closing,
            7 => SocketState::NotConnected,
            10 => SocketState::Listening,
            _ => SocketState::None,
        }
    }

    /// In words.
    pub(super) fn word(self) -> Option<&'static str> {
        Some(match self {
            SocketState::None => return None,
            SocketState::Connected => "connected",
            SocketState::Connecting => "connecting",
            SocketState::Closing => "closing",
            SocketState::NotConnected => "not connected",
            SocketState::Listening => "listening",
        })
    }
}

/// The kind of a regular file that was created under this path: what lies directly in
/// /dev/shm is POSIX ipc, whatever made it (shm_open(3) and sem_open(3) are plain opens).
pub(super) fn of_created(path: &[u8], kind: Kind) -> Kind {
    let Some(name) = path.strip_prefix(b"/dev/shm/") else {
        return kind;
    };
    if kind != Kind::File || name.contains(&b'/') {
        return kind;
    }
    match name.starts_with(b"sem.") {
        true => Kind::PosixSem,
        false => Kind::PosixShm,
    }
}

/// Whether the operation makes another fd of a description that is there already.
pub(super) fn shares_description(op: Op) -> bool {
    matches!(
        op,
        Op::DUP | Op::DUP2 | Op::DUP3 | Op::FCNTL | Op::PIDFD_GETFD
    )
}

/// Whether the operation opens by name, and so may have made the file.
pub(super) fn opens(op: Op) -> bool {
    matches!(
        op,
        Op::OPEN
            | Op::OPENAT
            | Op::OPENAT2
            | Op::CREAT
            | Op::URING_OPENAT
            | Op::URING_OPENAT2
            | Op::IO_URING_ENTER
    )
}

/// How an fd came that this operation put into a table.
pub(super) fn how(op: Op) -> Option<How> {
    match op {
        Op::NONE => None,
        Op::DUP | Op::DUP2 | Op::DUP3 | Op::FCNTL => Some(How::Dup),
        Op::RECVMSG | Op::RECVMMSG => Some(How::Socket),
        Op::PIDFD_GETFD => Some(How::Pidfd),
        Op::SECCOMP_ADDFD => Some(How::Supervisor),
        Op::IO_URING_ENTER
        | Op::URING_OPENAT
        | Op::URING_OPENAT2
        | Op::URING_ACCEPT
        | Op::URING_SOCKET
        | Op::URING_PIPE
        | Op::URING_INSTALL => Some(How::Ring),
        _ => Some(How::Made),
    }
}

#[cfg(test)]
mod tests {
    use leaktrace_common::{
        abi::Op,
        record::{FileIdentity, SocketType},
    };
    use zerocopy::IntoBytes;

    use super::{Kind, of_created, of_file};

    fn identity(mode: u16, magic: u32, name: &[u8]) -> FileIdentity {
        let mut detail = [0; 16];
        detail[..name.len()].copy_from_slice(name);
        FileIdentity {
            mode,
            magic,
            detail,
            ..FileIdentity::default()
        }
    }

    #[test]
    fn kinds_follow_from_what_the_kernel_tells() {
        let socket = |family, type_| {
            let detail = SocketType {
                family,
                type_,
                ..SocketType::default()
            };
            identity(0o140_777, super::SOCKFS, detail.as_bytes())
        };
        let table = [
            (identity(0o100_644, 0xef53, b""), Op::OPENAT, Kind::File),
            (
                identity(0o040_755, 0xef53, b""),
                Op::OPENAT,
                Kind::Directory,
            ),
            (
                identity(0o020_666, 0x0102_1994, b""),
                Op::OPEN,
                Kind::Device,
            ),
            (
                identity(0o010_600, super::PIPEFS, b""),
                Op::PIPE2,
                Kind::Pipe,
            ),
            (identity(0o010_600, 0xef53, b""), Op::OPENAT, Kind::Fifo),
            (
                identity(0o100_777, 0x0102_1994, b""),
                Op::MEMFD_CREATE,
                Kind::Memfd,
            ),
            (
                identity(0o100_600, super::MQUEUE, b""),
                Op::MQ_OPEN,
                Kind::PosixMq,
            ),
            (
                identity(0o600, super::ANON_INODE, b"[eventpoll]"),
                Op::EPOLL_CREATE1,
                Kind::Epoll,
            ),
            (
                identity(0o600, super::ANON_INODE, b"inotify"),
                Op::INOTIFY_INIT1,
                Kind::Inotify,
            ),
            (
                identity(0o100_600, super::ANON_INODE, b"[io_uring]"),
                Op::IO_URING_SETUP,
                Kind::IoUring,
            ),
            (
                identity(0o600, super::ANON_INODE, b"bpf-map"),
                Op::NONE,
                Kind::Bpf,
            ),
            (
                identity(0o600, super::ANON_INODE, b"kvm-vm"),
                Op::NONE,
                Kind::Other,
            ),
            (
                identity(0o100_000, super::PIDFS, b""),
                Op::PIDFD_OPEN,
                Kind::Pidfd,
            ),
            (
                identity(0o100_444, super::NSFS, b""),
                Op::OPENAT,
                Kind::Namespace,
            ),
            (socket(2, 1), Op::SOCKET, Kind::Tcp),
            (socket(10, 2), Op::SOCKET, Kind::Udp),
            (socket(1, 5), Op::SOCKETPAIR, Kind::Unix),
            (socket(16, 3), Op::SOCKET, Kind::Netlink),
            (socket(2, 3), Op::SOCKET, Kind::Socket),
        ];
        for (identity, op, kind) in table {
            assert_eq!(of_file(&identity, op), kind, "{identity:?}");
        }
    }

    #[test]
    fn only_what_lies_directly_in_dev_shm_is_posix_ipc() {
        assert_eq!(of_created(b"/dev/shm/psm_1", Kind::File), Kind::PosixShm);
        assert_eq!(of_created(b"/dev/shm/sem.x", Kind::File), Kind::PosixSem);
        assert_eq!(of_created(b"/dev/shm/d/sem.x", Kind::File), Kind::File);
        assert_eq!(of_created(b"/dev/shm/f", Kind::Fifo), Kind::Fifo);
        assert_eq!(of_created(b"/tmp/sem.x", Kind::File), Kind::File);
    }
}
