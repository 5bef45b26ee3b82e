//! The maps that whoever reads records needs to have, which need not be who loaded the programs.
//!
//! They are used by memory, which takes an fd and no right. bpf(2) is not asked there: before Linux
//! 5.19 it refuses a plain user everything where `kernel.unprivileged_bpf_disabled` is set
//! (`__sys_bpf` in kernel/bpf/syscall.c, v5.15), and a container's seccomp filter may for longer. So
//! who has loaded them says what shape they have.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use aya_obj::generated::{bpf_attr, bpf_cmd::BPF_MAP_FREEZE};
use serde::{Deserialize, Serialize};

use crate::launch::privilege;

/// What has to be known of a map before its memory can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Bytes of a value; none in a ring.
    pub value_bytes: u32,
    /// Values of an array, bytes of a ring.
    pub entries: u32,
}

impl Shape {
    /// # Errors
    /// The kernel does not tell.
    pub(super) fn of(map: &MapData) -> anyhow::Result<Shape> {
        // Before Linux 5.19 that takes a right.
        let rights = privilege::taken_up();
        let info = map.info().context("look at a map")?;
        drop(rights);
        Ok(Shape {
            value_bytes: info.value_size(),
            entries: info.max_entries(),
        })
    }
}

/// A map that is used by memory.
#[derive(Debug)]
pub struct SharedMap {
    handle: Handle,
    pub(super) shape: Shape,
}

/// How a map came here.
#[derive(Debug)]
enum Handle {
    /// With the programs. Those that are loaded later, as they are wanted, know it by the number of
    /// this very fd.
    Loaded(MapData),
    /// From another process.
    Received(OwnedFd),
}

/// In the order in which they are handed over.
#[derive(Debug)]
pub struct Maps {
    pub(super) ring: SharedMap,
    pub(super) spare: SharedMap,
    pub(super) counts: SharedMap,
    pub(super) root: SharedMap,
    pub(super) faults: SharedMap,
    pub(super) identity: SharedMap,
}

/// How many there are.
pub const NUMBER: usize = 6;

impl SharedMap {
    fn loaded(map: MapData) -> anyhow::Result<SharedMap> {
        Ok(SharedMap {
            shape: Shape::of(&map)?,
            handle: Handle::Loaded(map),
        })
    }

    pub(super) fn received(fd: OwnedFd, shape: Shape) -> SharedMap {
        let handle = Handle::Received(fd);
        SharedMap { handle, shape }
    }
}

impl AsFd for SharedMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.handle {
            Handle::Loaded(map) => map.fd().as_fd(),
            Handle::Received(fd) => fd.as_fd(),
        }
    }
}

impl Maps {
    /// Takes them out of the loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> anyhow::Result<Maps> {
        let mut take = |name| SharedMap::loaded(data(take(ebpf, name)?)?);
        Ok(Maps {
            ring: take("RING")?,
            spare: take("SPARE")?,
            counts: take("COUNTS")?,
            root: take("ROOT")?,
            faults: take("FAULTS")?,
            identity: take("IDENTITY")?,
        })
    }

    /// Those that another process has handed over.
    ///
    /// # Errors
    /// They are not as many as there are.
    pub fn handed_over(fds: Vec<OwnedFd>, shapes: [Shape; NUMBER]) -> anyhow::Result<Maps> {
        let fds: [OwnedFd; NUMBER] = fds
            .try_into()
            .map_err(|fds: Vec<_>| anyhow::anyhow!("{} maps were handed over", fds.len()))?;
        let [ring, spare, counts, root, faults, identity] = fds;
        let [
            of_ring,
            of_spare,
            of_counts,
            of_root,
            of_faults,
            of_identity,
        ] = shapes;
        Ok(Maps {
            ring: SharedMap::received(ring, of_ring),
            spare: SharedMap::received(spare, of_spare),
            counts: SharedMap::received(counts, of_counts),
            root: SharedMap::received(root, of_root),
            faults: SharedMap::received(faults, of_faults),
            identity: SharedMap::received(identity, of_identity),
        })
    }

    fn all(&self) -> [&SharedMap; NUMBER] {
        [
            &self.ring,
            &self.spare,
            &self.counts,
            &self.root,
            &self.faults,
            &self.identity,
        ]
    }

    /// Their fds.
    pub fn fds(&self) -> [BorrowedFd<'_>; NUMBER] {
        self.all().map(AsFd::as_fd)
    }

    /// Their shapes.
    pub fn shapes(&self) -> [Shape; NUMBER] {
        self.all().map(|map| map.shape)
    }

    /// Makes those that are only read such that no fd of them can be used for writing. What
    /// remains is the reader's own place in the rings.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn freeze(&self) -> io::Result<()> {
        for map in [&self.counts, &self.root, &self.faults, &self.identity] {
            freeze(map.as_fd())?;
        }
        Ok(())
    }
}

pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("find map `{name}` in the object"))
}

pub(super) fn data(map: Map) -> anyhow::Result<MapData> {
    match map {
        Map::Array(data) | Map::RingBuf(data) => Ok(data),
        _ => anyhow::bail!("a map in the object is of another type than it was"),
    }
}

/// BPF_MAP_FREEZE: user space may not change the map any more; programs may (bpf(2)).
fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain integers; zero is a valid value of each.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    // SAFETY: the attribute is as long as is said, and the command reads no other memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_FREEZE,
            &raw mut attr,
            size_of::<bpf_attr>(),
        )
    };
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
