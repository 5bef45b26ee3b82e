//! Sockets.

use std::mem::size_of;

use anyhow::Result;

use crate::{Made, done};

pub fn step(verb: &str, args: &[&str], made: &mut Made) -> Result<bool> {
    match (verb, args) {
        ("tcp", [name]) => made.keep(name, socket(libc::AF_INET, libc::SOCK_STREAM))?,
        ("udp", [name]) => made.keep(name, socket(libc::AF_INET, libc::SOCK_DGRAM))?,
        ("unix", [name]) => made.keep(name, socket(libc::AF_UNIX, libc::SOCK_STREAM))?,
        ("netlink", [name]) => made.keep(name, socket(libc::AF_NETLINK, libc::SOCK_RAW))?,
        ("socketpair", [one, other]) => {
            let mut ends = [0; 2];
            // SAFETY: two ints to write to.
            done(unsafe {
                libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr())
            })?;
            made.keep(one, ends[0])?;
            made.keep(other, ends[1])?;
        }
        ("bind-unix", [name, path]) => bind_unix(made.fd(name)?, path)?,
        // Nobody calls: returns when SO_RCVTIMEO is over.
        ("accept-timeout", [name, ms]) => accept_timeout(made.fd(name)?, ms.parse()?)?,
        ("listen", [name]) => {
            // SAFETY: no memory is passed.
            done(unsafe { libc::listen(made.fd(name)?, 8) })?;
        }
        ("connection", [server, client]) => connection(server, client, made)?,
        ("linger", [name, seconds]) => linger(made.fd(name)?, seconds.parse()?)?,
        ("fill", [name]) => fill(made.fd(name)?)?,
        ("send-fd", [through, name]) => send_fd(made.fd(through)?, made.fd(name)?)?,
        ("connect-unix", [name, path]) => connect_unix(made.fd(name)?, path)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn socket(family: i32, kind: i32) -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::socket(family, kind, 0) }
}

fn accept_timeout(fd: i32, ms: i64) -> Result<()> {
    let time = libc::timeval {
        tv_sec: ms / 1000,
        tv_usec: ms % 1000 * 1000,
    };
    let len = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: a timeval and its true size; accept is given no room for an address.
    unsafe {
        let time = (&raw const time).cast();
        done(libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            time,
            len,
        ))?;
        let none = std::ptr::null_mut();
        libc::accept(fd, none, std::ptr::null_mut());
    }
    Ok(())
}

fn unix_address(path: &str) -> libc::sockaddr_un {
    // SAFETY: all-zero bytes are a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as libc::c_char;
    }
    address
}

fn bind_unix(fd: i32, path: &str) -> Result<()> {
    let address = unix_address(path);
    // SAFETY: the address and its true size.
    done(unsafe {
        libc::bind(
            fd,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    })?;
    Ok(())
}

fn connect_unix(fd: i32, path: &str) -> Result<()> {
    let address = unix_address(path);
    // SAFETY: the address and its true size.
    done(unsafe {
        libc::connect(
            fd,
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    })?;
    Ok(())
}

/// A TCP connection over loopback: both ends are kept, the listener is closed.
fn connection(server: &str, client: &str, made: &mut Made) -> Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    made.keep(client, std::os::fd::IntoRawFd::into_raw_fd(stream))?;
    made.keep(server, std::os::fd::IntoRawFd::into_raw_fd(accepted))
}

/// Makes close(2) wait that long for what is not sent yet.
fn linger(fd: i32, seconds: i32) -> Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: seconds,
    };
    let (level, option) = (libc::SOL_SOCKET, libc::SO_LINGER);
    let size = size_of_val(&linger) as u32;
    // SAFETY: the option's value and its true size.
    done(unsafe { libc::setsockopt(fd, level, option, (&raw const linger).cast(), size) })?;
    Ok(())
}

/// Sends until both the peer's and our buffer are full.
fn fill(fd: i32) -> Result<()> {
    let bytes = [0_u8; 65536];
    loop {
        // SAFETY: the buffer and its true size.
        let sent =
            unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT) };
        if sent < 0 {
            return match std::io::Error::last_os_error() {
                full if full.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
                other => Err(other.into()),
            };
        }
    }
}

/// Passes `fd` through the unix socket `through` (SCM_RIGHTS).
fn send_fd(through: i32, fd: i32) -> Result<()> {
    let mut byte = [0_u8; 1];
    let mut control = [0_u64; 4];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: all-zero bytes are a valid msghdr; the buffers outlive the call, and 32 aligned
    // bytes hold one header and one int.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<i32>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(fd);
        done(i32::try_from(libc::sendmsg(
            through,
            &raw const message,
            0,
        ))?)?;
    }
    Ok(())
}
