//! How much memory this process may still take before a cgroup's limit ends it, or its neighbours.

use std::{
    fs,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use super::cgroup_roots;

/// A limit's files in the two hierarchies: limit, what is taken, and the lines of memory.stat that
/// tell how much of that is page cache, which the kernel gives up before it ends anybody.
const FILES: [(&str, &str, [&str; 2]); 2] = [
    (
        "memory.max",
        "memory.current",
        ["inactive_file ", "active_file "],
    ),
    (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ["total_inactive_file ", "total_active_file "],
    ),
];

/// Bytes left below the tightest limit of our own cgroup and of those above it; `None` if there is
/// no limit, or none that can be read.
pub fn room() -> Option<u64> {
    let roots = cgroup_roots().ok()?;
    let roots = roots
        .into_iter()
        .map(|root| PathBuf::from(std::ffi::OsString::from_vec(root)));
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    roots
        .filter_map(|root| below(&root, own_path(&own, &root)?))
        .min()
}

/// The path of our cgroup in the hierarchy that is mounted at `root`, if it limits memory.
fn own_path<'a>(own: &'a str, root: &Path) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        let memory = controllers.is_empty() || controllers.split(',').any(|one| one == "memory");
        let limited = FILES.iter().any(|(limit, ..)| {
            // The files of the other hierarchy are not in this one's directories.
            root.join(path).join(limit).exists()
        });
        (memory && limited).then_some(path)
    })
}

fn below(root: &Path, path: &str) -> Option<u64> {
    let directory = root.join(path);
    let own_and_above = directory
        .ancestors()
        .take_while(|above| above.starts_with(root));
    own_and_above.filter_map(left).min()
}

fn left(directory: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    FILES.iter().find_map(|(limit, taken, cache)| {
        // `max` is no number; v1 says a number near 2^63.
        let limit: u64 = read(limit)?.trim().parse().ok()?;
        let taken: u64 = read(taken)?.trim().parse().ok()?;
        let statistics = read("memory.stat").unwrap_or_default();
        let given_up: u64 = statistics
            .lines()
            .filter_map(|line| cache.iter().find_map(|name| line.strip_prefix(name)))
            .filter_map(|bytes| bytes.parse::<u64>().ok())
            .sum();
        (limit < 1 << 62).then(|| limit.saturating_sub(taken.saturating_sub(given_up)))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_tightest_limit_counts_and_page_cache_does_not() {
        let root = std::env::temp_dir().join(format!("leaktrace-memory-{}", std::process::id()));
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let write = |dir: &Path, name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        write(&inner, "memory.max", "max\n");
        write(&root.join("a"), "memory.max", "1000\n");
        write(&root.join("a"), "memory.current", "900\n");
        write(
            &root.join("a"),
            "memory.stat",
            "anon 5\ninactive_file 300\nactive_file 100\n",
        );
        let own = "5:cpu:/x\n0::/a/b\n";
        let path = own_path(own, &root);
        let found = path.map(|path| below(&root, path));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(path, Some("a/b"));
        assert_eq!(found, Some(Some(500)));
        assert_eq!(own_path(own, &root), None);
    }
}
