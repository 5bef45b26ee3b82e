//! Our own namespaces, and the way into others.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    thread,
};

use super::{Found, clause, process};
use crate::id::ProcessKey;

/// Inode number of the initial pid namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
/// Only there are /proc's pids those of the records.
const INITIAL_PID_NS: u32 = 0xefff_fffc;

/// leaktrace's own namespaces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub mnt: u32,
    pub ipc: u32,
    pub initial_pid_ns: bool,
}

/// Where something is to be looked for.
pub(super) enum Place {
    /// Here.
    Own,
    /// In another namespace, through this process.
    Through(ProcessKey),
    /// In another namespace in which no known process lives.
    Nobody,
    /// Cannot be told.
    Unknown(&'static str),
}

impl Own {
    /// Reads them.
    pub fn read() -> io::Result<Own> {
        Ok(Own {
            mnt: inode("self", "mnt")?,
            ipc: inode("self", "ipc")?,
            initial_pid_ns: inode("self", "pid")? == INITIAL_PID_NS,
        })
    }

    /// The way to the namespace `wanted` of the given kind (`mnt`, `ipc`).
    pub fn place(&self, kind: &str, wanted: u32, through: &[ProcessKey]) -> Place {
        let own = if kind == "mnt" { self.mnt } else { self.ipc };
        if wanted == 0 || wanted == own {
            return Place::Own;
        }
        if !self.initial_pid_ns {
            return Place::Unknown("leaktrace is not in the initial pid namespace");
        }
        let mut hidden = false;
        for key in through {
            match inode(&key.pid.to_string(), kind) {
                Ok(inode) if inode == wanted && process::runs(*key) => return Place::Through(*key),
                Ok(_) => {}
                Err(error) => hidden |= error.kind() == io::ErrorKind::PermissionDenied,
            }
        }
        match hidden {
            true => Place::Unknown("the namespaces of a process may not be looked at"),
            false => Place::Nobody,
        }
    }

    /// Runs `look` in an ipc namespace. One without a living member is gone with it.
    pub fn in_ipc(
        &self,
        ipc_ns: u32,
        through: &[ProcessKey],
        look: impl Fn() -> Found + Send + Sync,
    ) -> Found {
        match self.place("ipc", ipc_ns, through) {
            Place::Own => look(),
            Place::Through(key) => enter_ipc(key, ipc_ns, look),
            Place::Nobody => Found::Gone,
            Place::Unknown(why) => Found::unknown(why),
        }
    }
}

/// Enters on a thread that ends with the answer: setns(2) moves the calling thread only for ipc
/// namespaces, and the fd is closed before anything is looked at.
fn enter_ipc(key: ProcessKey, wanted: u32, look: impl Fn() -> Found + Send + Sync) -> Found {
    let enter = || -> io::Result<()> {
        let file = File::open(format!("/proc/{}/ns/ipc", key.pid))?;
        // SAFETY: setns takes an open fd and a flag; no memory is passed.
        let done = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWIPC) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        drop(file);
        // The pid may have had another owner by the time it was opened.
        match inode("thread-self", "ipc")? {
            entered if entered == wanted => Ok(()),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    };
    thread::scope(|scope| {
        let looked = thread::Builder::new().spawn_scoped(scope, || match enter() {
            Ok(()) => look(),
            Err(error) => match Found::from_error(&error) {
                // The member ended between finding and entering it.
                Found::Gone => Found::Gone,
                _ => Found::unknown(format!("enter its ipc namespace: {}", clause(&error))),
            },
        });
        match looked {
            Ok(looked) => looked
                .join()
                .unwrap_or_else(|_| Found::unknown("the census thread died")),
            Err(error) => Found::unknown(format!("make a thread: {}", clause(&error))),
        }
    })
}

/// Inode number of a namespace: /proc/PID/ns/KIND is a link to `kind:[number]`.
fn inode(pid: &str, kind: &str) -> io::Result<u32> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}"))?;
    link.to_str()
        .and_then(|text| text.split_once('[')?.1.strip_suffix(']')?.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "namespace link is malformed"))
}
