//! How a deputy is reached: at a socket for which systemd starts one, or by sudo.

use std::{
    env,
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{COMMAND, Grant, rights};

/// Where `leaktrace-deputy.socket` listens. Whoever may connect may have a deputy for the own
/// processes; for everybody's there is none.
pub const SOCKET: &str = "/run/leaktrace/deputy.socket";

/// How long the deputy may take to end once the socket is closed.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes of what it said last that are told.
const WORDS: u64 = 4_096;

/// By whom a deputy was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    /// systemd, for whoever connects to [`SOCKET`].
    Systemd,
    /// `sudo -n`.
    Sudo,
}

/// What is behind the socket.
#[derive(Debug)]
pub(super) enum Behind {
    /// A service of systemd's, which is none of leaktrace's children.
    Service,
    /// sudo, with the deputy below it.
    Sudo(Child),
}

/// Reaches a deputy: at the socket if the user may connect to it, else by sudo.
///
/// # Errors
/// There is neither.
pub(super) fn open(grant: Grant) -> io::Result<(UnixStream, Behind)> {
    if grant == Grant::Own
        && let Some(socket) = connect(Path::new(SOCKET))
    {
        return Ok((socket, Behind::Service));
    }
    let (socket, sudo) = sudo(grant)?;
    Ok((socket, Behind::Sudo(sudo)))
}

/// Connects, if root listens there: nobody else is to say what a run has left.
fn connect(path: &Path) -> Option<UnixStream> {
    let socket = UnixStream::connect(path).ok()?;
    (rights::maker(&socket).ok()? == 0).then_some(socket)
}

/// In a session of its own: what is typed at the terminal is not for it, and sudo does not put a
/// terminal of its own between (`use_pty`).
fn sudo(grant: Grant) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut sudo = Command::new("sudo");
    sudo.arg("-n").arg("--");
    sudo.arg(own_program()?).arg(COMMAND).arg(grant.word());
    sudo.env("LC_ALL", "C")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // SAFETY: setsid is async-signal-safe (signal-safety(7)) and passes no memory.
    unsafe {
        sudo.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    Ok((ours, sudo.spawn()?))
}

/// The program that runs, which may have another name by now.
fn own_program() -> io::Result<PathBuf> {
    match env::current_exe() {
        Ok(path) if path.exists() => Ok(path),
        Ok(path) => Err(io::Error::other(format!(
            "{} is not there any more",
            path.display()
        ))),
        Err(error) => Err(error),
    }
}

impl Behind {
    /// By whom it was started.
    pub(super) fn through(&self) -> Through {
        match self {
            Behind::Service => Through::Systemd,
            Behind::Sudo(_) => Through::Sudo,
        }
    }

    /// What sudo, or the deputy below it, said before it ended. To be asked once the socket is
    /// closed. What a service says is in the journal.
    pub(super) fn last_words(&mut self) -> Option<String> {
        self.wait();
        let mut words = Vec::new();
        // It has ended; what it left behind keeps the pipe open, if anything does.
        let stderr = self.words()?;
        stderr.take(WORDS).read_to_end(&mut words).ok()?;
        let words = String::from_utf8_lossy(&words);
        let line = words.lines().rfind(|line| !line.trim().is_empty())?;
        let line = line.trim().trim_end_matches('.');
        let line = line.strip_prefix("sudo: ").unwrap_or(line);
        Some(line.to_owned())
    }

    /// Why it does not answer, and where more is to be read.
    pub(super) fn explain(&self, why: &anyhow::Error) -> String {
        match self {
            Behind::Sudo(_) => format!("{why:#}"),
            Behind::Service => format!(
                "{why:#}; it was asked for at `{SOCKET}`: see `journalctl -u 'leaktrace-deputy@*'`"
            ),
        }
    }

    /// Where it says what is not an answer, once.
    pub(super) fn words(&mut self) -> Option<ChildStderr> {
        match self {
            Behind::Service => None,
            Behind::Sudo(sudo) => sudo.stderr.take(),
        }
    }

    /// Waits until sudo has ended, and with it the deputy. A service ends by itself, as soon as it
    /// sees that the socket is closed.
    pub(super) fn wait(&mut self) {
        let Behind::Sudo(sudo) = self else { return };
        let begun = Instant::now();
        while begun.elapsed() < FAREWELL {
            match sudo.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_is_used_if_root_listens_there() {
        let name = format!("leaktrace-reach-{}", std::process::id());
        let path = env::temp_dir().join(name);
        assert!(connect(&path).is_none());
        let _listener = UnixListener::bind(&path).unwrap();
        // SAFETY: no preconditions.
        let is_root = unsafe { libc::geteuid() } == 0;
        let connected = connect(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(connected.is_some(), is_root);
    }
}
