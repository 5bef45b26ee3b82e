//! What a process calls itself and whose it is at present. It may change both at any time
//! (prctl(2) PR_SET_NAME, setuid(2)), and no record tells of that.

use std::fs;

use crate::id::Pid;

/// What /proc says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// comm of its main thread, raw bytes.
    pub comm: Vec<u8>,
    /// Real uid.
    pub uid: u32,
}

/// Looks at a process of our own pid namespace; `None` if it is gone or may not be looked at.
pub fn look(pid: Pid) -> Option<Present> {
    parse(&fs::read(format!("/proc/{pid}/status")).ok()?)
}

/// `Name:\tcomm\n … Uid:\treal\teffective\tsaved\tfilesystem\n` (proc_pid_status(5)).
fn parse(status: &[u8]) -> Option<Present> {
    let field = |name: &[u8]| {
        let mut lines = status.split(|byte| *byte == b'\n');
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(b":\t"))
    };
    let real = field(b"Uid")?.split(|byte| *byte == b'\t').next()?;
    Some(Present {
        comm: unescaped(field(b"Name")?),
        uid: str::from_utf8(real).ok()?.parse().ok()?,
    })
}

/// Only a line feed and a backslash are escaped (proc_task_name in fs/proc/array.c, v6.18).
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut bytes = name.iter().copied();
    let mut out = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(other) => other,
                None => byte,
            },
            other => other,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_hostile_name_is_no_other_field() {
        let status = b"Name:\ta\\nUid:\\\\\xff\t9\nUmask:\t0022\nUid:\t33\t0\t0\t0\nGid:\t1\n";
        let present = parse(status).expect("both fields");
        assert_eq!(present.comm, b"a\nUid:\\\xff\t9");
        assert_eq!(present.uid, 33);
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for status in [
            &b""[..],
            b"Name:\tsh\n",
            b"Uid:\t1\t1\t1\t1\n",
            b"Name:\tsh\nUid:\t-1\n",
            b"Name:\tsh\nUid:\t\xff\n",
        ] {
            assert_eq!(parse(status), None, "{status:?}");
        }
    }

    #[test]
    fn a_new_name_is_seen() {
        let mut child = Command::new("sh")
            .args([
                "-c",
                r#"printf 'new\\\nname' >/proc/$$/comm; echo named; read line"#,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut said = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut said).expect("a line");
        let present = look(Pid(child.id())).expect("it lives");
        drop(child.stdin.take());
        child.wait().expect("its end");
        assert_eq!(present.comm, b"new\\\nname");
        assert_eq!(present.uid, rustix::process::getuid().as_raw());
        assert_eq!(look(Pid(child.id())), None, "it is gone");
    }
}
