//! A file by its identity, where no path leads to it any more: it was named in a mount namespace
//! that is gone, in which its file system was mounted elsewhere than here.
//!
//! File systems that can be exported find an inode by number and generation
//! (`open_by_handle_at(2)`); what their handles look like is learnt from that of the mount's own
//! root, and a handle of any other look is not guessed at.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    },
    path::Path,
};

use super::{Identify, mount, path};
use crate::id::FileId;

/// Where a file is.
pub(super) enum Sought {
    /// Here, whatever its name.
    Here(OwnedFd),
    /// Its file system is mounted here and does not have it.
    Gone,
    /// Its file system is not mounted here.
    Elsewhere,
    /// The file system cannot be asked, a clause.
    Unknown(String),
}

/// `struct file_handle` (include/linux/fs.h), with room for the handles that are understood.
#[repr(C)]
#[derive(Clone, Copy)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; ROOM],
}

/// MAX_HANDLE_SZ (include/uapi/linux/fcntl.h).
const ROOM: usize = 128;

/// Where a handle has the number and the generation of its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// ext2 to ext4 and others: 32 bits each (generic_encode_ino32_fh in fs/libfs.c).
    Short,
    /// XFS with 64-bit numbers (fs/xfs/xfs_export.h): number, generation.
    Xfs,
    /// btrfs (fs/btrfs/export.h): number, subvolume, generation.
    Btrfs,
    /// tmpfs (shmem_encode_fh in mm/shmem.c): generation, number in two halves.
    Tmpfs,
}

impl Look {
    fn of(kind: i32, bytes: u32) -> Option<Look> {
        match (kind, bytes) {
            (0x01, 8) => Some(Look::Short),
            (0x01, 12) => Some(Look::Tmpfs),
            (0x81, 12) => Some(Look::Xfs),
            (0x4d, 20) => Some(Look::Btrfs),
            _ => None,
        }
    }

    fn number(self, data: &[u8; ROOM]) -> u64 {
        let half = |at: usize| u64::from(word(data, at));
        match self {
            Look::Short => half(0),
            Look::Xfs | Look::Btrfs => half(0) | half(4) << 32,
            Look::Tmpfs => half(4) | half(8) << 32,
        }
    }

    fn put(self, data: &mut [u8; ROOM], id: FileId) {
        let (low, high) = (id.ino as u32, (id.ino >> 32) as u32);
        let words: &[(usize, u32)] = match self {
            Look::Short => &[(0, low), (4, id.generation)],
            Look::Xfs => &[(0, low), (4, high), (8, id.generation)],
            Look::Btrfs => &[(0, low), (4, high), (16, id.generation)],
            Look::Tmpfs => &[(0, id.generation), (4, low), (8, high)],
        };
        for (at, value) in words {
            data[*at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
    }
}

fn word(data: &[u8; ROOM], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&data[at..at + 4]);
    u32::from_ne_bytes(bytes)
}

/// Looks for a file on what is mounted in leaktrace's own mount namespace.
pub(super) fn find(id: FileId, identify: &dyn Identify) -> Sought {
    let mounts = match mount::of_device(id.dev) {
        Ok(mounts) => mounts,
        Err(error) => return Sought::Unknown(super::clause(&error)),
    };
    let mut sought = Sought::Elsewhere;
    for mount in mounts {
        sought = match on(Path::new(&mount), id, identify) {
            Ok(sought) => sought,
            // Mounted over by another one, or a file.
            Err(error) => Sought::Unknown(super::clause(&error)),
        };
        if matches!(sought, Sought::Here(_) | Sought::Gone) {
            break;
        }
    }
    sought
}

/// Where people find it: a name of it here, if the kernel knows one.
pub(super) fn name(fd: &OwnedFd, id: FileId, identify: &dyn Identify) -> Option<Vec<u8>> {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    let name = link.into_os_string().into_vec();
    let there = path::open_here(&name).ok()?;
    let found = identify.identify(there.as_fd()).ok()?;
    (path::file_id(&found) == id).then_some(name)
}

fn on(point: &Path, id: FileId, identify: &dyn Identify) -> io::Result<Sought> {
    let root = fs::File::open(point)?;
    let status = root.metadata()?;
    if !status.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    if path::file_id(&identify.identify(root.as_fd())?).dev != id.dev {
        return Err(io::Error::other("another file system lies over it"));
    }
    let mut handle = handle_of(&root)?;
    let look = Look::of(handle.kind, handle.bytes)
        .filter(|look| look.number(&handle.data) == status.ino())
        .ok_or_else(|| io::Error::other("its file system's handles are not understood"))?;
    look.put(&mut handle.data, id);
    let fd = match open(&root, &handle) {
        Ok(fd) => fd,
        // It may be in another subvolume, which has numbers of its own.
        Err(_) if look == Look::Btrfs => {
            return Err(io::Error::other(
                "it is not in the subvolume that is mounted here",
            ));
        }
        // It knows only those inodes of which somebody has asked for a handle (shmem_encode_fh in
        // mm/shmem.c): a file that is there is not found either.
        Err(_) if look == Look::Tmpfs => {
            return Err(io::Error::other("a tmpfs does not find files by number"));
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESTALE | libc::ENOENT)) => {
            return Ok(Sought::Gone);
        }
        Err(error) => return Err(error),
    };
    // Without a name it is only held open.
    let is_it = path::file_id(&identify.identify(fd.as_fd())?) == id;
    Ok(match is_it && path::statx(fd.as_fd())?.stx_nlink > 0 {
        true => Sought::Here(fd),
        false => Sought::Gone,
    })
}

fn handle_of(file: &fs::File) -> io::Result<Handle> {
    let mut handle = Handle {
        bytes: ROOM as u32,
        kind: 0,
        data: [0; ROOM],
    };
    let (mut mount, empty) = (0, CString::default());
    // SAFETY: the handle has the room that it says, the path is empty.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            file.as_raw_fd(),
            empty.as_ptr(),
            &raw mut handle,
            &raw mut mount as *mut libc::c_int,
            libc::AT_EMPTY_PATH,
        )
    };
    match done {
        0 => Ok(handle),
        _ => Err(io::Error::last_os_error()),
    }
}

/// open_by_handle_at(2), with O_PATH: nothing is opened for real.
fn open(mount: &fs::File, handle: &Handle) -> io::Result<OwnedFd> {
    // SAFETY: the handle is as long as it says.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw const *handle,
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new fd that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_written_as_they_are_read_and_others_are_refused() {
        let id = FileId {
            dev: 1,
            ino: 0x1_2345_6789,
            generation: 7,
        };
        for (kind, bytes) in [(0x81, 12), (0x4d, 20), (0x01, 12)] {
            let look = Look::of(kind, bytes).expect("understood");
            let mut data = [0; ROOM];
            look.put(&mut data, id);
            assert_eq!(look.number(&data), id.ino, "{look:?}");
        }
        let mut data = [0; ROOM];
        Look::Short.put(&mut data, FileId { ino: 12, ..id });
        assert_eq!((Look::Short.number(&data), word(&data, 4)), (12, 7));
        assert_eq!(Look::of(0xf8, 40), None, "overlayfs");
        assert_eq!(Look::of(0x02, 16), None, "with a parent");
    }
}
