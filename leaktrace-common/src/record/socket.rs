//! Sockets.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{FileIdentity, TextRef, file::FdAcquire};

/// An internet address and port as the kernel's sock has them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Endpoint {
    /// IPv4 in the first four bytes, or IPv6, network order.
    pub address: [u8; 16],
    /// Port, host order.
    pub port: u16,
    /// Zero.
    pub reserved: [u8; 6],
}

const _: () = assert!(size_of::<Endpoint>() == 24);

/// socket, socketpair, accept. `fd.identity.detail` is a [`super::SocketType`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketAcquire {
    /// The fd; its text is empty.
    pub fd: FdAcquire,
    /// Local end; zero unless AF_INET or AF_INET6.
    pub local: Endpoint,
    /// Peer; likewise.
    pub peer: Endpoint,
}

const _: () = assert!(size_of::<SocketAcquire>() == 120);

/// bind, listen or connect returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketName {
    /// The socket.
    pub identity: FileIdentity,
    /// bind to a unix path: the socket file it made; zero otherwise.
    pub name_identity: FileIdentity,
    /// Local end; zero unless AF_INET or AF_INET6.
    pub local: Endpoint,
    /// Peer; likewise.
    pub peer: Endpoint,
    /// The fd.
    pub fd: i32,
    /// Positive errno, or 0.
    pub errno: i32,
    /// Inode number of the task's mount namespace.
    pub mnt_ns: u32,
    /// [`crate::abi::Op`]: BIND, LISTEN, CONNECT.
    pub op: u8,
    /// Zero.
    pub reserved: u8,
    /// Size of each text area.
    pub area: u16,
    /// 0: the unix address passed by the program (USER; an abstract one begins with NUL).
    /// 1: the path of the file that bind made (WALK).
    pub text: [TextRef; 2],
}

const _: () = assert!(size_of::<SocketName>() == 168);
