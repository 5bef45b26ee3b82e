#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    ffi::CString,
    fs,
    os::{fd::BorrowedFd, unix::process::CommandExt},
    process::{Child, Command},
    ptr,
};

use leaktrace_common::record::{FileIdentity, ipc::what};

use super::*;
use crate::id::{KtimeNs, Pid, ProcessKey};

/// The programs are not there.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct NoIdentity;

impl Identify for NoIdentity {
    fn identify(&self, _: BorrowedFd<'_>) -> io::Result<FileIdentity> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "no programs are loaded",
        ))
    }
}

/// They are, and know one file.
struct OneFile;

impl Identify for OneFile {
    fn identify(&self, _: BorrowedFd<'_>) -> io::Result<FileIdentity> {
        Ok(FileIdentity {
            ino: 5,
            ..FileIdentity::default()
        })
    }
}

fn ask(census: &mut LiveCensus, questions: Vec<Question>) -> Vec<Answer> {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(census.ask(questions))
}

#[test]
fn every_question_has_its_answer_in_order() {
    let mut census = LiveCensus::start(Box::new(NoIdentity), None).unwrap();
    let question = |path: &str| Question::Path {
        path: path.as_bytes().to_vec(),
        mnt_ns: 0,
        through: Vec::new(),
        id: None,
        bound: None,
    };
    let questions = vec![
        question("/no/such"),
        question("x"),
        question("/"),
        question("/no/such/again"),
    ];
    let before = host::boottime_ns();
    let answers = ask(&mut census, questions.clone());
    let asked: Vec<Question> = answers
        .iter()
        .map(|answer| answer.question.clone())
        .collect();
    assert_eq!(asked, questions);
    assert!(answers.is_sorted_by_key(|answer| answer.time_ns) && answers[0].time_ns >= before);
    let found: Vec<&Found> = answers.iter().map(|answer| &answer.found).collect();
    assert!(matches!(
        found[..],
        [
            Found::Gone,
            Found::Unknown { .. },
            Found::Unknown { .. },
            Found::Gone
        ]
    ));
    assert_eq!(ask(&mut census, Vec::new()), []);
}

/// A child that lives in ipc and mount namespaces of its own, with a segment (id 0, the first
/// of any namespace) and a file in a tmpfs at `mount`.
struct Elsewhere(Child);

impl Elsewhere {
    fn start(mount: CString) -> Elsewhere {
        let make = move || {
            let root = c"/".as_ptr();
            // SAFETY: async-signal-safe system calls on terminated strings.
            unsafe {
                let flags = libc::CLONE_NEWIPC | libc::CLONE_NEWNS;
                let private = libc::MS_REC | libc::MS_PRIVATE;
                let none = ptr::null();
                if libc::unshare(flags) != 0
                    || libc::mount(none, root, none, private, none.cast()) != 0
                    || libc::mount(none, mount.as_ptr(), c"tmpfs".as_ptr(), 0, none.cast()) != 0
                    || libc::chdir(mount.as_ptr()) != 0
                    || libc::creat(c"inside".as_ptr(), 0o600) < 0
                    || libc::shmget(libc::IPC_PRIVATE, 12345, 0o600) != 0
                    || libc::chdir(root) != 0
                {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        let mut command = Command::new("sleep");
        command.arg("60");
        // SAFETY: `make` allocates nothing.
        unsafe { command.pre_exec(make) };
        Elsewhere(command.spawn().unwrap())
    }

    fn key(&self) -> ProcessKey {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let ticks: u64 = stat.split(' ').nth(21).unwrap().parse().unwrap();
        ProcessKey {
            pid: Pid(self.0.id()),
            start: KtimeNs(ticks * 10_000_000),
        }
    }

    fn inode(&self, kind: &str) -> u32 {
        let link = fs::read_link(format!("/proc/{}/ns/{kind}", self.0.id())).unwrap();
        link.to_str()
            .unwrap()
            .split(['[', ']'])
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }
}

#[test]
fn a_foreign_namespace_is_seen_while_a_member_lives_and_gone_with_it() {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let mount = std::env::temp_dir().join(format!("leaktrace-mount-{}", std::process::id()));
    fs::create_dir(&mount).unwrap();
    let name = mount.to_str().unwrap();
    let mut elsewhere = Elsewhere::start(CString::new(name).unwrap());
    let through = vec![elsewhere.key()];
    let questions = vec![
        Question::Sysv {
            what: what::SHM,
            id: 0,
            ipc_ns: elsewhere.inode("ipc"),
            through: through.clone(),
        },
        Question::Path {
            path: format!("{name}/inside").into_bytes(),
            mnt_ns: elsewhere.inode("mnt"),
            through,
            id: None,
            bound: None,
        },
    ];
    let mut census = LiveCensus::start(Box::new(OneFile), None).unwrap();
    let living = ask(&mut census, questions.clone());
    elsewhere.0.kill().unwrap();
    elsewhere.0.wait().unwrap();
    let ended = ask(&mut census, questions);
    fs::remove_dir(&mount).unwrap();
    assert!(
        matches!(living[0].found, Found::Sysv { size: 12345, .. }),
        "{:?}",
        living[0]
    );
    assert!(
        matches!(&living[1].found, Found::File { id, .. } if id.ino == 5),
        "{:?}",
        living[1]
    );
    assert!(
        ended.iter().all(|answer| answer.found == Found::Gone),
        "{ended:?}"
    );
}
