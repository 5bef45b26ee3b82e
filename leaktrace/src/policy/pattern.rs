//! Globs as the policy has them.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path};

use globset::{Glob, GlobMatcher};

use super::PolicyError;

/// A glob with its text. `*` matches `/` too.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    glob: GlobMatcher,
}

impl Pattern {
    /// Compiles a glob.
    ///
    /// # Errors
    /// [`PolicyError::Glob`].
    pub fn new(text: &str) -> Result<Pattern, PolicyError> {
        let glob = Glob::new(text).map_err(|error| PolicyError::Glob {
            glob: text.to_owned(),
            why: error.kind().to_string(),
        })?;
        Ok(Pattern {
            text: text.to_owned(),
            glob: glob.compile_matcher(),
        })
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether raw bytes match.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.glob.is_match(Path::new(OsStr::from_bytes(bytes)))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}
