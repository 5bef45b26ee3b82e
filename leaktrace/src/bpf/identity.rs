//! The kernel's identity of a file that this process has open.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    sync::Mutex,
};

use leaktrace_common::{
    abi::{Answer, PRCTL_IDENTIFY, PRCTL_MAGIC, answer_place},
    record::FileIdentity,
};

use super::{mapped::Mapped, maps::Maps};
use crate::census::Identify;

/// Asks the programs for identities: a `prctl` that only they understand, whose answer is in a
/// map. Both sides of a comparison come from the kernel that way.
pub struct Identities {
    nonce: u64,
    answers: Mapped<Answer>,
    asker: Asker,
    /// Questions that were asked: no two are alike, so that no answer is taken for another's.
    asked: Mutex<u32>,
}

/// Who asks; each has a place of its own for answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    /// Whoever reads the records.
    Reader,
    /// Who has loaded the programs for that one.
    Deputy,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl Identities {
    /// Answers for whoever has loaded the programs for another process.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn of_deputy(nonce: u64, maps: &Maps) -> anyhow::Result<Self> {
        let answers = Mapped::new(&maps.identity)?;
        Ok(Identities::new(nonce, answers, Asker::Deputy))
    }

    pub(super) fn new(nonce: u64, answers: Mapped<Answer>, asker: Asker) -> Self {
        Identities {
            nonce,
            answers,
            asker,
            asked: Mutex::new(0),
        }
    }
}

impl Identify for Identities {
    fn identify(&self, fd: BorrowedFd<'_>) -> io::Result<FileIdentity> {
        let mut asked = self
            .asked
            .lock()
            .map_err(|_poisoned| io::Error::other("another question failed half-way"))?;
        *asked = asked.wrapping_add(1) & (u32::MAX >> 1);
        let serial = match self.asker {
            Asker::Reader => *asked,
            Asker::Deputy => *asked | 1 << 31,
        };
        let question = u64::from(serial) << 32 | u64::from(fd.as_raw_fd() as u32);
        // SAFETY: no pointers are passed; the kernel knows no such option and refuses.
        unsafe { libc::prctl(PRCTL_MAGIC as i32, PRCTL_IDENTIFY, self.nonce, question, 0) };
        self.answers
            .get(answer_place(question) as usize)
            .filter(|answer| answer.question == question)
            .map(|answer| answer.identity)
            .ok_or_else(|| io::Error::other("the programs did not answer"))
    }
}
