//! Who has a file, a socket, a mapping: the iterators that are run after the fact.

use anyhow::Context as _;
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use leaktrace_common::abi::Holder;
use zerocopy::FromBytes as _;

use super::iterator;

/// (program, iterator) of what looks for holders.
const HOLDERS: [(&str, &str); 2] = [
    ("holding_files", "task_file"),
    ("holding_mappings", "task_vma"),
];

/// Keys that fit the map of what is wanted.
const ROOM: usize = 4_096;

/// Every fd and mapping in the system whose `struct file` or inode number is one of these. The
/// system is looked through once for every [`ROOM`] of them.
///
/// # Errors
/// The iterators cannot be loaded or read.
pub fn find(ebpf: &mut Ebpf, wanted: &[u64]) -> anyhow::Result<Vec<Holder>> {
    let mut found = Vec::new();
    for part in wanted.chunks(ROOM) {
        want(ebpf, part)?;
        for (name, iterator) in HOLDERS {
            let bytes = iterator::run(ebpf, name, iterator)?;
            let lines = bytes.chunks_exact(size_of::<Holder>());
            found.extend(lines.filter_map(|line| Holder::read_from_bytes(line).ok()));
        }
    }
    Ok(found)
}

/// Says what the iterators are to look for.
fn want(ebpf: &mut Ebpf, wanted: &[u64]) -> anyhow::Result<()> {
    let map = ebpf.map_mut("WANTED").context("find map `WANTED`")?;
    let mut map: HashMap<&mut MapData, u64, u8> = HashMap::try_from(map)?;
    let old: Vec<u64> = map.keys().filter_map(Result::ok).collect();
    for key in old {
        map.remove(&key).context("forget what was wanted")?;
    }
    for key in wanted {
        map.insert(*key, 1, 0).context("say what is wanted")?;
    }
    Ok(())
}
