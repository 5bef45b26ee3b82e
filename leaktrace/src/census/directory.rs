//! What a directory holds: entries and bytes at any depth.

use std::{
    ffi::CString,
    fs,
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
};

use super::path::open2;

/// More entries are not counted.
const MAX_ENTRIES: u64 = 100_000;

/// Bytes and entries below `root`. Links are not followed and mounts not crossed. Directories
/// are opened by their path from `root`, so at most two fds are open however deep the tree is;
/// what lies deeper than a path can be long is not counted, and neither is what cannot be read.
pub(super) fn total(root: BorrowedFd<'_>) -> (u64, u64) {
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let mut left = vec![b".".to_vec()];
    while let Some(path) = left.pop() {
        // Kept: with musl an entry is looked up by a path that goes through this fd.
        let Some((_dir, reader)) = read_dir(root, &path) else {
            continue;
        };
        for entry in reader.flatten() {
            let Ok(status) = entry.metadata() else {
                continue;
            };
            entries += 1;
            if entries >= MAX_ENTRIES {
                return (bytes, entries);
            }
            if status.is_dir() {
                left.push([&path, &b"/"[..], entry.file_name().as_bytes()].concat());
            } else if status.is_file() {
                bytes = bytes.saturating_add(status.size());
            }
        }
    }
    (bytes, entries)
}

fn read_dir(root: BorrowedFd<'_>, path: &[u8]) -> Option<(OwnedFd, fs::ReadDir)> {
    let path = CString::new(path).ok()?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV;
    let dir = open2(root.as_raw_fd(), &path, flags, resolve).ok()?;
    let reader = fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd())).ok()?;
    Some((dir, reader))
}
