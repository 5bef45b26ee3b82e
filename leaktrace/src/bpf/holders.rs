//! Who has a file, a socket, a mapping: the iterators that are run after the fact.

use std::io::Read as _;

use anyhow::Context as _;
use aya::{
    Btf, Ebpf,
    maps::{HashMap, MapData},
    programs::Iter,
};
use leaktrace_common::abi::Holder;
use zerocopy::FromBytes as _;

/// (program, iterator) of what looks for holders.
const HOLDERS: [(&str, &str); 2] = [
    ("holding_files", "task_file"),
    ("holding_mappings", "task_vma"),
];

/// Keys that fit the map of what is wanted.
const ROOM: usize = 4_096;

/// Every fd and mapping in the system whose `struct file` or inode number is one of these. What
/// does not fit the map is not looked for.
///
/// # Errors
/// The iterators cannot be loaded or read.
pub fn find(ebpf: &mut Ebpf, wanted: &[u64]) -> anyhow::Result<Vec<Holder>> {
    let map = ebpf.map_mut("WANTED").context("find map `WANTED`")?;
    let mut map: HashMap<&mut MapData, u64, u8> = HashMap::try_from(map)?;
    let old: Vec<u64> = map.keys().filter_map(Result::ok).collect();
    for key in old {
        map.remove(&key).context("forget what was wanted")?;
    }
    for key in wanted.iter().take(ROOM) {
        map.insert(*key, 1, 0).context("say what is wanted")?;
    }
    let types = Btf::from_sys_fs().context("read the kernel's BTF")?;
    let mut found = Vec::new();
    for (name, iterator) in HOLDERS {
        let bytes = run(ebpf, &types, name, iterator)?;
        let lines = bytes.chunks_exact(size_of::<Holder>());
        found.extend(lines.filter_map(|line| Holder::read_from_bytes(line).ok()));
    }
    Ok(found)
}

fn run(ebpf: &mut Ebpf, types: &Btf, name: &str, iterator: &str) -> anyhow::Result<Vec<u8>> {
    let program: &mut Iter = ebpf
        .program_mut(name)
        .with_context(|| format!("find program `{name}` in the object"))?
        .try_into()?;
    // Loaded the first time that somebody wants to know, for most runs leave nothing.
    if program.fd().is_err() {
        program
            .load(iterator, types)
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
