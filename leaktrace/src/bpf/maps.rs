//! The maps that whoever reads records needs to have, which need not be who loaded the programs:
//! the kernel asks for a right where a map is made, and for an fd where one is used (since Linux
//! 5.19; kernel/bpf/syscall.c, `__sys_bpf`).

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use aya_obj::generated::{
    bpf_attr,
    bpf_cmd::{self, BPF_MAP_FREEZE, BPF_OBJ_GET_INFO_BY_FD},
};

/// In the order in which they are handed over.
#[derive(Debug)]
pub struct Maps {
    pub(super) ring: MapData,
    pub(super) spare: MapData,
    pub(super) counts: MapData,
    pub(super) root: MapData,
    pub(super) faults: MapData,
    pub(super) identity: MapData,
}

/// How many there are.
pub const NUMBER: usize = 6;

impl Maps {
    /// Takes them out of the loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> anyhow::Result<Maps> {
        let mut take = |name| data(take(ebpf, name)?);
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
    /// They are not as many as there are, or the kernel does not tell what they are.
    pub fn handed_over(fds: Vec<OwnedFd>) -> anyhow::Result<Maps> {
        let fds: [OwnedFd; NUMBER] = fds
            .try_into()
            .map_err(|fds: Vec<_>| anyhow::anyhow!("{} maps were handed over", fds.len()))?;
        let map = |fd| MapData::from_fd(fd).context("look at a map");
        let [ring, spare, counts, root, faults, identity] = fds;
        Ok(Maps {
            ring: map(ring)?,
            spare: map(spare)?,
            counts: map(counts)?,
            root: map(root)?,
            faults: map(faults)?,
            identity: map(identity)?,
        })
    }

    /// Whether a process without rights may use the maps that it is handed. Before Linux 5.19, where
    /// `kernel.unprivileged_bpf_disabled` is set, the kernel refuses it every bpf(2).
    pub fn may_be_handed_over() -> bool {
        // SAFETY: plain integers; zero is a valid value of each.
        let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
        // No fd: a kernel that asks for a right does so before it looks at it.
        attr.info.bpf_fd = u32::MAX;
        let refused = call(BPF_OBJ_GET_INFO_BY_FD, &mut attr).err();
        refused.and_then(|error| error.raw_os_error()) != Some(libc::EPERM)
    }

    /// Their fds.
    pub fn fds(&self) -> [BorrowedFd<'_>; NUMBER] {
        [
            self.ring.fd().as_fd(),
            self.spare.fd().as_fd(),
            self.counts.fd().as_fd(),
            self.root.fd().as_fd(),
            self.faults.fd().as_fd(),
            self.identity.fd().as_fd(),
        ]
    }

    /// Makes those that are only read such that no fd of them can be used for writing. What
    /// remains is the reader's own place in the rings.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn freeze(&self) -> io::Result<()> {
        for map in [&self.counts, &self.root, &self.faults, &self.identity] {
            freeze(map.fd().as_fd())?;
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
    call(BPF_MAP_FREEZE, &mut attr)
}

/// bpf(2), of a command that reads no memory but the attribute.
fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<()> {
    // SAFETY: the attribute is as long as is said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        )
    };
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
