//! What was there before: the iterators.

use std::io::Read as _;

use anyhow::Context as _;
use aya::{Btf, Ebpf, programs::Iter};
use bytes::{Bytes, BytesMut};

use super::probe::ITERATORS;

/// Runs every iterator once, in order, and returns their records.
pub fn read(ebpf: &mut Ebpf) -> anyhow::Result<Bytes> {
    let types = Btf::from_sys_fs().context("read the kernel's BTF")?;
    let mut records = BytesMut::new();
    for (name, iterator) in ITERATORS {
        let program: &mut Iter = ebpf
            .program_mut(name)
            .with_context(|| format!("find program `{name}` in the object"))?
            .try_into()?;
        program
            .load(iterator, &types)
            .with_context(|| format!("load iterator `{iterator}`"))?;
        let id = program
            .attach()
            .with_context(|| format!("attach iterator `{iterator}`"))?;
        let mut file = program
            .take_link(id)?
            .into_file()
            .context("open an iterator")?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .with_context(|| format!("read iterator `{iterator}`"))?;
        records.extend_from_slice(&bytes);
    }
    Ok(records.freeze())
}
