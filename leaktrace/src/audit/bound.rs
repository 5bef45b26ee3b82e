//! Where a thing is that was made under a mount of its own namespace.
//!
//! A mount of a directory of the host's (`bwrap --bind`) goes with its namespace; what was made in
//! it stays. Files that an open made are found by their identity; of what mkdir(2), mknod(2) or
//! symlink(2) made only the path is known, and that is a path of the namespace.

use crate::model::facts::{Created, Facts, Kind, Mounted};

/// File systems that nothing of is left once nobody mounts them.
const VOLATILE: [&[u8]; 2] = [b"tmpfs", b"ramfs"];

/// The paths of the host that may lead to `path`, the likeliest first. `None`: it lies under no
/// mount that somebody of the run made and that says where it is, so its path is what there is.
pub(super) fn paths(created: &Created, path: &[u8], facts: &Facts) -> Option<Vec<Vec<u8>>> {
    let mounts = facts.created.iter().filter(|mount| {
        mount.resource.kind == Kind::Mount
            && mount.namespace == created.namespace
            && mount.resource.acquired <= created.resource.acquired
    });
    // The one that reaches furthest into the path, the last of several.
    let (depth, _, mounted) = mounts
        .enumerate()
        .filter_map(|(number, mount)| {
            let point = mount.resource.path.as_deref()?;
            Some((reach(point, path)?, number, mount.mounted.as_deref()?))
        })
        .max_by_key(|(depth, number, _)| (*depth, *number))?;
    let source = match mounted {
        Mounted::Filesystem(Some(name)) if VOLATILE.contains(&&name[..]) => return None,
        Mounted::Filesystem(_) | Mounted::Bind(None) => return Some(Vec::new()),
        Mounted::Bind(Some(source)) => source,
    };
    let inside = &path[depth..];
    // The source, too, may have been named from a root that pivot_root(2) changed: without what
    // stood before it.
    Some(ends(source).map(|end| [end, inside].concat()).collect())
}

/// How many bytes of `path` a mount at `point` lies over. A sandbox is put together below a
/// directory that becomes its root (pivot_root(2)), so the end of the point counts; what lies
/// directly in a new root has no such end and is looked for under its own path.
fn reach(point: &[u8], path: &[u8]) -> Option<usize> {
    let over = |end: &[u8]| {
        let rest = path.strip_prefix(end)?;
        (rest.first() == Some(&b'/')).then_some(end.len())
    };
    ends(point).filter(|end| !end.is_empty()).find_map(over)
}

/// A path, and what is left of it without its first names; at last nothing.
fn ends(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let starts = (0..path.len()).filter(|&at| path[at] == b'/');
    starts.map(|at| &path[at..]).chain([&path[path.len()..]])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::audit::fixture::Run;

    const FOREIGN: u32 = 77;

    /// Where a directory may be that was made at 50 ms, after these mounts.
    fn ways(path: &str, mounts: &[(&str, Mounted)]) -> Option<Vec<String>> {
        let mut run = Run::new();
        let maker = run.root();
        for (ms, (point, mounted)) in (20..).zip(mounts) {
            let mount = run.creates(maker, ms, Kind::Mount, point, None);
            mount.namespace = FOREIGN;
            mount.mounted = Some(Box::new(mounted.clone()));
        }
        let created = run.creates(maker, 50, Kind::Directory, path, None);
        created.namespace = FOREIGN;
        let created = created.clone();
        let ways = paths(&created, path.as_bytes(), &run.facts)?;
        let text = |way: &Vec<u8>| String::from_utf8_lossy(way).into_owned();
        Some(ways.iter().map(text).collect())
    }

    fn bind(source: &str) -> Mounted {
        Mounted::Bind(Some(source.to_owned().into()))
    }

    fn filesystem(name: &str) -> Mounted {
        Mounted::Filesystem(Some(name.to_owned().into()))
    }

    #[test]
    fn what_lies_under_a_bind_is_where_its_source_is() {
        let mounts = [
            ("/newroot", bind("/oldroot")),
            ("/newroot/tmp", bind("/oldroot/home/u/t")),
        ];
        let expected = [
            "/oldroot/home/u/t/a/b",
            "/home/u/t/a/b",
            "/u/t/a/b",
            "/t/a/b",
            "/a/b",
        ];
        assert_eq!(ways("/tmp/a/b", &mounts).unwrap(), expected);
        assert_eq!(ways("/srv/a", &mounts), None);
        // Not below it: only its name begins alike.
        assert_eq!(ways("/tmpfile/a", &mounts), None);
    }

    #[test]
    fn the_last_mount_counts_and_memory_is_nowhere_else() {
        let tmpfs = [("/n/tmp", bind("/o/t")), ("/n/tmp", filesystem("tmpfs"))];
        assert_eq!(ways("/tmp/a", &tmpfs), None);
        assert_eq!(ways("/tmp/a", &[]), None);
        let mut bound = tmpfs;
        bound.reverse();
        assert!(ways("/tmp/a", &bound).is_some());
        for other in [
            Mounted::Bind(None),
            filesystem("overlay"),
            Mounted::Filesystem(None),
        ] {
            assert_eq!(ways("/tmp/a", &[("/tmp", other)]).unwrap(), [""; 0]);
        }
    }
}
