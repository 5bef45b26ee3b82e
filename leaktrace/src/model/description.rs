//! Open file descriptions: what `struct file` is in the kernel, shared by dup, fork and
//! SCM_RIGHTS. Slots of fd tables refer to them; one lives as long as a known slot does.

use leaktrace_common::record::FileIdentity;

use super::{
    facts::Kind,
    hash::mix,
    index::Index,
    kind::SocketState,
    names::{NO_NAME, NameId, Names},
};
use crate::id::FileId;

/// Number of a description in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescriptionId(pub(super) u32);

/// One description.
#[derive(Clone, Copy, Debug)]
pub(super) struct Description {
    /// Address of the `struct file`.
    pub(super) file: u64,
    ino: u64,
    dev: u32,
    generation: u32,
    /// Path, or the socket's name.
    pub(super) name: NameId,
    /// Both ends of an internet socket ([`super::thing::ends`]).
    pub(super) ends: NameId,
    /// Slots that refer to it; 0: free, and `name` is not valid.
    pub(super) refs: u32,
    /// Kind.
    pub(super) kind: Kind,
    /// Who opened it.
    pub(super) opened: Opened,
    /// Of a stream socket, when the kernel told of it last.
    pub(super) state: SocketState,
}

/// Who opened a description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Opened {
    /// Somebody else, or it is not known who: it was inherited, passed on, or there before. A dup
    /// of it is no more the run's than it is.
    #[default]
    Elsewhere,
    /// A call of a process that is watched.
    Here,
}

impl Description {
    /// Kernel identity of the inode.
    pub(super) fn id(&self) -> FileId {
        FileId {
            dev: self.dev,
            ino: self.ino,
            generation: self.generation,
        }
    }

    /// Whether this is what the kernel tells now: an address alone may have been used again.
    pub(super) fn is(&self, identity: &FileIdentity) -> bool {
        self.file == identity.file && self.ino == identity.ino && self.dev == identity.dev
    }
}

/// Descriptions in one piece of memory. No doubling: at half a million of them a half-empty
/// vector would cost as much again.
const CHUNK: usize = 256;

/// The store.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    chunks: Vec<Box<[Description; CHUNK]>>,
    free: Vec<u32>,
    next: u32,
    by_file: Index,
}

const BLANK: Description = Description {
    file: 0,
    ino: 0,
    dev: 0,
    generation: 0,
    name: NO_NAME,
    ends: NO_NAME,
    refs: 0,
    kind: Kind::Other,
    opened: Opened::Elsewhere,
    state: SocketState::None,
};

impl Descriptions {
    /// A new one, with one reference.
    pub(super) fn add(&mut self, identity: &FileIdentity, kind: Kind) -> DescriptionId {
        let new = Description {
            file: identity.file,
            ino: identity.ino,
            dev: identity.dev,
            generation: identity.generation,
            refs: 1,
            kind,
            state: SocketState::of(identity),
            ..BLANK
        };
        // An address that is known belonged to a description whose last release is still on
        // its way to us: it keeps its slots, but the address means the new one from here on.
        if let Some(old) = self.find(identity.file) {
            self.unlist(old);
        }
        let id = self.place();
        *self.get_mut(id) = new;
        if identity.file == 0 {
            return id;
        }
        let Descriptions {
            chunks, by_file, ..
        } = self;
        by_file.insert(
            mix(identity.file),
            id.0,
            |other| mix(at(chunks, other).file),
        );
        id
    }

    fn place(&mut self) -> DescriptionId {
        if let Some(number) = self.free.pop() {
            return DescriptionId(number);
        }
        let number = self.next;
        if number as usize == self.chunks.len() * CHUNK {
            self.chunks.push(Box::new([BLANK; CHUNK]));
        }
        self.next += 1;
        DescriptionId(number)
    }

    /// The description at this address now. Address 0 was not read and means none.
    #[inline]
    pub(super) fn find(&self, file: u64) -> Option<DescriptionId> {
        if file == 0 {
            return None;
        }
        self.by_file
            .find(mix(file), |number| at(&self.chunks, number).file == file)
            .map(DescriptionId)
    }

    /// The description of this identity, if it is known.
    #[inline]
    pub(super) fn find_same(&self, identity: &FileIdentity) -> Option<DescriptionId> {
        let id = self.find(identity.file)?;
        self.get(id).is(identity).then_some(id)
    }

    /// Reads one.
    #[inline]
    pub(super) fn get(&self, id: DescriptionId) -> &Description {
        at(&self.chunks, id.0)
    }

    /// Changes one. Its address stays as it is.
    #[inline]
    pub(super) fn get_mut(&mut self, id: DescriptionId) -> &mut Description {
        &mut self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK]
    }

    /// The kernel tells of it again.
    #[inline]
    pub(super) fn see(&mut self, id: DescriptionId, identity: &FileIdentity) {
        self.get_mut(id).state = SocketState::of(identity);
    }

    /// One slot more refers to it.
    #[inline]
    pub(super) fn keep(&mut self, id: DescriptionId) {
        self.get_mut(id).refs += 1;
    }

    /// One slot less refers to it; it goes with the last one.
    #[inline]
    pub(super) fn release(&mut self, id: DescriptionId, names: &mut Names) {
        let description = self.get_mut(id);
        description.refs -= 1;
        if description.refs > 0 {
            return;
        }
        let Description { name, ends, .. } = *description;
        names.release(name);
        names.release(ends);
        self.unlist(id);
        *self.get_mut(id) = BLANK;
        self.free.push(id.0);
    }

    fn unlist(&mut self, id: DescriptionId) {
        let Descriptions {
            chunks, by_file, ..
        } = self;
        let hash = mix(at(chunks, id.0).file);
        by_file.remove(hash, id.0, |other| mix(at(chunks, other).file));
    }

    /// Descriptions there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.next as usize - self.free.len()
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Description>()
            + self.chunks.capacity() * size_of::<usize>()
            + self.free.capacity() * size_of::<u32>()
            + self.by_file.bytes()
    }
}

#[inline]
fn at(chunks: &[Box<[Description; CHUNK]>], number: u32) -> &Description {
    &chunks[number as usize / CHUNK][number as usize % CHUNK]
}

#[cfg(test)]
mod tests {
    use leaktrace_common::record::FileIdentity;

    use super::{Descriptions, Kind, Names};

    fn identity(file: u64, ino: u64) -> FileIdentity {
        FileIdentity {
            file,
            ino,
            ..FileIdentity::default()
        }
    }

    #[test]
    fn an_address_used_again_means_the_new_description() {
        let mut names = Names::default();
        let mut all = Descriptions::default();
        let old = all.add(&identity(7, 1), Kind::File);
        let new = all.add(&identity(7, 2), Kind::Pipe);
        assert_eq!(all.find(7), Some(new));
        assert_eq!(all.find_same(&identity(7, 1)), None);
        all.release(old, &mut names);
        assert_eq!(
            all.find(7),
            Some(new),
            "the old one's end leaves the new one listed"
        );
        all.release(new, &mut names);
        assert_eq!((all.find(7), all.len()), (None, 0));
    }

    #[test]
    fn a_description_is_small() {
        assert!(size_of::<super::Description>() <= 40);
    }
}
