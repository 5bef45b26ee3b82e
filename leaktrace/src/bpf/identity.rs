//! The kernel's identity of a file that this process has open.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Mutex,
};

use aya::maps::{HashMap, Map, MapData};
use leaktrace_common::{
    abi::{PRCTL_IDENTIFY, PRCTL_MAGIC},
    record::FileIdentity,
};

use super::maps::Maps;
use crate::census::Identify;

/// A [`FileIdentity`] as a map's value.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Value(FileIdentity);

// SAFETY: integers and arrays of them without padding, in a fixed layout.
unsafe impl aya::Pod for Value {}

/// Asks the programs for identities: a `prctl` that only they understand, whose answer is in a
/// map. Both sides of a comparison come from the kernel that way.
pub struct Identities {
    nonce: u64,
    answers: Mutex<HashMap<MapData, u64, Value>>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl Identities {
    /// Answers through another fd of the map than the one that is handed over.
    ///
    /// # Errors
    /// There are no more fds, or the kernel does not tell what the map is.
    pub fn of_copy(nonce: u64, maps: &Maps) -> anyhow::Result<Self> {
        let fd = maps.identity.fd().as_fd().try_clone_to_owned()?;
        let map = Map::HashMap(MapData::from_fd(fd)?);
        Ok(Identities::new(nonce, HashMap::try_from(map)?))
    }

    pub(super) fn new(nonce: u64, answers: HashMap<MapData, u64, Value>) -> Self {
        Identities {
            nonce,
            answers: Mutex::new(answers),
        }
    }
}

impl Identify for Identities {
    fn identify(&self, fd: BorrowedFd<'_>) -> io::Result<FileIdentity> {
        let key = fd.as_raw_fd() as u64;
        let mut answers = self
            .answers
            .lock()
            .map_err(|_poisoned| io::Error::other("another question failed half-way"))?;
        // SAFETY: no pointers are passed; the kernel knows no such option and refuses.
        unsafe { libc::prctl(PRCTL_MAGIC as i32, PRCTL_IDENTIFY, self.nonce, key, 0) };
        let found = answers
            .get(&key, 0)
            .map_err(|_missing| io::Error::other("the programs did not answer"))?;
        answers
            .remove(&key)
            .map_err(|why| io::Error::other(format!("answer not taken back: {why}")))?;
        Ok(found.0)
    }
}
