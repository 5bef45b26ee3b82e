//! What the kernel lists of a process: fds, mappings, threads, children; and its state.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt as _},
    path::Path,
};

use bytes::{Bytes, BytesMut};
use leaktrace_common::record::{
    TextRef, kind,
    mapping::{MapSeed, map_seed_flag},
    stack::Image,
    task::Free,
    text_kind,
};
use zerocopy::IntoBytes;

use super::{host, process, record::append};
use crate::{
    id::{Pid, ProcessKey},
    parity::{Backing, By, HeldFd, Holdings, Range},
};

/// Reads what /proc lists of a process (proc_pid_fd(5), proc_pid_maps(5)); `None` if it is not
/// there any more, or waits for its parent.
///
/// # Errors
/// When it may not be looked at.
pub fn read(key: ProcessKey) -> io::Result<Option<Holdings>> {
    let read = || {
        Ok(Holdings {
            fds: fds(key.pid)?,
            ranges: ranges(key.pid)?,
            threads: threads(key.pid)?,
            children: children(key.pid)?,
        })
    };
    if !process::runs(key) {
        return Ok(None);
    }
    let found: io::Result<Holdings> = read();
    match found {
        // It ended meanwhile: what was read is of nobody.
        Ok(_) | Err(_) if !process::runs(key) => Ok(None),
        Ok(found) => Ok(Some(found)),
        Err(error) => Err(error),
    }
}

/// Whether every thread of a process is stopped by a signal, after which none is in a system
/// call; `None` if the process is not there.
pub fn is_stopped(key: ProcessKey) -> Option<bool> {
    if !process::runs(key) {
        return None;
    }
    let mut states = process::thread_states(key.pid)?;
    states.retain(|state| !matches!(state, 'Z' | 'X' | 'x'));
    // None is left: it has ended since it was looked for.
    (!states.is_empty()).then(|| states.iter().all(|state| *state == 'T'))
}

/// Whether no thread of a process runs, or waits in a call; zombies do not.
pub fn has_stopped(pid: Pid) -> bool {
    let states = process::thread_states(pid).unwrap_or_default();
    states
        .iter()
        .all(|state| matches!(state, 'T' | 'Z' | 'X' | 'x'))
}

/// The children of a process, theirs, and so on, as far as they have not been adopted by others.
pub fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        let children = children(pid).unwrap_or_default();
        found.extend(children.iter().map(|pid| Pid(*pid)));
        next.extend(children.into_iter().map(Pid));
    }
    found
}

fn fds(pid: Pid) -> io::Result<BTreeMap<u32, HeldFd>> {
    let mut held = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Closed since the directory was read.
        let Ok(link) = fs::read_link(entry.path()) else {
            continue;
        };
        let Ok(facts) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")) else {
            continue;
        };
        let what = String::from_utf8_lossy(link.as_os_str().as_bytes()).into_owned();
        held.insert(
            fd,
            HeldFd {
                ino: ino(&facts).unwrap_or_else(|| ino_of(&entry.path())),
                what,
            },
        );
    }
    Ok(held)
}

/// `ino:` of fdinfo, since Linux 5.14.
fn ino(facts: &str) -> Option<u64> {
    let line = facts.lines().find_map(|line| line.strip_prefix("ino:"));
    line.and_then(|ino| ino.trim().parse().ok())
}

/// The same by what /proc/PID/fd leads to; 0 where it has been closed meanwhile.
fn ino_of(link: &Path) -> u64 {
    fs::metadata(link).map_or(0, |status| status.ino())
}

fn threads(pid: Pid) -> io::Result<u32> {
    let states = process::thread_states(pid).unwrap_or_default();
    let run = states.iter().filter(|it| !matches!(it, 'Z' | 'X' | 'x'));
    Ok(run.count() as u32)
}

/// Whether the kernel lists children: CONFIG_PROC_CHILDREN.
pub fn tells_children() -> bool {
    std::path::Path::new("/proc/thread-self/children").exists()
}

