//! Who has it: what the iterators found, as answers.

use std::{collections::BTreeSet, fs, io};

use leaktrace_common::abi::{self, holder_kind};

use super::{Answer, Found, Holder, Question, host};
use crate::id::{KtimeNs, Pid, ProcessKey};

/// TCP_LISTEN (include/net/tcp_states.h); unix sockets use the same number.
const LISTENING: u32 = 10;

const LOCKS: &str = "/proc/locks";

/// Holders that are told of one thing.
const AT_MOST: usize = 64;

/// What to look for, to answer these: addresses of `struct file` and inode numbers.
pub fn keys(questions: &[Question]) -> Vec<u64> {
    let keys: BTreeSet<u64> = questions.iter().filter_map(key).collect();
    keys.into_iter().collect()
}

fn key(question: &Question) -> Option<u64> {
    match question {
        Question::Holders { file: 0, ino, .. } => Some(*ino),
        Question::Holders { file, .. } => Some(*file),
        Question::Process { .. }
        | Question::Path { .. }
        | Question::PidFile { .. }
        | Question::Mount { .. }
        | Question::Source { .. }
        | Question::Stack { .. }
        | Question::Sysv { .. }
        | Question::Mq { .. } => None,
    }
}

/// Answers questions about holders from what the iterators found. leaktrace itself is no holder.
pub fn answers(questions: Vec<Question>, found: Result<Vec<abi::Holder>, String>) -> Vec<Answer> {
    let time_ns = host::boottime_ns();
    let own = std::process::id();
    let locks = locks().map_err(|error| format!("cannot read `{LOCKS}`: {error}"));
    let found = found.and_then(|mut lines| {
        lines.retain(|line| line.pid != own);
        Ok((lines, locks?))
    });
    let answer = |question: Question| Answer {
        found: match &found {
            Ok((lines, locks)) => about(&question, lines, locks),
            Err(why) => Found::unknown(why.clone()),
        },
        question,
        time_ns,
    };
    questions.into_iter().map(answer).collect()
}

fn about(question: &Question, lines: &[abi::Holder], locks: &BTreeSet<(u32, u64)>) -> Found {
    let Question::Holders {
        file,
        dev,
        ino,
        cred,
    } = question
    else {
        return Found::unknown("not a question about holders");
    };
    let is = |line: &&abi::Holder| {
        let inode = line.ino == *ino && (*dev == 0 || line.dev == *dev);
        let name = line.name_ino == *ino && line.name_dev == *dev && *dev != 0;
        match *file {
            0 => inode || name,
            // The address alone may be that of another by now, and an inode may be that of
            // many: every eventfd has the same, and whoever opens /dev/null.
            file => line.file == file && inode && (*cred == 0 || line.cred == *cred),
        }
    };
    let mut by: Vec<Holder> = Vec::new();
    for line in lines.iter().filter(is) {
        let holder = holder(line);
        let same = |known: &Holder| known.key == holder.key && known.fd == holder.fd;
        // A mapping in several pieces is one.
        if by.len() < AT_MOST && !by.iter().any(same) {
            by.push(holder);
        }
    }
    by.sort_by_key(|holder| (holder.key, holder.fd));
    Found::Holders {
        by,
        locked: locks.contains(&(*dev, *ino)),
    }
}

fn holder(line: &abi::Holder) -> Holder {
    let end = line.comm.iter().position(|byte| *byte == 0);
    Holder {
        key: ProcessKey {
            pid: Pid(line.pid),
            start: KtimeNs(line.start_ns),
        },
        comm: line.comm[..end.unwrap_or(line.comm.len())].to_vec(),
        fd: (line.kind == holder_kind::FD).then_some(line.place as i32),
        file: line.file,
        magic: line.magic,
        listening: line.state == LISTENING && line.mode & libc::S_IFMT == libc::S_IFSOCK,
    }
}

/// Files that are locked through a description now (proc_locks(5)): device and inode number, as
/// the kernel has them.
fn locks() -> io::Result<BTreeSet<(u32, u64)>> {
    match fs::read_to_string(LOCKS) {
        Ok(text) => Ok(text.lines().filter_map(lock).collect()),
        // Without CONFIG_FILE_LOCKING there are neither locks nor their list.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// `1: FLOCK  ADVISORY  WRITE 4126 08:01:264 0 EOF`; a line of somebody who waits has `->` after
/// its number.
fn lock(line: &str) -> Option<(u32, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    if !matches!(fields.next()?, "FLOCK" | "OFDLCK") {
        return None;
    }
    let mut id = fields.nth(3)?.split(':');
    let major = u32::from_str_radix(id.next()?, 16).ok()?;
    let minor = u32::from_str_radix(id.next()?, 16).ok()?;
    // dev_t of the kernel: include/linux/kdev_t.h.
    Some((major << 20 | minor, id.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(file: u64, ino: u64, pid: u32, fd: u64) -> abi::Holder {
        abi::Holder {
            file,
            ino,
            dev: 5,
            pid,
            place: fd,
            kind: holder_kind::FD,
            ..abi::Holder::default()
        }
    }

    fn pids(question: &Question, lines: &[abi::Holder]) -> Vec<u32> {
        match about(question, lines, &BTreeSet::new()) {
            Found::Holders { by, .. } => by.iter().map(|holder| holder.key.pid.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_that_is_used_again_is_not_the_description() {
        let lines = [line(0xffff_8880, 7, 1, 3), line(0xffff_8880, 8, 2, 3)];
        let question = Question::Holders {
            file: 0xffff_8880,
            dev: 5,
            ino: 7,
            cred: 0,
        };
        assert_eq!(pids(&question, &lines), [1]);
        let inode = Question::Holders {
            file: 0,
            dev: 5,
            ino: 8,
            cred: 0,
        };
        assert_eq!(pids(&inode, &lines), [2]);
        assert_eq!(keys(&[question, inode]), [8, 0xffff_8880]);
    }

    #[test]
    fn an_address_and_a_shared_inode_are_not_the_description_of_another_opener() {
        let mut lines = [line(0xffff_8880, 7, 1, 3), line(0xffff_8880, 7, 2, 4)];
        (lines[0].cred, lines[1].cred) = (0x1100, 0x2200);
        let by = |cred| Question::Holders {
            file: 0xffff_8880,
            dev: 5,
            ino: 7,
            cred,
        };
        assert_eq!(pids(&by(0x2200), &lines), [2]);
        assert!(pids(&by(0x3300), &lines).is_empty());
        assert_eq!(pids(&by(0), &lines), [1, 2]);
    }

    #[test]
    fn only_locks_of_descriptions_that_are_held_are_read() {
        let flock = "1: FLOCK  ADVISORY  WRITE 4126 08:01:264 0 EOF";
        assert_eq!(lock(flock), Some((8 << 20 | 1, 264)));
        assert_eq!(lock("2: POSIX  ADVISORY  WRITE 4126 08:01:264 0 EOF"), None);
        assert_eq!(
            lock("1: -> FLOCK  ADVISORY  WRITE 4126 08:01:264 0 EOF"),
            None
        );
        assert_eq!(lock(""), None);
    }
}
