//! Does a process exist, and is it the one that is meant?

use std::{fs, io, os::unix::fs::MetadataExt, sync::OnceLock, thread};

use serde::{Deserialize, Serialize};

use super::{Found, host, namespace::Own};
use crate::id::{Pid, ProcessKey};

/// Ticks of /proc/PID/stat's starttime: USER_HZ is 100 on every Linux architecture that BPF
/// runs on, and `nsec_to_clock_t` (kernel/time/time.c) rounds down.
const TICK_NS: u64 = 10_000_000;

/// What /proc/PID/stat says, as far as it is needed.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: Vec<u8>,
    state: char,
    parent: u32,
    threads: u64,
    start_ticks: u64,
}

/// Looks for a process.
pub(super) fn find(key: ProcessKey, own: &Own) -> Found {
    if !own.initial_pid_ns {
        return Found::unknown("leaktrace is not in the initial pid namespace");
    }
    let stat = match read(key.pid) {
        Ok(Some(stat)) => stat,
        Ok(None) => return Found::unknown("its stat file cannot be understood"),
        Err(error) => return Found::from_error(&error),
    };
    if stat.start_ticks != ticks(key) || matches!(stat.state, 'X' | 'x') {
        return Found::Gone;
    }
    // A leader that has exited shows as a zombie while other threads run.
    let state = match stat.state {
        'Z' if stat.threads > 1 => thread_state(key.pid).unwrap_or('Z'),
        state => state,
    };
    Found::Process {
        state,
        parent_pid: stat.parent,
        comm: stat.comm,
    }
}

/// Whether that very process still runs (a zombie does not: it has no namespaces any more).
pub(super) fn runs(key: ProcessKey) -> bool {
    matches!(read(key.pid), Ok(Some(stat))
        if stat.start_ticks == ticks(key) && !matches!(stat.state, 'X' | 'x' | 'Z'))
}

/// Whether that very process is not there any more, not even as a zombie. Asked within the
/// initial pid namespace.
pub(super) fn is_gone(key: ProcessKey) -> bool {
    match read(key.pid) {
        Ok(Some(stat)) => stat.start_ticks != ticks(key),
        Ok(None) => false,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// How a process is told from the next owner of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its pid in leaktrace's own namespace.
    pub pid: u32,
    /// As it sees itself.
    pub ns_pid: u32,
    /// Its start, rounded down to a tick, ns of CLOCK_BOOTTIME.
    pub start_ns: u64,
}

/// A process that runs; `None` if there is none of that number.
pub fn identity(pid: u32) -> Option<Identity> {
    let stat = read(Pid(pid)).ok()??;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    (!matches!(stat.state, 'X' | 'x' | 'Z')).then_some(Identity {
        pid,
        ns_pid: numbers.split_ascii_whitespace().last()?.parse().ok()?,
        start_ns: host::without_offset(stat.start_ticks * TICK_NS, start_offset_ns()),
    })
}

/// A process's start as /proc/PID/stat shows it here.
fn ticks(key: ProcessKey) -> u64 {
    key.start.0.saturating_add_signed(start_offset_ns()) / TICK_NS
}

/// What is added to the start of processes in /proc here, ns: what the time namespace adds to
/// CLOCK_BOOTTIME, or nothing where the kernel shows that clock and not these starts by the namespace
/// (seen on Linux 5.10).
fn start_offset_ns() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| match host::boottime_offset_ns() {
        0 => 0,
        offset if is_shifted(offset) => offset,
        _ => 0,
    })
}

/// Whether the start of a thread that starts now is shown as shifted by that much.
fn is_shifted(offset: i64) -> bool {
    let own = || parse(&fs::read("/proc/thread-self/stat").ok()?);
    let now = i128::from(host::boottime_ns());
    let started = thread::Builder::new().spawn(own);
    let Some(Some(stat)) = started.ok().and_then(|thread| thread.join().ok()) else {
        return true;
    };
    let shown = i128::from(stat.start_ticks) * i128::from(TICK_NS);
    (shown - i128::from(offset) - now).abs() <= (shown - now).abs()
}

/// A line of the list of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its pid in leaktrace's own namespace.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// comm, raw bytes.
    pub comm: Vec<u8>,
    /// Effective user id, as of the files in /proc.
    pub uid: u32,
}