/// Without CONFIG_PROC_CHILDREN there are none to compare.
fn children(pid: Pid) -> io::Result<BTreeSet<u32>> {
    let mut children = BTreeSet::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let list = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(
            list.split_ascii_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    Ok(children)
}

/// What is mapped, ascending.
fn ranges(pid: Pid) -> io::Result<Vec<Range>> {
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    let range = |(line, by): (Line<'_>, By)| Range {
        start: line.start,
        end: line.end,
        backing: backing(&line),
        by,
    };
    Ok(lines(pid, &maps).into_iter().map(range).collect())
}

/// That a process has gone, as a record, for one whose end and whose going were lost. `None` if
/// it is there, or cannot be asked about.
pub fn gone(key: ProcessKey) -> Option<Bytes> {
    if !host::in_initial_pid_namespace() || !process::is_gone(key) {
        return None;
    }
    let free = Free {
        tid: key.pid.0,
        reserved: 0,
    };
    let mut record = BytesMut::new();
    let now = host::boottime_ns();
    append(&mut record, kind::FREE, key, now, free.as_bytes(), &[]);
    Some(record.freeze())
}

/// What calls of a process have mapped, as records: what the model is to start from. `None` if
/// the process is not there or may not be looked at.
pub fn mapped(key: ProcessKey) -> Option<Bytes> {
    if !process::runs(key) {
        return None;
    }
    // What is in effect now is in the list; what comes while it is read is told by records.
    let now = host::boottime_ns();
    let maps = fs::read(format!("/proc/{}/maps", key.pid)).ok()?;
    let mut lines = lines(key.pid, &maps);
    lines.retain(|(line, by)| *by == By::Call || line.name == HEAP);
    if !process::runs(key) {
        return None;
    }
    let mut seeds: Vec<(MapSeed, &[u8])> = lines.iter().map(|(line, _)| seed(line)).collect();
    if seeds.is_empty() {
        seeds.push((MapSeed::default(), b""));
    }
    let last = seeds.len() - 1;
    seeds[0].0.flags |= map_seed_flag::FIRST;
    seeds[last].0.flags |= map_seed_flag::LAST;
    let mut records = BytesMut::new();
    for (seed, path) in seeds {
        append(
            &mut records,
            kind::MAP_SEED,
            key,
            now,
            seed.as_bytes(),
            path,
        );
    }
    Some(records.freeze())
}

/// Where code of files is mapped in a process, as records. `None` as for [`mapped`].
pub fn images(key: ProcessKey) -> Option<Bytes> {
    if !process::runs(key) {
        return None;
    }
    let now = host::boottime_ns();
    let maps = fs::read(format!("/proc/{}/maps", key.pid)).ok()?;
    if !process::runs(key) {
        return None;
    }
    let lines = maps.split(|byte| *byte == b'\n').filter_map(parse);
    let code = lines.filter(|line| line.execute && line.ino != 0 && line.name.starts_with(b"/"));
    let mut records = BytesMut::new();
    for line in code {
        let path = &line.name[..line.name.len().min(4096)];
        let image = Image {
            address: line.start,
            bytes: line.end - line.start,
            offset: line.offset,
            fd: -1,
            area: path.len() as u16,
            text: TextRef {
                len: path.len() as u16,
                kind: text_kind::USER,
                flags: 0,
            },
            ..Image::default()
        };
        append(&mut records, kind::IMAGE, key, now, image.as_bytes(), path);
    }
    Some(records.freeze())
}

/// A range and the path that is told with it: of shared mappings of files only.
fn seed<'a>(line: &Line<'a>) -> (MapSeed, &'a [u8]) {
    let (dev, ino, ipc_id) = match backing(line) {
        Backing::File { dev, ino } => (dev, ino, -1),
        Backing::Sysv(id) => (0, 0, id),
        Backing::Anonymous | Backing::Shared => (0, 0, -1),
    };
    let named = line.shared && ino != 0 && line.name.starts_with(b"/");
    let path = &line.name[..line.name.len().min(if named { 4096 } else { 0 })];
    let seed = MapSeed {
        address: line.start,
        bytes: line.end - line.start,
        ino,
        dev,
        flags: if line.shared {
            map_seed_flag::SHARED
        } else {
            0
        } | if line.write { map_seed_flag::WRITE } else { 0 }
            | if line.name == HEAP {
                map_seed_flag::HEAP
            } else {
                0
            },
        ipc_id,
        area: path.len() as u16,
        text: TextRef {
            len: path.len() as u16,
            kind: if path.is_empty() {
                text_kind::NONE
            } else {
                text_kind::USER
            },
            flags: 0,
        },
        ..MapSeed::default()
    };
    (seed, path)
}

/// Addresses that a dynamic linker takes at most; glibc's takes 240 KiB.
const INTERPRETER: u64 = 1 << 20;

/// The lines of maps, each with who made the range.
fn lines(pid: Pid, maps: &[u8]) -> Vec<(Line<'_>, By)> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let program = program.map(|path| path.into_os_string());
    let base = base(&fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default());
    let lines = maps.split(|byte| *byte == b'\n').filter_map(parse);
    let lines: Vec<Line> = lines.collect();
    // A program may have unmapped the beginning of it.
    let interpreter = lines
        .iter()
        .find(|line| line.ino != 0 && (base..base + INTERPRETER).contains(&line.start))
        .map(|line| (line.dev, line.ino));
    let mut made_to = 0;
    let mut told = Vec::with_capacity(lines.len());
    for line in lines {
        let by_exec = program
            .as_ref()
            .is_some_and(|path| path.as_bytes() == line.name)
            || interpreter.is_some_and(|file| file == (line.dev, line.ino));
        // What follows the image without a file is its zeroed data.
        let is_data = line.ino == 0 && line.start == made_to;
        if by_exec {
            made_to = line.end;
        }
        let by = match is_special(line.name) || by_exec || is_data {
            true => By::Kernel,
            false => By::Call,
        };
        told.push((line, by));
    }
    told
}

