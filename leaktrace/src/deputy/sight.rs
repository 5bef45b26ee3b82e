//! What may be asked: of which processes, and about which things.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use leaktrace_common::abi::{Holder, WATCHED_PID, WATCHED_START};

use super::{Grant, rights};
use crate::{
    bpf::Watched,
    census::{
        Answer, Found, Question,
        process::{self, Identity},
    },
    id::{KtimeNs, Pid, ProcessKey},
    launch::privilege,
};

/// comm of a holder that may not be told.
const SOMEBODY: &[u8; 16] = b"another user's\0\0";

/// Who asks, and what that one may know.
#[derive(Clone)]
pub(super) struct Sight {
    grant: Grant,
    owner: (u32, u32),
    watched: Arc<Mutex<Watched>>,
}

impl Sight {
    pub(super) fn new(grant: Grant, user: &rights::User, watched: Watched) -> Sight {
        Sight {
            grant,
            owner: (user.uid, user.gid),
            watched: Arc::new(Mutex::new(watched)),
        }
    }

    /// Whether a process is watched, or the user's own as ptrace(2) sees it but for rights: all its
    /// ids are the user's.
    pub(super) fn has(&self, key: ProcessKey) -> bool {
        self.grant == Grant::All || self.owns(key.pid.0) || self.tree().contains(&key)
    }

    /// The same where its start is not known.
    pub(super) fn has_pid(&self, pid: u32) -> bool {
        self.grant == Grant::All || self.owns(pid)
    }

    fn owns(&self, pid: u32) -> bool {
        rights::owner(pid) == Some(self.owner)
    }

    /// The processes that are watched now, as the programs keep them.
    fn tree(&self) -> BTreeSet<ProcessKey> {
        // Before Linux 5.19 bpf(2) takes a right whatever it is about.
        let _rights = privilege::taken_up();
        let watched = self.watched.lock();
        let watched = watched.unwrap_or_else(PoisonError::into_inner);
        watched
            .iter()
            .filter_map(|entry| key_of(&entry.ok()?.1))
            .collect()
    }

    /// Whether these may be watched: all of them the user's own, and nobody else's found by what
    /// the programs know them by.
    pub(super) fn has_targets(&self, targets: &[Identity]) -> bool {
        if self.grant == Grant::All {
            return true;
        }
        let meant: BTreeSet<(u32, u64)> = targets
            .iter()
            .map(|one| (one.ns_pid, one.start_ns))
            .collect();
        let found = process::list().into_iter().filter_map(|listed| {
            let found = process::identity(listed.pid)?;
            meant
                .contains(&(found.ns_pid, found.start_ns))
                .then_some(listed.pid)
        });
        let mut found: BTreeSet<u32> = found.collect();
        // What is hidden from the list is there all the same.
        found.extend(targets.iter().map(|one| one.pid));
        found.into_iter().all(|pid| self.owns(pid))
    }

    /// A question as far as it may be asked; or why it may not. With the user's own uid and no right
    /// to read others' files, what can be looked at here the user can look at too, and does; but a
    /// path through another's /proc is one through which this process may go and the user may not.
    pub(super) fn narrow(
        &self,
        mut question: Question,
        is_elsewhere: bool,
    ) -> Result<Question, &'static str> {
        if self.grant == Grant::All {
            return Ok(question);
        }
        match &mut question {
            // What may not be told is told apart once it has been found: see `may_tell`.
            Question::Process { .. } => Ok(question),
            Question::Path { through, .. }
            | Question::PidFile { through, .. }
            | Question::Mount { through, .. }
            | Question::Sysv { through, .. }
            | Question::Mq { through, .. } => {
                through.retain(|key| self.has(*key));
                match is_elsewhere && !through.is_empty() {
                    true => Ok(question),
                    false => Err("the user may not look there"),
                }
            }
            Question::Source { .. } | Question::Stack { .. } | Question::Holders { .. } => {
                Err("it is not for the deputy")
            }
        }
    }

    /// Whether what was found may be told. That nobody has that number and that start is nobody's
    /// secret, and one that has gone cannot be asked whose it was.
    pub(super) fn may_tell(&self, answer: &Answer) -> bool {
        match (&answer.question, &answer.found) {
            (Question::Process { .. }, Found::Gone) => true,
            (Question::Process { key }, _) => self.has(*key),
            _ => true,
        }
    }

    /// Takes out of lines about holders who it is where that may not be told: that there is one has
    /// to be. Nobody knows the address of a description that has not been told it.
    pub(super) fn veil(&self, wanted: &[u64], lines: &mut Vec<Holder>) {
        let own = std::process::id();
        lines.retain(|line| line.pid != own);
        if self.grant == Grant::All {
            return;
        }
        let wanted: BTreeSet<u64> = wanted.iter().copied().collect();
        let tree = self.tree();
        for line in lines.iter_mut() {
            let key = ProcessKey {
                pid: Pid(line.pid),
                start: KtimeNs(line.start_ns),
            };
            if wanted.contains(&line.file) || tree.contains(&key) || self.owns(line.pid) {
                continue;
            }
            line.pid = 0;
            line.start_ns = 0;
            line.place = 0;
            line.file = 0;
            line.comm = *SOMEBODY;
        }
    }
}

/// Who a watched task belongs to.
fn key_of(value: &[u8]) -> Option<ProcessKey> {
    let start = value.get(WATCHED_START..WATCHED_START + 8)?;
    let pid = value.get(WATCHED_PID..WATCHED_PID + 4)?;
    Some(ProcessKey {
        pid: Pid(u32::from_ne_bytes(pid.try_into().ok()?)),
        start: KtimeNs(u64::from_ne_bytes(start.try_into().ok()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_task_is_known_by_pid_and_start() {
        let mut value = [0; leaktrace_common::abi::WATCHED_BYTES];
        value[WATCHED_PID..WATCHED_PID + 4].copy_from_slice(&42_u32.to_ne_bytes());
        value[WATCHED_START..WATCHED_START + 8].copy_from_slice(&7_u64.to_ne_bytes());
        let key = ProcessKey {
            pid: Pid(42),
            start: KtimeNs(7),
        };
        assert_eq!(key_of(&value), Some(key));
        assert_eq!(key_of(&value[..40]), None);
    }
}
