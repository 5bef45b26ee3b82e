//! What is mounted where (proc_pid_mountinfo(5)).

use std::{
    ffi::{CString, OsString},
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::ffi::OsStringExt as _,
    },
};

use super::{
    Found,
    namespace::{Own, Place},
    path::{open2, statx},
};
use crate::id::ProcessKey;

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its id; used again once it is unmounted.
    pub id: u64,
    /// `s_dev` of its file system, kernel encoding (major << 20 | minor).
    pub dev: u32,
    /// What of the file system is its root: `/`, a directory for binds, `net:[4026531840]` for a
    /// namespace.
    pub root: Vec<u8>,
    /// Where.
    pub point: Vec<u8>,
    /// Type of the file system.
    pub filesystem: Vec<u8>,
}

/// Ids of everything mounted in leaktrace's own mount namespace.
///
/// # Errors
/// When /proc does not tell.
pub fn present() -> io::Result<Vec<u64>> {
    Ok(list("self")?.into_iter().map(|mount| mount.id).collect())
}

/// Where control groups are, in leaktrace's own mount namespace.
///
/// # Errors
/// When /proc does not tell.
pub fn cgroup_roots() -> io::Result<Vec<Vec<u8>>> {
    let mounts = list("self")?.into_iter();
    let cgroups = mounts.filter(|mount| matches!(&mount.filesystem[..], b"cgroup" | b"cgroup2"));
    Ok(cgroups.map(|mount| mount.point).collect())
}

/// Where a file system is mounted in leaktrace's own mount namespace, the last mount first.
///
/// # Errors
/// When /proc does not tell.
pub(super) fn of_device(dev: u32) -> io::Result<Vec<OsString>> {
    let mounts = list("self")?.into_iter().rev();
    let of_it = mounts.filter(|mount| mount.dev == dev);
    Ok(of_it.map(|mount| OsString::from_vec(mount.point)).collect())
}

fn list(pid: &str) -> io::Result<Vec<Mount>> {
    let text = fs::read(format!("/proc/{pid}/mountinfo"))?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(parse)
        .collect())
}

/// What is mounted at a place in the namespace in which it was named. One without a member may have
/// passed its mounts on (mount_namespaces(7), shared subtrees), so then it is looked for here.
pub(super) fn find(path: &[u8], mnt_ns: u32, through: &[ProcessKey], own: &Own) -> Found {
    let pid = match own.place("mnt", mnt_ns, through) {
        Place::Own | Place::Nobody => "self".to_owned(),
        Place::Through(key) => key.pid.to_string(),
        Place::Unknown(why) => return Found::unknown(why),
    };
    let look = || -> io::Result<Option<Mount>> {
        let point = real(&pid, path)?;
        Ok(list(&pid)?
            .into_iter()
            .rev()
            .find(|mount| mount.point == point))
    };
    match look() {
        Ok(Some(mount)) => Found::Mount {
            id: mount.id,
            root: mount.root,
            filesystem: mount.filesystem,
        },
        Ok(None) => Found::Gone,
        Err(error) => Found::from_error(&error),
    }
}

/// The path that mountinfo has for a place: symbolic links are followed, inside the root directory
/// of the process that is looked through.
fn real(pid: &str, path: &[u8]) -> io::Result<Vec<u8>> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::ErrorKind::InvalidInput);
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let root = open2(
        libc::AT_FDCWD,
        &text(format!("/proc/{pid}/root").as_bytes())?,
        flags,
        0,
    )?;
    let place = open2(root.as_raw_fd(), &text(path)?, flags, libc::RESOLVE_IN_ROOT)?;
    // Nothing is mounted where the place is not the root of its mount (STATX_ATTR_MOUNT_ROOT,
    // Linux 5.8).
    let status = statx(place.as_fd())?;
    let told = status.stx_attributes_mask & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0;
    if told && status.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 == 0 {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    let link = fs::read_link(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
    let seen = link.into_os_string().into_vec();
    // Seen from here the path of another namespace's place may be cut short: the name was absolute,
    // so without links in it it is the path.
    Ok(match pid {
        "self" => seen,
        _ if seen.starts_with(b"/") && seen.len() > 1 => seen,
        _ => path.to_vec(),
    })
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let (major, minor) = str::from_utf8(fields.nth(1)?).ok()?.split_once(':')?;
    let dev = major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?;
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let filesystem = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount {
        id,
        dev,
        root,
        point,
        filesystem: unescape(filesystem),
    })
}

/// Blank, tab, newline and backslash are `\` and three octal digits (mangle_path in
/// fs/seq_file.c).
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind
            .get(..3)
            .filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..b'8').contains(d)));
        match code {
            Some([a, b, c]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = &behind[3..];
            }
            Some(_) | None => {
                out.push(first);
                rest = behind;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_line_is_read_by_its_separator_and_names_are_unescaped() {
        let line = b"36 35 98:0 net:[4026531840] /run/net\\040ns/a\\134 rw shared:2 master:1 - nsfs nsfs rw";
        let mount = parse(line).unwrap();
        assert_eq!(
            mount,
            Mount {
                id: 36,
                dev: 98 << 20,
                root: b"net:[4026531840]".to_vec(),
                point: b"/run/net ns/a\\".to_vec(),
                filesystem: b"nsfs".to_vec(),
            }
        );
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 98:0 / /x rw"), None);
        assert_eq!(unescape(b"\\9"), b"\\9");
        assert_eq!(unescape(b"\\"), b"\\");
    }

    #[test]
    fn the_root_and_proc_are_mounted_and_other_places_are_not() {
        let own = Own::read().unwrap();
        assert!(!present().unwrap().is_empty());
        let proc = find(b"/proc", 0, &[], &own);
        assert!(
            matches!(&proc, Found::Mount { filesystem, .. } if filesystem == b"proc"),
            "{proc:?}"
        );
        assert_eq!(find(b"/proc/self", 0, &[], &own), Found::Gone);
        assert_eq!(find(b"/no/such/place", 0, &[], &own), Found::Gone);
    }
}
