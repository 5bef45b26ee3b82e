//! Names in file systems, as far as no fd shows them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::TextRef;

/// mount, move_mount, umount2, bpf (BPF_OBJ_PIN only), unlink(at), rmdir, rename(at, at2), mkdir(at), mknod(at), link(at) or symlink(at) returned.
///
/// Texts: 0 the directory that path 1 is relative to (WALK; NONE if path 1 is absolute),
/// 1 the path, 2 and 3 the same for the second path of rename and link. symlink: 1 is the new
/// name, 3 the target. For link, 1 is the existing name and 3 the new one. mount: 1 is where, 3 the
/// source of a bind or move, else the type of the file system. move_mount: 1 is where, 3 what.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Name {
    /// Entry, ns of CLOCK_BOOTTIME; 0 for operations that are looked at on exit only.
    pub begin_ns: u64,
    /// Positive errno, or 0.
    pub errno: i32,
    /// Inode number of the task's mount namespace.
    pub mnt_ns: u32,
    /// The call's flags: unlinkat (AT_REMOVEDIR 0x200), renameat2 (RENAME_NOREPLACE 1,
    /// RENAME_EXCHANGE 2), linkat, mount (MS_*), move_mount, umount2; mknod, mkdir: the mode.
    pub flags: u32,
    /// [`crate::abi::Op`].
    pub op: u8,
    /// Zero.
    pub reserved: u8,
    /// Size of each text area.
    pub area: u16,
    /// See above.
    pub text: [TextRef; 4],
}

const _: () = assert!(size_of::<Name>() == 40);
