#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
};

use super::*;

/// Stands in for the programs: stat's numbers do on the file systems of a test.
struct Stat;

impl Identify for Stat {
    fn identify(&self, fd: BorrowedFd<'_>) -> io::Result<FileIdentity> {
        let status = statx(fd)?;
        let dev = status.stx_dev_major << 20 | status.stx_dev_minor;
        Ok(FileIdentity {
            ino: status.stx_ino,
            dev,
            ..FileIdentity::default()
        })
    }
}

/// A directory of the test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("leaktrace-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn look(path: &Path) -> Found {
    find(
        &named(path.as_os_str().as_bytes()),
        0,
        &[],
        &Own::read().unwrap(),
        &Stat,
    )
}

/// A path of which no more is known.
fn named(path: &[u8]) -> Named<'_> {
    Named {
        path,
        id: None,
        bound: None,
    }
}

#[test]
fn a_file_has_size_birth_and_identity() {
    let dir = Scratch::new("file");
    let path = dir.0.join("a");
    assert_eq!(look(&path), Found::Gone);
    fs::write(&path, b"hello").unwrap();
    let Found::File {
        id,
        mode,
        bytes,
        entries,
        birth_ns,
        changed_ns,
        wall_ns,
        holds_pid,
        clock_was_set: _,
        elsewhere: None,
    } = look(&path)
    else {
        panic!("not found")
    };
    assert_eq!(
        (mode & libc::S_IFMT, bytes, entries, holds_pid),
        (libc::S_IFREG, 5, 0, None)
    );
    assert_ne!(id.ino, 0);
    assert!(wall_ns >= birth_ns);
    assert_eq!(birth_ns.is_some(), changed_ns.is_none());
    assert!(birth_ns.is_none_or(|ns| ns > 1_600_000_000_000_000_000));
    assert_eq!(look(&path.join("below")), Found::Gone);
}

#[test]
fn nothing_is_followed_and_nothing_blocks() {
    let dir = Scratch::new("kinds");
    let (link, fifo, socket) = (dir.0.join("l"), dir.0.join("f"), dir.0.join("s"));
    symlink("nowhere", &link).unwrap();
    let name = CString::new(fifo.as_os_str().as_bytes()).unwrap();
    // SAFETY: a NUL-terminated path.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let _listener = UnixListener::bind(&socket).unwrap();
    for (path, kind) in [
        (link, libc::S_IFLNK),
        (fifo, libc::S_IFIFO),
        (socket, libc::S_IFSOCK),
    ] {
        let Found::File { mode, .. } = look(&path) else {
            panic!("{path:?} not found")
        };
        assert_eq!(mode & libc::S_IFMT, kind, "{path:?}");
    }
}

#[test]
fn a_directory_tells_what_is_in_it() {
    let dir = Scratch::new("tree");
    fs::create_dir_all(dir.0.join("x/y")).unwrap();
    fs::write(dir.0.join("x/y/one"), [0; 100]).unwrap();
    fs::write(dir.0.join("two"), [0; 11]).unwrap();
    // Leads out of the directory; neither followed nor counted but as an entry.
    symlink("/usr", dir.0.join("out")).unwrap();
    let Found::File {
        mode,
        bytes,
        entries,
        ..
    } = look(&dir.0)
    else {
        panic!("not found")
    };
    assert_eq!(
        (mode & libc::S_IFMT, entries, bytes),
        (libc::S_IFDIR, 5, 111)
    );
}

#[test]
fn a_pid_file_tells_its_number() {
    let dir = Scratch::new("pid");
    let path = dir.0.join("p");
    for (text, pid) in [
        (&b"123\n"[..], Some(123)),
        (b"      4711\nrest", Some(4711)),
        (b"12a\n", None),
        (b"-5\n", None),
        (b"99999999999\n", None),
        (b"\n", None),
    ] {
        fs::write(&path, text).unwrap();
        let Found::File { holds_pid, .. } = look(&path) else {
            panic!("not found")
        };
        assert_eq!(holds_pid, pid, "{text:?}");
    }
}

#[test]
fn paths_that_cannot_be_looked_at_are_unknown_not_gone() {
    let own = Own::read().unwrap();
    let ask = |path: &[u8]| find(&named(path), 0, &[], &own, &Stat);
    assert!(matches!(ask(b"relative"), Found::Unknown { .. }));
    assert!(matches!(ask(b""), Found::Unknown { .. }));
    assert!(matches!(ask(b"/a\0b"), Found::Unknown { .. }));
    assert!(matches!(
        ask(&[&b"/"[..], &[b'a'; 5000]].concat()),
        Found::Unknown { .. }
    ));
    let unreadable = find(
        &named(b"/"),
        0,
        &[],
        &own,
        &super::super::worker::tests::NoIdentity,
    );
    assert_eq!(
        unreadable,
        Found::unknown("its identity: no programs are loaded")
    );
}

#[test]
fn a_source_is_a_regular_file_of_text() {
    let dir = std::env::temp_dir().join(format!("leaktrace-source-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let file = |name: &str, content: &[u8]| {
        std::fs::write(dir.join(name), content).unwrap();
    };
    file("script", b"#!/bin/sh\n\xff\n");
    file("program", b"\x7fELF\0\0");
    std::os::unix::fs::symlink("script", dir.join("link")).unwrap();
    let found: Vec<_> = ["script", "program", "link", "missing", ""]
        .map(|name| source(dir.join(name).to_str().unwrap().as_bytes()))
        .into();
    std::fs::remove_dir_all(&dir).unwrap();
    let gone = || Found::Gone;
    assert_eq!(found, [Found::Source, gone(), gone(), gone(), gone()]);
}
