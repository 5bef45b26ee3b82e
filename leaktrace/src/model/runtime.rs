//! What the dynamic loader and the C library open for themselves. It is counted like anything
//! else, but the program has no say in when it goes: it takes no part in teardown.

/// Whether something takes part in teardown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    /// It does.
    #[default]
    Takes,
    /// It is the loader's or the C library's.
    Runtime,
}

const O_ACCMODE: u32 = 3;

/// Files of the loader (ld.so(8)).
const LOADER: [&[u8]; 2] = [b"/etc/ld.so.cache", b"/etc/ld.so.preload"];

/// Locale data of the C library (locale(7), iconv(1)).
const LOCALE: [&[u8]; 2] = [b"/usr/lib/locale/", b"/usr/share/locale/"];

/// Judges by the path, and by whether it was opened for reading only.
pub(super) fn part_of(path: &[u8], open_flags: u32) -> Part {
    if open_flags & O_ACCMODE != 0 || path.first() != Some(&b'/') {
        return Part::Takes;
    }
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let runtime = is_shared_object(name)
        || LOADER.contains(&path)
        || LOCALE.iter().any(|directory| path.starts_with(directory))
        || name == b"gconv-modules.cache";
    match runtime {
        true => Part::Runtime,
        false => Part::Takes,
    }
}

/// `libc.so.6`, `_ssl.cpython-310-x86_64-linux-gnu.so`, but not `notes.song`.
fn is_shared_object(name: &[u8]) -> bool {
    const SO: &[u8] = b".so";
    let places = name
        .windows(SO.len())
        .enumerate()
        .filter(|(_, piece)| *piece == SO);
    places
        .map(|(place, _)| name.get(place + SO.len()))
        .any(|next| matches!(next, None | Some(b'.')))
}

#[cfg(test)]
mod tests {
    use super::{Part, part_of};

    #[test]
    fn what_the_loader_opens_takes_no_part() {
        for (path, flags, part) in [
            ("/etc/ld.so.cache", 0o2_100_000, Part::Runtime),
            (
                "/lib/x86_64-linux-gnu/libc.so.6",
                0o2_000_000,
                Part::Runtime,
            ),
            ("/opt/p/lib/_ssl.cpython-310.so", 0, Part::Runtime),
            ("/usr/lib/locale/locale-archive", 0, Part::Runtime),
            ("/tmp/libx.so", 1, Part::Takes),
            ("/home/notes.song", 0, Part::Takes),
            ("/etc/hosts", 0, Part::Takes),
            ("libx.so", 0, Part::Takes),
            ("", 0, Part::Takes),
        ] {
            assert_eq!(part_of(path.as_bytes(), flags), part, "{path}");
        }
    }
}
