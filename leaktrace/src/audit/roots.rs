//! Temp roots and the output root: whether a path is of the kind that should not stay.

use crate::source::Start;

/// The roots in force.
#[derive(Clone, Debug)]
pub struct Roots<'a> {
    temp: Vec<&'a [u8]>,
    output: &'a [u8],
}

/// Where a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Below a temp root.
    Temp {
        /// The root, without a slash at its end.
        root: &'a [u8],
        /// The rest, without a slash at its beginning.
        inside: &'a [u8],
    },
    /// Below the working directory at start, and not in a temp root inside it.
    Output,
    /// In neither.
    Elsewhere,
}

impl<'a> Roots<'a> {
    /// The roots that a run began with.
    pub fn new(start: &'a Start) -> Self {
        Roots {
            temp: start.temp_roots.iter().map(|root| trim(root)).collect(),
            output: trim(&start.cwd),
        }
    }

    /// The deepest root that contains a path decides; at a tie the temp root does.
    pub fn place<'b>(&self, path: &'b [u8]) -> Place<'b>
    where
        'a: 'b,
    {
        let temp = self
            .temp
            .iter()
            .filter_map(|root| inside(root, path).map(|rest| (*root, rest)))
            .max_by_key(|(root, _)| root.len());
        let output = inside(self.output, path).map(|_| self.output.len());
        match (temp, output) {
            (Some((root, _)), Some(depth)) if depth > root.len() => Place::Output,
            (Some((root, rest)), _) => Place::Temp { root, inside: rest },
            (None, Some(_)) => Place::Output,
            (None, None) => Place::Elsewhere,
        }
    }
}

fn trim(root: &[u8]) -> &[u8] {
    let end = root.iter().rposition(|&byte| byte != b'/');
    &root[..end.map_or(0, |end| end + 1)]
}

/// What of an absolute path lies below a root; `None` if it is not below it, or is the root.
pub(crate) fn inside<'b>(root: &[u8], path: &'b [u8]) -> Option<&'b [u8]> {
    let rest = path.strip_prefix(root)?.strip_prefix(b"/")?;
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(cwd: &str, temp: &[&str]) -> Start {
        Start {
            cwd: cwd.into(),
            temp_roots: temp.iter().map(|root| (*root).into()).collect(),
            ..Start::default()
        }
    }

    #[test]
    fn the_deepest_root_decides() {
        let start = start("/tmp/ws", &["/tmp", "/tmp/ws/tmp"]);
        let roots = Roots::new(&start);
        let temp = |root: &'static str, inside: &'static str| Place::Temp {
            root: root.as_bytes(),
            inside: inside.as_bytes(),
        };
        assert_eq!(roots.place(b"/tmp/x"), temp("/tmp", "x"));
        assert_eq!(roots.place(b"/tmp/ws/out"), Place::Output);
        assert_eq!(roots.place(b"/tmp/ws/tmp/a/b"), temp("/tmp/ws/tmp", "a/b"));
        assert_eq!(roots.place(b"/tmp/wsx"), temp("/tmp", "wsx"));
        assert_eq!(roots.place(b"/etc/x"), Place::Elsewhere);
        assert_eq!(roots.place(b"/tmp"), Place::Elsewhere);
    }

    #[test]
    fn at_a_tie_temp_wins() {
        let start = start("/tmp/", &["/tmp"]);
        let place = Roots::new(&start);
        assert!(matches!(place.place(b"/tmp/x"), Place::Temp { .. }));
    }

    #[test]
    fn the_root_directory_can_be_the_output_root() {
        let start = start("/", &["/tmp"]);
        let roots = Roots::new(&start);
        assert_eq!(roots.place(b"/out"), Place::Output);
        assert!(matches!(roots.place(b"/tmp/x"), Place::Temp { .. }));
    }
}
