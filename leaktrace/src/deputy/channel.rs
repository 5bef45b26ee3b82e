//! A socket with frames on it, and fds beside them.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::wire::{self, Form, HEAD};

/// Most fds beside one frame.
pub(super) const FDS: usize = 8;
/// A frame grows with what comes, not with what its head claims.
const STEP: usize = 1 << 20;

/// Frames in both directions.
#[derive(Debug)]
pub(super) struct Channel {
    socket: UnixStream,
    /// Longest frame that is taken.
    longest: u32,
}

/// What came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) form: Form,
    pub(super) body: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Channel {
    pub(super) fn new(socket: UnixStream, longest: u32) -> Channel {
        Channel { socket, longest }
    }

    /// Sends a frame, and fds with its first byte (unix(7)).
    ///
    /// # Errors
    /// The other side has gone, or does not read for as long as the socket waits.
    pub(super) fn send(
        &mut self,
        form: Form,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let len = u32::try_from(body.len()).map_err(|_| invalid("a frame is too long"))?;
        let head = wire::head(form, len);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(invalid("too many fds for a frame"));
        }
        // A peer that has gone is an error, not a signal.
        let flags = SendFlags::NOSIGNAL;
        let sent = sendmsg(&self.socket, &[IoSlice::new(&head)], &mut beside, flags)?;
        self.socket.write_all(&head[sent..])?;
        self.socket.write_all(body)
    }

    /// Sends something as JSON.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub(super) fn say(
        &mut self,
        what: &impl serde::Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let body = serde_json::to_vec(what)?;
        self.send(Form::Json, &body, fds)
    }

    /// The next frame; `None` if the other side has closed the socket.
    ///
    /// # Errors
    /// It is cut short or too long, or the socket waits no longer.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; HEAD];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let first = loop {
            let place = &mut [IoSliceMut::new(&mut head)];
            match recvmsg(&self.socket, place, &mut beside, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                first => break first?.bytes,
            }
        };
        let fds = beside.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fds = fds.flatten().collect();
        if first == 0 {
            return Ok(None);
        }
        self.socket.read_exact(&mut head[first..])?;
        let (form, len) =
            wire::parse_head(head, self.longest).map_err(|why| invalid(&why.to_string()))?;
        let mut body = Vec::with_capacity(STEP.min(len as usize));
        let taken = (&self.socket).take(len.into()).read_to_end(&mut body)?;
        if taken < len as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Frame { form, body, fds }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::fd::AsRawFd;

    use super::*;

    fn pair(longest: u32) -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one, longest), Channel::new(other, longest))
    }

    #[test]
    fn frames_and_fds_come_as_they_were_sent() {
        let (mut one, mut other) = pair(64 << 20);
        let long = vec![7; 3 << 20];
        let sender = std::thread::spawn(move || {
            let nothing = std::fs::File::open("/dev/null").unwrap();
            let fds = [nothing.as_fd(), nothing.as_fd()];
            one.send(Form::Json, b"{}", &fds).unwrap();
            one.send(Form::Bytes, &long, &[]).unwrap();
        });
        let first = other.next().unwrap().unwrap();
        assert_eq!((first.form, &first.body[..]), (Form::Json, &b"{}"[..]));
        assert_eq!(first.fds.len(), 2);
        for fd in &first.fds {
            // SAFETY: F_GETFD reads no memory.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC);
        }
        let second = other.next().unwrap().unwrap();
        assert_eq!((second.form, second.body.len()), (Form::Bytes, 3 << 20));
        sender.join().unwrap();
        assert!(other.next().unwrap().is_none());
    }

    #[test]
    fn a_frame_that_is_too_long_or_cut_short_is_an_error() {
        let (mut one, mut other) = pair(100);
        one.send(Form::Json, &[b' '; 101], &[]).unwrap();
        assert!(other.next().unwrap_err().to_string().contains("too long"));
        let (mut one, mut other) = pair(100);
        one.socket.write_all(&wire::head(Form::Json, 10)).unwrap();
        one.socket.write_all(b"short").unwrap();
        drop(one);
        let error = other.next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