/// What brk(2) made; it may begin with the program's zeroed data, where that lies before it.
const HEAP: &[u8] = b"[heap]";

/// `[heap]`, `[stack]`, `[vdso]` and such; `[anon:…]` is memory that the program named.
fn is_special(name: &[u8]) -> bool {
    name.starts_with(b"[") && !name.starts_with(b"[anon")
}

fn backing(line: &Line<'_>) -> Backing {
    if line.name.starts_with(b"/SYSV") && line.name.ends_with(b"(deleted)") {
        // ipc/shm.c: the inode number is the segment's id, of the first one 0.
        return Backing::Sysv(line.ino as i32);
    }
    if line.ino == 0 {
        return Backing::Anonymous;
    }
    match line.name {
        b"/dev/zero (deleted)" | b"/anon_hugepage (deleted)" => Backing::Shared,
        name if name.starts_with(b"[anon_shmem") => Backing::Shared,
        _ => Backing::File {
            dev: line.dev,
            ino: line.ino,
        },
    }
}

/// AT_BASE of the auxiliary vector: where the interpreter is mapped; 0: there is none.
fn base(auxv: &[u8]) -> u64 {
    const AT_BASE: u64 = 7;
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    let entries = auxv.chunks_exact(16);
    let mut entries = entries.map(|entry| (word(&entry[..8]), word(&entry[8..])));
    let found = entries.find(|(key, _)| *key == AT_BASE);
    found.map_or(0, |(_, value)| value)
}

struct Line<'a> {
    start: u64,
    end: u64,
    offset: u64,
    execute: bool,
    shared: bool,
    write: bool,
    dev: u32,
    ino: u64,
    name: &'a [u8],
}

/// `start-end perms offset major:minor inode   name`.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut rest = line;
    let mut word = || {
        let end = rest.iter().position(|byte| *byte == b' ')?;
        let word = str::from_utf8(&rest[..end]).ok()?;
        rest = rest[end..].trim_ascii_start();
        Some(word)
    };
    let (start, end) = word()?.split_once('-')?;
    let permissions = word()?.as_bytes();
    let offset = word()?;
    let (major, minor) = word()?.split_once(':')?;
    // The inode is the last word where there is no name.
    let (ino, name) = match rest.iter().position(|byte| *byte == b' ') {
        Some(end) => (&rest[..end], rest[end..].trim_ascii_start()),
        None => (rest, &[][..]),
    };
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(Line {
        start: hex(start)?,
        end: hex(end)?,
        offset: hex(offset)?,
        execute: permissions.get(2) == Some(&b'x'),
        shared: permissions.get(3) == Some(&b's'),
        write: permissions.get(1) == Some(&b'w'),
        dev: (hex(major)? << 20 | hex(minor)?) as u32,
        ino: str::from_utf8(ino).ok()?.parse().ok()?,
        name,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::fd::AsRawFd;

    use super::*;
    use crate::id::KtimeNs;

    #[test]
    fn a_line_of_maps() {
        let line = parse(b"7f01-7f02 rw-s 00000000 00:01 42    /dev/zero (deleted)").unwrap();
        assert_eq!(
            (line.start, line.end, line.dev, line.ino),
            (0x7f01, 0x7f02, 1, 42)
        );
        assert_eq!(backing(&line), Backing::Shared);
        let line = parse(b"10-20 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!(backing(&line), Backing::Anonymous);
        let line = parse(b"10-20 rw-s 00000000 00:01 0    /SYSV00000000 (deleted)").unwrap();
        assert_eq!(backing(&line), Backing::Sysv(0));
        assert!(parse(b"short").is_none());
    }

    #[test]
    fn our_own_program_is_mapped_by_the_kernel_and_our_fds_are_listed() {
        let own = Pid(std::process::id());
        let all = ranges(own).unwrap();
        let code = our_code as *const () as u64;
        let at = |address| {
            all.iter()
                .find(|it| it.start <= address && address < it.end)
        };
        assert_eq!(at(code).unwrap().by, By::Kernel);
        let on_stack = 0u8;
        assert!(at(&raw const on_stack as u64).is_some());
        let file = fs::File::open("/proc/version").unwrap();
        let fd = file.as_raw_fd().cast_unsigned();
        assert_eq!(fds(own).unwrap()[&fd].what, "/proc/version");
        assert!(fds(own).unwrap()[&fd].ino > 0);
        let nobody = ProcessKey {
            pid: own,
            start: KtimeNs(1),
        };
        assert_eq!(read(nobody).unwrap(), None);
    }

    fn our_code() {}
}
