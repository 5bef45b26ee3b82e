//! Interned byte strings: paths, socket addresses. Each is kept once, however many resources
//! have it, for as long as one has.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::index::Index;

/// An interned string; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NameId(u32);

/// No string.
pub(super) const NO_NAME: NameId = NameId(0);

/// Unused strings that are kept, in the hope that they come again (a program opening one file
/// over and over), before they are swept.
const SPARE: usize = 1024;

#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    refs: u32,
}

/// The store.
#[derive(Debug, Default)]
pub(super) struct Names {
    entries: Vec<Entry>,
    free: Vec<u32>,
    index: Index,
    unused: usize,
    hasher: RandomState,
}

impl Names {
    /// The string, kept until it is released as often as it was taken.
    pub(super) fn intern(&mut self, bytes: &[u8]) -> NameId {
        if bytes.is_empty() {
            return NO_NAME;
        }
        let hash = self.hasher.hash_one(bytes);
        let entries = &self.entries;
        let found = self
            .index
            .find(hash, |entry| entries[entry as usize].bytes == bytes);
        if let Some(entry) = found {
            let name = NameId(entry + 1);
            self.keep(name);
            return name;
        }
        self.add(hash, bytes)
    }

    fn add(&mut self, hash: u64, bytes: &[u8]) -> NameId {
        let new = Entry {
            // A copy: a slice would keep the whole batch alive.
            bytes: Bytes::copy_from_slice(bytes),
            refs: 1,
        };
        let entry = match self.free.pop() {
            Some(entry) => {
                self.entries[entry as usize] = new;
                entry
            }
            None => {
                self.entries.push(new);
                self.entries.len() as u32 - 1
            }
        };
        let Names {
            entries,
            index,
            hasher,
            ..
        } = self;
        index.insert(hash, entry, |other| {
            hasher.hash_one(&entries[other as usize].bytes[..])
        });
        NameId(entry + 1)
    }

    /// One more user.
    pub(super) fn keep(&mut self, name: NameId) {
        if let Some(entry) = self.entry(name) {
            entry.refs += 1;
            if entry.refs == 1 {
                self.unused -= 1;
            }
        }
    }

    /// One user less.
    pub(super) fn release(&mut self, name: NameId) {
        let Some(entry) = self.entry(name) else {
            return;
        };
        entry.refs -= 1;
        if entry.refs == 0 {
            self.unused += 1;
            if self.unused > SPARE && self.unused * 2 > self.entries.len() - self.free.len() {
                self.sweep();
            }
        }
    }

    /// The bytes; `None` for no name.
    pub(super) fn get(&self, name: NameId) -> Option<Bytes> {
        let entry = name.0.checked_sub(1)?;
        Some(self.entries[entry as usize].bytes.clone())
    }

    /// Strings in use.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.entries.len() - self.free.len() - self.unused
    }

    fn entry(&mut self, name: NameId) -> Option<&mut Entry> {
        let entry = name.0.checked_sub(1)?;
        Some(&mut self.entries[entry as usize])
    }

    fn sweep(&mut self) {
        let Names {
            entries,
            free,
            index,
            unused,
            hasher,
        } = self;
        for number in 0..entries.len() {
            let entry = &entries[number];
            if entry.refs > 0 || entry.bytes.is_empty() {
                continue;
            }
            let hash = hasher.hash_one(&entry.bytes[..]);
            index.remove(hash, number as u32, |other| {
                hasher.hash_one(&entries[other as usize].bytes[..])
            });
            entries[number].bytes = Bytes::new();
            free.push(number as u32);
        }
        *unused = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{NO_NAME, Names, SPARE};

    #[test]
    fn a_name_is_kept_once_and_goes_with_its_last_user() {
        let mut names = Names::default();
        let a = names.intern(b"/a");
        assert_eq!(names.intern(b"/a"), a);
        assert_ne!(names.intern(b"/b"), a);
        assert_eq!(names.intern(b""), NO_NAME);
        assert_eq!(names.get(a).as_deref(), Some(&b"/a"[..]));
        names.release(a);
        assert_eq!(names.used(), 2);
        names.release(a);
        assert_eq!(names.used(), 1);
        assert_eq!(
            names.intern(b"/a"),
            a,
            "still there when it comes again at once"
        );
    }

    #[test]
    fn unused_names_are_swept_and_their_places_used_again() {
        let mut names = Names::default();
        for number in 0..20 * SPARE {
            let name = names.intern(format!("/tmp/{number}").as_bytes());
            names.release(name);
        }
        assert!(names.entries.len() <= 2 * SPARE, "{}", names.entries.len());
        let name = names.intern(b"/tmp/3");
        assert_eq!(names.get(name).as_deref(), Some(&b"/tmp/3"[..]));
    }
}
