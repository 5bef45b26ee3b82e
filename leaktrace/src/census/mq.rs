//! POSIX message queues.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    ptr,
};

use super::{Found, Identify, path::file_id};

/// Looks for a queue in the calling thread's ipc namespace. `name` has no leading slash: that
/// is how the system call takes it (mq_overview(7), "Library interfaces and system calls").
pub(super) fn find(name: &[u8], identify: &dyn Identify) -> Found {
    let Ok(name) = CString::new(name) else {
        return Found::unknown("the name holds a NUL");
    };
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: the name is NUL-terminated; without O_CREAT the attributes are not read.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_mq_open,
            name.as_ptr(),
            flags,
            0,
            ptr::null::<libc::mq_attr>(),
        )
    };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            // It is there, and unreadable for us.
            Some(libc::EACCES) => Found::Mq { id: None },
            _ => Found::from_error(&error),
        };
    }
    // SAFETY: a message queue descriptor is a new fd that nobody else owns.
    let queue = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    Found::Mq {
        id: identify.identify(queue.as_fd()).ok().as_ref().map(file_id),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::{super::worker::tests::NoIdentity, *};

    #[test]
    fn a_queue_is_there_until_it_is_unlinked() {
        let name = format!("leaktrace-test-{}", std::process::id());
        let slashed = CString::new(format!("/{name}")).unwrap();
        assert_eq!(find(name.as_bytes(), &NoIdentity), Found::Gone);
        // SAFETY: a NUL-terminated name; null attributes mean the defaults.
        let queue = unsafe {
            let attributes = ptr::null_mut::<libc::mq_attr>();
            libc::mq_open(
                slashed.as_ptr(),
                libc::O_RDWR | libc::O_CREAT,
                0o600,
                attributes,
            )
        };
        assert!(queue >= 0, "{}", io::Error::last_os_error());
        let seen = find(name.as_bytes(), &NoIdentity);
        // SAFETY: a NUL-terminated name, and a descriptor that is ours.
        unsafe {
            libc::mq_unlink(slashed.as_ptr());
            libc::mq_close(queue);
        }
        assert_eq!(seen, Found::Mq { id: None });
        assert_eq!(find(name.as_bytes(), &NoIdentity), Found::Gone);
    }
}
