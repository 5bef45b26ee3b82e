//! Which programs a section of the policy is about.

use super::pattern::Pattern;

/// What is known of a program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Program<'a> {
    /// Its comm.
    pub comm: &'a [u8],
    /// Its executable.
    pub exe: Option<&'a [u8]>,
    /// Its arguments, joined by single spaces.
    pub argv: &'a [u8],
}

/// Globs for a program; all that are given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// For its comm.
    pub comm: Option<Pattern>,
    /// For its executable.
    pub exe: Option<Pattern>,
    /// For its arguments, joined by single spaces.
    pub argv: Option<Pattern>,
}

impl Select {
    /// Whether it says anything.
    pub fn is_empty(&self) -> bool {
        self.comm.is_none() && self.exe.is_none() && self.argv.is_none()
    }

    /// Whether it is about this program.
    pub fn fits(&self, program: &Program<'_>) -> bool {
        let fits = |pattern: &Option<Pattern>, text: Option<&[u8]>| match (pattern, text) {
            (None, _) => true,
            (Some(pattern), Some(text)) => pattern.matches(text),
            (Some(_), None) => false,
        };
        fits(&self.comm, Some(program.comm))
            && fits(&self.exe, program.exe)
            && fits(&self.argv, Some(program.argv))
    }
}

/// `[[expect]]`: a program that may stay when the run has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// Which.
    pub select: Select,
    /// Why it may.
    pub reason: String,
    /// `leaktrace.toml:12`.
    pub source: Option<String>,
}

impl Expect {
    /// As reports name it: `expect:comm=my-daemon`.
    pub fn form(&self) -> String {
        let Select { comm, exe, argv } = &self.select;
        let globs = [("comm", comm), ("exe", exe), ("argv", argv)];
        let globs = globs
            .into_iter()
            .filter_map(|(key, glob)| Some((key, glob.as_ref()?)));
        let words: Vec<_> = globs
            .map(|(key, glob)| format!("{key}={}", glob.text()))
            .collect();
        format!("expect:{}", words.join(","))
    }
}
