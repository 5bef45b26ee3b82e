//! Who has a file, a socket, a mapping: the iterators that are run after the fact.

use aya::Ebpf;
use leaktrace_common::abi::Holder;
use zerocopy::FromBytes as _;

use super::{iterator, mapped::Set, object::Object};

/// (program, iterator) of what looks for holders by fds.
const FILES: (&str, &str) = ("holding_files", "task_file");

/// The same by mappings. Not every kernel that the reduced object is for has it.
const MAPPINGS: (&str, &str) = ("holding_mappings", "task_vma");

/// Every fd and mapping in the system whose `struct file` or inode number is one of these. The
/// system is looked through once for as many of them as there is room for in `set`.
///
/// # Errors
/// The iterators cannot be loaded or read.
pub(super) fn find(
    ebpf: &mut Ebpf,
    which: Object,
    set: &mut Set,
    wanted: &[u64],
) -> anyhow::Result<Vec<Holder>> {
    let mut found = Vec::new();
    let keys: Vec<u64> = wanted.iter().copied().filter(|key| *key != 0).collect();
    let mut rest = &keys[..];
    while !rest.is_empty() {
        rest = set.replace(rest);
        let mappings = which.looks_up_mappings().then_some(MAPPINGS);
        for (name, iterator) in [FILES].into_iter().chain(mappings) {
            let bytes = iterator::run(ebpf, name, iterator)?;
            let lines = bytes.chunks_exact(size_of::<Holder>());
            found.extend(lines.filter_map(|line| Holder::read_from_bytes(line).ok()));
        }
    }
    Ok(found)
}