/// Every process that there is; those that end meanwhile may be missing.
pub fn list() -> Vec<Listed> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let listed = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = read(Pid(pid)).ok()??;
        Some(Listed {
            pid,
            parent: stat.parent,
            comm: stat.comm,
            uid: entry.metadata().ok()?.uid(),
        })
    };
    entries.filter_map(listed).collect()
}

/// $TMPDIR as a process was started with, and its working directory, as far as they may be looked
/// at.
pub fn place(pid: u32) -> (Option<Vec<u8>>, Option<std::path::PathBuf>) {
    (variable(pid, "TMPDIR"), working_directory(pid))
}

/// A variable of the environment with which a process was started.
fn variable(pid: u32, name: &str) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = [name.as_bytes(), b"="].concat();
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(&prefix[..]).map(<[u8]>::to_vec))
}

/// The working directory of a process.
fn working_directory(pid: u32) -> Option<std::path::PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

fn read(pid: Pid) -> io::Result<Option<Stat>> {
    Ok(parse(&fs::read(format!("/proc/{pid}/stat"))?))
}

/// The states of the threads of a process, without io_uring's kernel workers
/// (io_uring/io-wq.c, io_uring/sqpoll.c: their comm); `None` if it is not there.
pub(super) fn thread_states(pid: Pid) -> Option<Vec<char>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let stats = tasks.filter_map(|task| parse(&fs::read(task.path().join("stat")).ok()?));
    let own = stats.filter(|stat| !stat.comm.starts_with(b"iou-"));
    Some(own.map(|stat| stat.state).collect())
}

/// The state of some thread that has not exited.
fn thread_state(pid: Pid) -> Option<char> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .flatten()
        .find_map(|task| {
            let stat = parse(&fs::read(task.path().join("stat")).ok()?)?;
            (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(stat.state)
        })
}

/// `pid (comm) state ppid …` (proc_pid_stat(5)). comm may hold anything, `)` included; the
/// last one ends it.
fn parse(stat: &[u8]) -> Option<Stat> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let comm = stat.get(open + 1..close)?.to_vec();
    let rest = str::from_utf8(&stat[close + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Fields are numbered from 1 in the manual; the state is 3.
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        comm,
        state: field(3)?.chars().next()?,
        parent: field(4)?.parse().ok()?,
        threads: field(20)?.parse().ok()?,
        start_ticks: field(22)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::id::KtimeNs;

    const LINE: &[u8] = b"42 (a) b\xff() Z 7 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 3 0 1234 9 9\n";

    #[test]
    fn a_hostile_comm_does_not_shift_the_fields() {
        let stat = parse(LINE).unwrap();
        assert_eq!(stat.comm, b"a) b\xff(");
        assert_eq!(
            (stat.state, stat.parent, stat.threads, stat.start_ticks),
            ('Z', 7, 3, 1234)
        );
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in [
            &b""[..],
            b"42",
            b"42 (sh",
            b"42 )sh( S",
            b"42 (sh) S 1",
            b"1 (a) S x y",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    /// This process's key: its start is known only to a tick, which is all that is compared.
    fn own_key() -> ProcessKey {
        let pid = Pid(std::process::id());
        let stat = read(pid).unwrap().unwrap();
        ProcessKey {
            pid,
            start: KtimeNs(stat.start_ticks * TICK_NS + 7),
        }
    }

    #[test]
    fn the_start_time_tells_a_process_from_its_pids_next_owner() {
        let own = Own::read().unwrap();
        if !own.initial_pid_ns {
            return;
        }
        let key = own_key();
        assert!(matches!(
            find(key, &own),
            Found::Process {
                state: 'R' | 'S',
                ..
            }
        ));
        assert!(runs(key));
        let other = ProcessKey {
            start: KtimeNs(key.start.0 - TICK_NS),
            ..key
        };
        assert_eq!(find(other, &own), Found::Gone);
        assert!(!runs(other));
    }

    #[test]
    fn an_unreaped_child_is_a_zombie_and_a_reaped_one_is_gone() {
        let own = Own::read().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid(child.id());
        let key = |stat: Stat| ProcessKey {
            pid,
            start: KtimeNs(stat.start_ticks * TICK_NS),
        };
        let key = key(read(pid).unwrap().unwrap());
        while !matches!(find(key, &own), Found::Process { state: 'Z', .. }) {
            std::thread::yield_now();
        }
        assert!(!runs(key));
        child.wait().unwrap();
        assert_eq!(find(key, &own), Found::Gone);
    }
}
