//! Running an iterator.

use std::io::Read as _;

use anyhow::Context as _;
use aya::{Btf, Ebpf, programs::Iter};

use crate::launch::privilege;

/// Runs program `name` over all that `iterator` (`task`, `task_file`, `task_vma`) visits, and
/// gives what it wrote. Loads the program the first time: most runs never need the later ones.
///
/// # Errors
/// The program is not in the object, or cannot be loaded, attached or read.
pub fn run(ebpf: &mut Ebpf, name: &str, iterator: &str) -> anyhow::Result<Vec<u8>> {
    let _rights = privilege::taken_up();
    let program: &mut Iter = ebpf
        .program_mut(name)
        .with_context(|| format!("find program `{name}` in the object"))?
        .try_into()?;
    if program.fd().is_err() {
        let types = Btf::from_sys_fs().context("read the kernel's BTF")?;
        program
            .load(iterator, &types)
            .with_context(|| format!("load iterator `{iterator}`"))?;
    }
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
    Ok(bytes)
}
