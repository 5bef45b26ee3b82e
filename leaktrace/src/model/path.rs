//! Paths as text. Symbolic links are not followed: only the kernel knows where they lead, and
//! the census asks it.

use crate::decode::Text;

/// The absolute path of `path` seen from `directory`, without `.`, `..` and doubled slashes;
/// `None` if it cannot be told.
pub(super) fn absolute(directory: &Text<'_>, path: &Text<'_>) -> Option<Vec<u8>> {
    if path.is_truncated() {
        return None;
    }
    let path = path.path()?;
    if path.first() == Some(&b'/') {
        return Some(normal(&[&path]));
    }
    if directory.is_truncated() {
        return None;
    }
    let directory = directory.path()?;
    Some(normal(&[&directory, &path]))
}

/// Joins pieces of a path that begins at the root, name by name.
fn normal(pieces: &[&[u8]]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in pieces
        .iter()
        .flat_map(|piece| piece.split(|byte| *byte == b'/'))
    {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let mut path = Vec::with_capacity(pieces.iter().map(|piece| piece.len() + 1).sum());
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// Whether `path` lies below `directory`, at any depth.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| directory == b"/" || rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::{is_below, normal};

    #[test]
    fn paths_are_told_in_one_way() {
        for (pieces, path) in [
            (&[&b"/tmp/"[..], b"a/../b//c/."][..], &b"/tmp/b/c"[..]),
            (&[b"/", b"../.."], b"/"),
            (&[b"/a/b", b"../c"], b"/a/c"),
            (&[b"//x"], b"/x"),
        ] {
            assert_eq!(normal(pieces), path);
        }
    }

    #[test]
    fn below_ends_at_a_slash() {
        assert!(is_below(b"/tmp/a/b", b"/tmp/a"));
        assert!(is_below(b"/tmp", b"/"));
        assert!(!is_below(b"/tmp/ab", b"/tmp/a"));
        assert!(!is_below(b"/tmp/a", b"/tmp/a"));
    }
}
